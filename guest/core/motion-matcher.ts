/** The expected relative motion of one axis, compared by how far the axis moved in all. */
export class MotionMatcher {
  readonly #indices: number[] = []
  /** How far the axis has moved after each entry. */
  readonly #targets: number[] = []
  /** The first entry that was not reached yet. */
  #next = 0
  #total = 0
  #atNs = 0n

  add(index: number, distance: number): void {
    this.#indices.push(index)
    this.#targets.push((this.#targets.at(-1) ?? 0) + distance)
  }

  moved(distance: number, atNs: bigint): void {
    this.#total += distance
    this.#atNs = atNs
  }

  /** The entries that the motion up to now has reached, each once. */
  reached(): { indices: number[]; atNs: bigint } {
    // Where the axis stands already, an entry and its way back have not happened.
    if (this.#total === this.#start) return { indices: [], atNs: this.#atNs }
    const last = this.#targets.indexOf(this.#total, this.#next)
    const indices = last < 0 ? [] : this.#indices.slice(this.#next, last + 1)
    this.#next += indices.length
    return { indices, atNs: this.#atNs }
  }

  /** Entries that were not reached although the axis moved as far as all of them together: to and fro. */
  cancelled(): number[] {
    return this.#total === (this.#targets.at(-1) ?? 0) ? this.#indices.slice(this.#next) : []
  }

  /** Whether it moved further than what is left, or elsewhere. */
  strayed(): boolean {
    const moved = this.#total - this.#start
    const left = (this.#targets.at(-1) ?? 0) - this.#start
    return moved !== 0 && (Math.sign(moved) !== Math.sign(left) || Math.abs(moved) > Math.abs(left))
  }

  get #start(): number {
    return this.#next === 0 ? 0 : (this.#targets[this.#next - 1] as number)
  }
}
