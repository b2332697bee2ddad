/** Something with a time limit. */
export interface Expiring {
  /** `performance.now()` at which it is over; Infinity for never. */
  readonly expiresAtMs: number
  /** Where {@link Deadlines} keeps it; nobody else's. */
  place: number
  expire(): void
}

/**
 * Calls under way and their time limits, on one timer: adding and removing costs nothing to speak of, and the timer
 * is only touched when a limit earlier than the armed one comes in. Limits are met within about a millisecond.
 *
 * An array and no Set: the hash tables of a Set that changes a thousand times a second are replaced all the time, and
 * each replaced one keeps the next, with every call that was in it, until V8 collects all its memory.
 */
export class Deadlines<T extends Expiring> {
  readonly #items: T[] = []
  #timer: NodeJS.Timeout | undefined
  #armedForMs = Infinity

  get size(): number {
    return this.#items.length
  }

  add(item: T): void {
    item.place = this.#items.push(item) - 1
    if (item.expiresAtMs < this.#armedForMs) this.#arm(item.expiresAtMs)
  }

  delete(item: T): void {
    if (this.#items[item.place] !== item) return
    const last = this.#items.pop() as T
    if (last === item) return
    this.#items[item.place] = last
    last.place = item.place
  }

  /** Stops the timer and forgets all: they are the caller's now. */
  clear(): T[] {
    clearTimeout(this.#timer)
    this.#armedForMs = Infinity
    return this.#items.splice(0)
  }

  #arm(atMs: number): void {
    clearTimeout(this.#timer)
    this.#armedForMs = atMs
    this.#timer = setTimeout(() => this.#fire(), Math.min(Math.max(0, atMs - performance.now()), 2_147_483_647))
  }

  #fire(): void {
    this.#armedForMs = Infinity
    const now = performance.now()
    let nextMs = Infinity
    // Those that expire leave the list meanwhile, and may take others with them.
    for (const item of this.#items.slice()) {
      if (this.#items[item.place] !== item) continue
      // Timers may fire a fraction of a millisecond early.
      if (item.expiresAtMs <= now + 1) {
        this.delete(item)
        item.expire()
      } else if (item.expiresAtMs < nextMs) nextMs = item.expiresAtMs
    }
    if (nextMs < this.#armedForMs) this.#arm(nextMs)
  }
}
