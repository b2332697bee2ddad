import { messageOf, remoteError, type AtpError } from '../../core/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import {
  lineFraming,
  OPENING,
  type FrameDecoder,
  type Framing,
  type ServerMessage,
} from '../../../guest/protocol/index.ts'

/** Who reads what an agent sends. */
export interface CarrierSink {
  onText(text: string): void
  /** The peer broke the rules of the carrier. */
  onFault(error: AtpError): void
  /** Nothing comes any more; called once. */
  onClose(reason: string): void
}

/** One connection that agents speak over, as texts of whole messages. */
export interface AgentCarrier {
  /** Where it leads, for messages. */
  readonly peer: string
  /** Token of the request it began with. */
  readonly bearer?: string | undefined
  start(sink: CarrierSink): void
  /** Queues a message. A peer that leaves too many unread is a fault. */
  send(message: ServerMessage): void
  /** Ends it once the peer has had a moment to read what was queued. */
  end(): void
  destroy(): void
}

/** Bytes a peer may leave unread. */
export const UNREAD_MAX_BYTES = 8 * 1024 * 1024
/** How long a peer has to read why it is refused. */
export const FAREWELL_MS = 250

export function slowReaderError(peer: string): AtpError {
  return remoteError('ATP_VERIFIER_SLOW', `${peer} leaves more than ${UNREAD_MAX_BYTES} bytes unread`)
}

/**
 * Lines, each with a line end before it as well: whoever begins to read in the middle loses nothing but what is not
 * for it.
 */
export const portFraming: Framing = {
  encode: (message) => Buffer.concat([OPENING, lineFraming.encode(message)]),
  decoder: () => lineFraming.decoder(),
}

/** Messages over a byte stream: a TCP or Unix socket, or a virtio-serial port. Owns the stream. */
export class StreamCarrier implements AgentCarrier {
  readonly peer: string
  readonly #stream: ByteStream
  readonly #framing: Framing
  #decoder: FrameDecoder
  #sink: CarrierSink | undefined
  #unreadBytes = 0
  #farewell: NodeJS.Timeout | undefined

  constructor(stream: ByteStream, framing: Framing) {
    this.peer = stream.peer
    this.#stream = stream
    this.#framing = framing
    this.#decoder = framing.decoder()
  }

  start(sink: CarrierSink): void {
    this.#sink = sink
    this.#stream.start({
      onData: (chunk) => this.#read(chunk),
      onClose: (error) => {
        clearTimeout(this.#farewell)
        sink.onClose(error ? messageOf(error) : 'the agent ended the connection')
      },
    })
  }

  send(message: ServerMessage): void {
    if (this.#farewell) return
    const bytes = this.#framing.encode(message)
    this.#unreadBytes += bytes.length
    this.#stream.write(bytes).then(
      () => (this.#unreadBytes -= bytes.length),
      // The end of the stream tells.
      () => {},
    )
    if (this.#unreadBytes > UNREAD_MAX_BYTES) this.#sink?.onFault(slowReaderError(this.peer))
  }

  end(): void {
    this.#farewell ??= setTimeout(() => this.#stream.destroy(), FAREWELL_MS)
  }

  destroy(): void {
    clearTimeout(this.#farewell)
    this.#stream.destroy()
  }

  #read(chunk: Uint8Array): void {
    if (this.#farewell) return
    let texts: string[]
    try {
      texts = this.#decoder.push(chunk)
    } catch (error) {
      // Lines can be read on after the next line end; a length that lies leaves nothing to go on with.
      this.#decoder = this.#framing.decoder()
      return this.#sink?.onFault(error as AtpError)
    }
    for (const text of texts) if (!this.#farewell) this.#sink?.onText(text)
  }
}
