import { interrupted, withDeadline, type CallOptions } from '../../../core/deadline.ts'

/** How many messages the server takes for the guest's agent: each one sent uses up one token. */
export class AgentTokens {
  #tokens = 0
  readonly #waiting = new Set<{ resolve(): void; reject(error: Error): void }>()

  /** A new count; who waits for tokens of a connection that is over gets its error. */
  reset(tokens: number, reason?: Error): void {
    if (reason) for (const waiter of this.#waiting) waiter.reject(reason)
    if (reason) this.#waiting.clear()
    this.#tokens = 0
    this.add(tokens)
  }

  add(tokens: number): void {
    this.#tokens += tokens
    for (const waiter of this.#waiting) {
      if (this.#tokens === 0) return
      this.#tokens--
      this.#waiting.delete(waiter)
      waiter.resolve()
    }
  }

  /** One token, waited for in turn. @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED`, the reason given to {@link reset}. */
  async take(what: string, options: CallOptions): Promise<void> {
    if (this.#tokens > 0 && this.#waiting.size === 0) {
      this.#tokens--
      return
    }
    await withDeadline(
      what,
      options,
      (signal) =>
        new Promise<void>((resolve, reject) => {
          const waiter = { resolve, reject }
          this.#waiting.add(waiter)
          // Leaving at once keeps a token from going to somebody who gave up.
          const onAbort = () => {
            this.#waiting.delete(waiter)
            reject(interrupted(what, signal))
          }
          signal.addEventListener('abort', onAbort, { once: true })
        }),
    )
  }
}
