const FASTEST_MS = 0.001
const SLOWEST_MS = 10_000_000
/** Each bucket reaches 5 % further than the one before; its geometric middle is at most 2.5 % off. */
const GROWTH = Math.log(1.05)
const BUCKETS = Math.ceil(Math.log(SLOWEST_MS / FASTEST_MS) / GROWTH) + 1

/**
 * Durations from 1 µs to 10,000 s in buckets that grow by 5 %: any number of them in 2 KB. Counts, mean and
 * maximum are exact, percentiles within 2.5 %.
 */
export class LatencyHistogram {
  readonly #buckets = new Uint32Array(BUCKETS)
  #count = 0
  #sumMs = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  /** 0 while empty. */
  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count
  }

  get maxMs(): number {
    return this.#maxMs
  }

  record(durationMs: number): void {
    const bucket = Math.floor(Math.log(Math.max(durationMs, FASTEST_MS) / FASTEST_MS) / GROWTH)
    ;(this.#buckets[Math.min(bucket, BUCKETS - 1)] as number)++
    this.#count++
    this.#sumMs += durationMs
    if (durationMs > this.#maxMs) this.#maxMs = durationMs
  }

  /** The duration that `percent` of all durations do not exceed (nearest rank), in milliseconds; 0 while empty. */
  percentileMs(percent: number): number {
    if (this.#count === 0) return 0
    const rank = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    const bucket = this.#buckets.findIndex((count) => (seen += count) >= rank)
    return Math.min(this.#maxMs, FASTEST_MS * Math.exp((bucket + 0.5) * GROWTH))
  }

  /** Adds the durations of another histogram. */
  merge(other: LatencyHistogram): void {
    other.#buckets.forEach((count, index) => ((this.#buckets[index] as number) += count))
    this.#count += other.#count
    this.#sumMs += other.#sumMs
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs)
  }
}
