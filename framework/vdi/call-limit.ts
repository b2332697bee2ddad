import type { CallOptions } from '../core/index.ts'

/** Node's timers fire at once beyond it. */
const LONGEST_MS = 2 ** 31 - 1

/** Time limit and abort of one call; an abort signal costs a multiple of it, and calls are many. */
export class CallLimit {
  /** Why the call has to end, undefined as long as it has not. */
  over: 'timeout' | 'abort' | undefined
  readonly #ends = new Set<() => void>()
  readonly #timer: NodeJS.Timeout
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = () => this.#end('abort')

  constructor({ signal, timeoutMs }: CallOptions & { timeoutMs: number }) {
    this.#signal = signal
    this.#timer = setTimeout(() => this.#end('timeout'), Math.min(timeoutMs, LONGEST_MS))
    if (signal?.aborted) this.#end('abort')
    else signal?.addEventListener('abort', this.#onAbort)
  }

  /** Calls `end` when the limit is reached. Returns what takes that back. */
  onEnd(end: () => void): () => void {
    this.#ends.add(end)
    return () => void this.#ends.delete(end)
  }

  /**
   * What `work` answers, or a rejection as soon as the limit is reached, even if the work goes on. The error of the
   * limit is the caller's to make, where the stack still leads to who called.
   */
  race<T>(work: (limit: CallLimit) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.over) return reject(this.over)
      this.onEnd(() => reject(this.over))
      work(this).then(resolve, reject)
    })
  }

  /** A pause, shorter if the limit is reached. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        forget()
        resolve()
      }
      const timer = setTimeout(wake, ms)
      const forget = this.onEnd(wake)
    })
  }

  /** Lets go of timer and signal. */
  release(): void {
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  #end(why: 'timeout' | 'abort'): void {
    if (this.over) return
    this.over = why
    for (const end of this.#ends) end()
  }
}
