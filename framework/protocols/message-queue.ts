import { interrupted, withDeadline, type CallOptions } from '../core/deadline.ts'
import { protocolError } from '../core/errors.ts'

export interface MessageQueueOptions<T> {
  /** What the queue holds, for messages: `QMP events of vm-001`. */
  what: string
  /** Most that may wait unread, in units of `sizeOf`. */
  limit: number
  /** Weight of one message. Default: 1 each. */
  sizeOf?: (message: T) => number
}

interface Waiter<T> {
  resolve(message: T): void
  reject(error: unknown): void
}

/**
 * Bounded queue between a protocol's reader, which must never block, and whoever consumes its messages.
 *
 * When the limit is passed the newest message is dropped and remembered: after the kept ones were read, the
 * next read rejects once with `ATP_PROTOCOL_OVERFLOW` and says how many are missing. Nothing is lost silently.
 */
export class MessageQueue<T> {
  readonly #options: Required<MessageQueueOptions<T>>
  readonly #messages: T[] = []
  readonly #waiters = new Set<Waiter<T>>()
  #size = 0
  #dropped = 0
  #end: { error: unknown } | undefined

  constructor(options: MessageQueueOptions<T>) {
    this.#options = { sizeOf: () => 1, ...options }
  }

  /** Units waiting unread. */
  get size(): number {
    return this.#size
  }

  push(message: T): void {
    if (this.#end) return
    const [waiter] = this.#waiters
    if (waiter) {
      this.#waiters.delete(waiter)
      waiter.resolve(message)
      return
    }
    const size = this.#options.sizeOf(message)
    // Once something was dropped, everything behind it is too: what is read never has a hole in it.
    if (this.#dropped > 0 || this.#size + size > this.#options.limit) {
      this.#dropped++
      return
    }
    this.#messages.push(message)
    this.#size += size
  }

  /** No message follows. Those already queued can still be read; then reads reject with `error`. */
  end(error: unknown): void {
    if (this.#end) return
    this.#end = { error }
    for (const waiter of this.#waiters) waiter.reject(error)
    this.#waiters.clear()
  }

  /**
   * The next message.
   *
   * @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED`, `ATP_PROTOCOL_OVERFLOW`, or the error given to {@link end}.
   */
  async next(options: CallOptions = {}): Promise<T> {
    const message = this.#messages.shift()
    if (message !== undefined) {
      this.#size -= this.#options.sizeOf(message)
      return message
    }
    if (this.#dropped > 0) {
      const dropped = this.#dropped
      this.#dropped = 0
      throw protocolError('ATP_PROTOCOL_OVERFLOW', `${dropped} ${this.#options.what} were dropped unread`, {
        context: { dropped, limit: this.#options.limit },
        remedy: 'read them as they come, or subscribe only to what is needed',
        verdict: 'spec',
      })
    }
    if (this.#end) throw this.#end.error
    const what = `waiting for ${this.#options.what}`
    return withDeadline(
      what,
      options,
      (signal) =>
        new Promise<T>((resolve, reject) => {
          const waiter: Waiter<T> = {
            resolve: (value) => {
              signal.removeEventListener('abort', onAbort)
              resolve(value)
            },
            reject,
          }
          // Leaving the queue at once is what keeps a message from going to a reader that gave up.
          const onAbort = () => {
            this.#waiters.delete(waiter)
            reject(interrupted(what, signal))
          }
          signal.addEventListener('abort', onAbort, { once: true })
          this.#waiters.add(waiter)
        }),
    )
  }
}
