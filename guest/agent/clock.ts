/** The system's clock with more digits than `Date.now`, and how wrong it may be. */
export interface ReadTime {
  guest_ns: string
  error_ns: string
}

/** How long an estimate is used before the clock is looked at again, since it may have been set. */
const FRESH_NS = 1_000_000_000n
/** Longest look: a little more than a millisecond is needed to see `Date.now` tick. */
const LOOK_NS = 3_000_000n
const MS = 1_000_000n
/** An estimate this narrow ends the look early. */
const NARROW_NS = 5_000n

/**
 * `CLOCK_REALTIME` in nanoseconds, which Node tells only in whole milliseconds.
 *
 * A reading of `Date.now` between two of the monotonic clock bounds the offset of both from either side; the moment
 * at which the millisecond changes bounds it to microseconds. The kernel slews both clocks alike, so the offset
 * stands until somebody sets the clock; it is measured again every second, and at once when a reading contradicts it.
 */
export class FineClock {
  readonly #monotonic: () => bigint
  readonly #milliseconds: () => number
  #lowNs = 0n
  #highNs = 0n
  #atNs: bigint | undefined

  constructor(monotonic: () => bigint = process.hrtime.bigint, milliseconds: () => number = Date.now) {
    this.#monotonic = monotonic
    this.#milliseconds = milliseconds
  }

  read(): ReadTime {
    if (this.#atNs === undefined || this.#monotonic() - this.#atNs > FRESH_NS || !this.#look()) this.#estimate()
    const offsetNs = (this.#lowNs + this.#highNs) / 2n
    const guestNs = this.#monotonic() + offsetNs
    return { guest_ns: String(guestNs), error_ns: String((this.#highNs - this.#lowNs) / 2n + 1n) }
  }

  #estimate(): void {
    const begunNs = this.#monotonic()
    this.#forget()
    do {
      if (!this.#look()) this.#forget()
    } while (this.#highNs - this.#lowNs > NARROW_NS && this.#monotonic() - begunNs < LOOK_NS)
    this.#atNs = this.#monotonic()
  }

  #forget(): void {
    this.#lowNs = -(2n ** 63n)
    this.#highNs = 2n ** 63n
  }

  /** Takes one reading into account; false when it contradicts those before. */
  #look(): boolean {
    const beforeNs = this.#monotonic()
    const realNs = BigInt(this.#milliseconds()) * MS
    const afterNs = this.#monotonic()
    const lowNs = realNs - afterNs
    const highNs = realNs + MS - beforeNs
    if (lowNs > this.#highNs || highNs < this.#lowNs) return false
    if (lowNs > this.#lowNs) this.#lowNs = lowNs
    if (highNs < this.#highNs) this.#highNs = highNs
    return true
  }
}
