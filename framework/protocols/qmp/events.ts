import type { CallOptions } from '../../core/index.ts'
import { MessageQueue } from '../message-queue.ts'
import type { QmpEvent } from './codec.ts'

export interface QmpEventsOptions {
  /** Only events of these names. Default all. */
  names?: readonly string[]
  /** Ends the iteration quietly when it aborts. */
  signal?: AbortSignal
}

/**
 * One reader of a session's events: everything raised since it was made, in order.
 *
 * Iterate it (`for await`), which stops it at the end, or take events one by one with {@link receive} and call
 * {@link stop}. A reader that falls behind its limit gets `ATP_PROTOCOL_OVERFLOW` instead of a silent gap; it goes on
 * when the connection to the host was lost and restored, and {@link gaps} counts that.
 */
export class QmpEvents implements AsyncIterableIterator<QmpEvent> {
  readonly #queue: MessageQueue<QmpEvent>
  readonly #wants: (event: QmpEvent) => boolean
  readonly #onStop: (events: QmpEvents) => void
  readonly #signal: AbortSignal | undefined
  #stopped = false
  #gaps = 0

  constructor(options: {
    limit: number
    wants: (event: QmpEvent) => boolean
    onStop: (events: QmpEvents) => void
    signal?: AbortSignal
  }) {
    this.#queue = new MessageQueue({ what: 'QMP events', limit: options.limit })
    this.#wants = options.wants
    this.#onStop = options.onStop
    this.#signal = options.signal
  }

  /** Called by the session for each event. */
  offer(event: QmpEvent): void {
    if (!this.#stopped && this.#wants(event)) this.#queue.push(event)
  }

  /** How often the connection to the host was lost meanwhile: events of those times are missing. */
  get gaps(): number {
    return this.#gaps
  }

  /** Called by the session when events can be missed. */
  miss(): void {
    this.#gaps++
  }

  /** Called by the session when it is over: events already here can still be read. */
  end(error: Error): void {
    this.#queue.end(error)
  }

  receive(options: CallOptions = {}): Promise<QmpEvent> {
    return this.#queue.next(options)
  }

  stop(): void {
    this.#stopped = true
    this.#onStop(this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<QmpEvent>> {
    if (this.#stopped || this.#signal?.aborted) return this.return()
    try {
      return { done: false, value: await this.receive({ signal: this.#signal }) }
    } catch (error) {
      if (this.#signal?.aborted) return this.return()
      this.stop()
      throw error
    }
  }

  async return(): Promise<IteratorResult<QmpEvent>> {
    this.stop()
    return { done: true, value: undefined }
  }
}
