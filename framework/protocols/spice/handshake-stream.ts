import { withDeadline, type CallOptions } from '../../core/deadline.ts'
import type { ByteSink, ByteStream } from '../../wire/byte-stream.ts'
import { linkEndedError } from './errors.ts'

/** Most bytes that may come before they are asked for: a server speaks when it is its turn. */
const UNREAD_MAX_BYTES = 262_144

/**
 * A stream that is first read piece by piece, as a handshake wants it, and then handed over with what was not read.
 * It owns the stream until then.
 */
export class HandshakeStream {
  readonly #stream: ByteStream
  readonly #place: string
  #chunks: Uint8Array[] = []
  #unreadBytes = 0
  #end: { reason: Error | undefined } | undefined
  #wake: (() => void) | undefined
  #sink: ByteSink | undefined

  constructor(stream: ByteStream, place: string) {
    this.#stream = stream
    this.#place = place
    stream.start({
      borrows: true,
      onData: (chunk) => {
        if (this.#sink) return this.#sink.onData(chunk)
        this.#chunks.push(new Uint8Array(chunk))
        this.#unreadBytes += chunk.length
        if (this.#unreadBytes > UNREAD_MAX_BYTES) stream.pause()
        this.#wake?.()
      },
      onClose: (reason) => {
        this.#end = { reason }
        this.#sink?.onClose(reason)
        this.#wake?.()
      },
    })
  }

  /** The stream itself, to write to once it is handed over. */
  get inner(): ByteStream {
    return this.#stream
  }

  get confidential(): boolean {
    return this.#stream.confidential ?? false
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#stream.write(bytes)
  }

  /** The next bytes. @throws `ATP_SPICE_LINK_ENDED` when the stream ends before, `ATP_TIMEOUT`, `ATP_INTERRUPTED`. */
  async read(sizeBytes: number, options: CallOptions): Promise<Uint8Array> {
    if (this.#unreadBytes < sizeBytes) {
      await withDeadline(`${this.#place}: waiting for the server`, options, async () => {
        while (this.#unreadBytes < sizeBytes) {
          if (this.#end) throw linkEndedError(this.#place, this.#end.reason)
          await new Promise<void>((resolve) => (this.#wake = resolve))
        }
      })
    }
    const all = this.#joined()
    this.#chunks = [all.subarray(sizeBytes)]
    this.#unreadBytes = all.length - sizeBytes
    return all.subarray(0, sizeBytes)
  }

  /** From now on everything, unread bytes first and before this returns, goes to the sink. Chunks are only lent. */
  handOver(sink: ByteSink): void {
    const rest = this.#joined()
    this.#chunks = []
    this.#sink = sink
    if (this.#unreadBytes > UNREAD_MAX_BYTES) this.#stream.resume()
    if (rest.length > 0) sink.onData(rest)
    if (this.#end) sink.onClose(this.#end.reason)
  }

  destroy(error?: Error): void {
    this.#stream.destroy(error)
  }

  #joined(): Uint8Array {
    const [first] = this.#chunks
    if (this.#chunks.length === 1 && first) return first
    const all = new Uint8Array(this.#unreadBytes)
    let at = 0
    for (const chunk of this.#chunks) {
      all.set(chunk, at)
      at += chunk.length
    }
    return all
  }
}
