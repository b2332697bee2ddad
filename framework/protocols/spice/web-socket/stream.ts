import { connectError, type AtpError } from '../../../core/errors.ts'
import type { ByteSink, ByteStream } from '../../../wire/byte-stream.ts'
import { FrameParser, maskedFrame, OPCODE } from './frames.ts'

const MASK_BYTES = 4

/**
 * A WebSocket that is open already, as a byte stream: what its data frames hold, wherever they begin and end. It slows
 * the server down as the stream below does.
 */
export class WebSocketByteStream implements ByteStream {
  readonly peer: string
  readonly #inner: ByteStream
  readonly #parser: FrameParser
  #sink: ByteSink | undefined
  #paused = false
  /** The server has said that nothing follows. */
  #closed = false

  /** @param inner begins with the first frame; it belongs to this stream from now on. */
  constructor(url: string, inner: ByteStream) {
    this.peer = url
    this.#inner = inner
    const refuse = (what: string) => webSocketError(url, `the server sent ${what}`)
    const sink = {
      onData: (bytes: Uint8Array) => this.#deliver(bytes),
      onControl: (opcode: number, payload: Uint8Array) => this.#control(opcode, payload),
    }
    this.#parser = new FrameParser(sink, refuse)
  }

  get confidential(): boolean {
    return this.#inner.confidential ?? false
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#inner.start({
      borrows: true,
      onData: (chunk) => this.#push(chunk),
      onClose: (error) => sink.onClose(error),
    })
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#inner.write(frame(OPCODE.binary, bytes))
  }

  pause(): void {
    this.#paused = true
    this.#inner.pause()
  }

  resume(): void {
    this.#paused = false
    this.#push()
    // What was kept may have made somebody pause it again.
    if (!this.#paused) this.#inner.resume()
  }

  destroy(error?: Error): void {
    this.#inner.destroy(error)
  }

  #push(chunk?: Uint8Array): void {
    if (this.#closed) return
    try {
      this.#parser.push(chunk)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #deliver(bytes: Uint8Array): boolean {
    const sink = this.#sink
    sink?.onData(sink.borrows ? bytes : new Uint8Array(bytes))
    return !this.#paused
  }

  #control(opcode: number, payload: Uint8Array): void {
    // If it cannot be sent, the stream's end tells.
    if (opcode === OPCODE.ping) void this.#inner.write(frame(OPCODE.pong, payload)).catch(() => {})
    if (opcode !== OPCODE.close) return
    this.#closed = true
    this.destroy()
  }
}

function frame(opcode: number, payload: Uint8Array): Uint8Array {
  return maskedFrame(opcode, payload, crypto.getRandomValues(new Uint8Array(MASK_BYTES)))
}

/** No WebSocket is accepted there, or what is accepted is none. */
export function webSocketError(url: string, what: string, cause?: unknown): AtpError {
  return connectError('ATP_SPICE_WEBSOCKET', `${url}: ${what}`, {
    cause,
    context: { url },
    retryable: true,
    remedy: 'check that a SPICE server or a WebSocket proxy listens there',
  })
}
