export interface KeepaliveOptions {
  /** Silence after which the peer is asked for a sign of life, milliseconds. */
  intervalMs: number
  /** Unanswered questions after which it is given up. */
  count: number
  ping(): void
  dead(): void
}

/**
 * Notices a peer that no longer answers, within `intervalMs × (count + 1)`.
 *
 * A stalled event loop of our own does not count against the peer: however many intervals it missed, it asks
 * once and then gives the answer another interval.
 */
export class Keepalive {
  readonly #options: KeepaliveOptions
  readonly #timer: NodeJS.Timeout
  #heard = true
  #unanswered = 0

  constructor(options: KeepaliveOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), options.intervalMs)
    this.#timer.unref()
  }

  /** Something came from the peer. */
  heard(): void {
    this.#heard = true
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    if (this.#heard) {
      this.#heard = false
      this.#unanswered = 0
    } else if (this.#unanswered >= this.#options.count) {
      this.stop()
      this.#options.dead()
    } else {
      this.#unanswered++
      this.#options.ping()
    }
  }
}
