/** Something with a time limit. */
export interface Expiring {
  /** `performance.now()` at which it is over; Infinity for never. */
  readonly expiresAtMs: number
  expire(): void
}

/**
 * The time limits of many calls on one timer: adding and removing is a set operation, and the timer is only
 * touched when a limit earlier than the armed one comes in. Limits are met within about a millisecond.
 */
export class Deadlines {
  readonly #items = new Set<Expiring>()
  #timer: NodeJS.Timeout | undefined
  #armedForMs = Infinity

  add(item: Expiring): void {
    if (item.expiresAtMs === Infinity) return
    this.#items.add(item)
    if (item.expiresAtMs < this.#armedForMs) this.#arm(item.expiresAtMs)
  }

  delete(item: Expiring): void {
    this.#items.delete(item)
  }

  /** Stops the timer; nothing expires any more. */
  clear(): void {
    this.#items.clear()
    clearTimeout(this.#timer)
    this.#armedForMs = Infinity
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
    for (const item of this.#items) {
      // Timers may fire a fraction of a millisecond early.
      if (item.expiresAtMs <= now + 1) {
        this.#items.delete(item)
        item.expire()
      } else if (item.expiresAtMs < nextMs) nextMs = item.expiresAtMs
    }
    if (nextMs < this.#armedForMs) this.#arm(nextMs)
  }
}
