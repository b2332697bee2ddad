import { interrupted, protocolError, type CallOptions } from '../core/index.ts'
import type { ByteSink, ByteStream } from '../wire/byte-stream.ts'
import { lateError } from './stream-errors.ts'
import { startLimit } from './time-limit.ts'

/** What a peer sends before a protocol begins: a byte that admits us, a line that says a program runs. */
export interface Prelude {
  /** For messages: `did not say that it is ready`. */
  missing: string
  maxBytes: number
  /** How many of these bytes are the prelude; undefined while it is not complete. May throw. */
  lengthIn(received: Buffer): number | undefined
  /** The error of a stream that ended before it was complete; `reason` is the stream's own, if it has one. */
  ended(reason: Error | undefined): Error
}

/**
 * Waits for the prelude and takes it off the stream. Whatever goes wrong, the stream is destroyed.
 *
 * @throws what `ended` makes, `ATP_TRANSPORT_PRELUDE` when more than `maxBytes` come without it,
 *   `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function afterPrelude(
  stream: ByteStream,
  prelude: Prelude,
  { signal, timeoutMs }: CallOptions,
): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const rest = new Remainder(stream)
    let received = Buffer.alloc(0)
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    const fail = (error: Error) => {
      settle()
      reject(error)
      stream.destroy(error)
    }
    const onAbort = () => fail(interrupted(`connecting to ${stream.peer}`, signal))
    const onTimeout = (limitMs: number) => fail(lateError(stream.peer, prelude.missing, limitMs))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = startLimit(timeoutMs, onTimeout)
    if (signal?.aborted) return onAbort()

    rest.start({
      onData: (chunk) => {
        received = Buffer.concat([received, chunk])
        try {
          const lengthBytes = prelude.lengthIn(received)
          if (lengthBytes !== undefined) {
            settle()
            rest.handOver(received.subarray(lengthBytes))
            resolve(rest)
          } else if (received.length > prelude.maxBytes) {
            fail(
              protocolError('ATP_TRANSPORT_PRELUDE', `${stream.peer} ${prelude.missing}, but sent something else`, {
                context: { peer: stream.peer },
              }),
            )
          }
        } catch (error) {
          fail(error as Error)
        }
      },
      onClose: (reason) => {
        settle()
        reject(prelude.ended(reason))
      },
    })
  })
}

/** The stream behind a prelude. Its first sink is the one that waits for the prelude. */
class Remainder implements ByteStream {
  readonly #inner: ByteStream
  #sink: ByteSink | undefined
  #started = false
  #rest: Uint8Array | undefined
  #paused = false
  #end: { reason: Error | undefined } | undefined

  constructor(inner: ByteStream) {
    this.#inner = inner
  }

  get peer(): string {
    return this.#inner.peer
  }

  get confidential(): boolean {
    return this.#inner.confidential ?? false
  }

  /** The prelude is over: what follows waits, from `rest` on, for the next sink. */
  handOver(rest: Uint8Array): void {
    this.#sink = undefined
    if (rest.length > 0) this.#rest = rest
    this.#inner.pause()
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    if (this.#started) return this.#deliver()
    this.#started = true
    this.#inner.start({
      onData: (chunk) => this.#sink?.onData(chunk),
      onClose: (reason) => {
        this.#end = { reason }
        this.#deliver()
      },
    })
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#inner.write(bytes)
  }

  pause(): void {
    this.#paused = true
    this.#inner.pause()
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  destroy(error?: Error): void {
    this.#rest = undefined
    this.#paused = false
    if (this.#end) queueMicrotask(() => this.#deliver())
    else this.#inner.destroy(error)
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink || this.#paused) return
    const rest = this.#rest
    this.#rest = undefined
    if (rest) sink.onData(rest)
    // The sink may have paused and resumed meanwhile: then that has told it the end.
    if (this.#paused || this.#sink !== sink) return
    if (!this.#end) return this.#inner.resume()
    this.#sink = undefined
    sink.onClose(this.#end.reason)
  }
}
