import { protocolError } from '../../framework/core/errors.ts'
import { malformed } from './fields.ts'
import { MESSAGE_MAX_BYTES, type AgentMessage, type ServerMessage } from './messages.ts'

const LENGTH_BYTES = 4
const LINE_END = 0x0a
const strict = new TextDecoder('utf-8', { fatal: true })
const encoder = new TextEncoder()

/** How a byte stream is cut into messages. WebSockets need none of it: one text frame is one message. */
export interface Framing {
  /** The bytes of one message. @throws `ATP_VERIFIER_TOO_LARGE` */
  encode(message: AgentMessage | ServerMessage): Uint8Array
  decoder(): FrameDecoder
}

/** Cuts a byte stream into the texts of its messages, wherever the chunks are split. */
export interface FrameDecoder {
  /**
   * The messages that are complete with this chunk.
   *
   * @throws `ATP_VERIFIER_TOO_LARGE`, `ATP_VERIFIER_MESSAGE`; the stream cannot be read on then.
   */
  push(chunk: Uint8Array): string[]
}

/**
 * JSON text of a message.
 *
 * @throws `ATP_VERIFIER_TOO_LARGE` for more than 1 MiB of UTF-8.
 */
export function encodeMessage(message: AgentMessage | ServerMessage): string {
  const text = JSON.stringify(message)
  // A character takes at most three bytes of UTF-8, so that short texts need not be counted.
  if (text.length * 3 > MESSAGE_MAX_BYTES) checkSize(encoder.encode(text).length)
  return text
}

/** TCP and Unix sockets: a big-endian u32 with the length, then the message. */
export const lengthFraming: Framing = {
  encode(message) {
    const body = encoder.encode(encodeMessage(message))
    const frame = new Uint8Array(LENGTH_BYTES + body.length)
    new DataView(frame.buffer).setUint32(0, body.length)
    frame.set(body, LENGTH_BYTES)
    return frame
  },
  decoder: () => new LengthDecoder(),
}

/**
 * virtio-serial: one line a message. A port has no beginning, so what stands before the first line end is the rest
 * of an earlier conversation and thrown away; {@link OPENING} makes a whole line of it.
 */
export const lineFraming: Framing = {
  encode: (message) => encoder.encode(`${encodeMessage(message)}\n`),
  decoder: () => new LineDecoder(),
}

/**
 * What each side sends over a virtio-serial port right before its first message: it ends what an earlier conversation
 * left unfinished. An agent may lose what came before its hello.
 */
export const OPENING: Uint8Array = new Uint8Array([LINE_END])

function checkSize(bytes: number): void {
  if (bytes > MESSAGE_MAX_BYTES) {
    throw protocolError(
      'ATP_VERIFIER_TOO_LARGE',
      `a verifier message has ${bytes} bytes, allowed are ${MESSAGE_MAX_BYTES}`,
    )
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes)
  } catch {
    throw malformed('it is no UTF-8')
  }
}

/** Bytes of an unfinished message; grows with what really came, so that a lying length costs no memory. */
class Pending {
  #bytes = new Uint8Array(0)
  #length = 0

  get length(): number {
    return this.#length
  }

  append(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(chunk, this.#length)
    this.#length = needed
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  clear(): void {
    this.#bytes = new Uint8Array(0)
    this.#length = 0
  }
}

class LengthDecoder implements FrameDecoder {
  readonly #pending = new Pending()

  push(chunk: Uint8Array): string[] {
    const messages: string[] = []
    let rest = chunk
    while (rest.length > 0) {
      const taken = rest.subarray(0, this.#wanted() - this.#pending.length)
      this.#pending.append(taken)
      rest = rest.subarray(taken.length)
      if (this.#pending.length < this.#wanted()) continue
      messages.push(decode(this.#pending.view().subarray(LENGTH_BYTES)))
      this.#pending.clear()
    }
    return messages
  }

  /** Bytes of the frame as far as known: its length field first. */
  #wanted(): number {
    const bytes = this.#pending.view()
    if (bytes.length < LENGTH_BYTES) return LENGTH_BYTES
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
    checkSize(length)
    if (length === 0) throw malformed('it is empty')
    return LENGTH_BYTES + length
  }
}

class LineDecoder implements FrameDecoder {
  readonly #pending = new Pending()
  #begun = false

  push(chunk: Uint8Array): string[] {
    const messages: string[] = []
    let rest = chunk
    for (let end = rest.indexOf(LINE_END); end >= 0; end = rest.indexOf(LINE_END)) {
      const line = rest.subarray(0, end)
      rest = rest.subarray(end + 1)
      if (this.#begun) this.#finish(line, messages)
      this.#begun = true
    }
    if (!this.#begun) return messages
    checkSize(this.#pending.length + rest.length)
    this.#pending.append(rest)
    return messages
  }

  #finish(line: Uint8Array, messages: string[]): void {
    checkSize(this.#pending.length + line.length)
    this.#pending.append(line)
    const text = decode(this.#pending.view()).trim()
    this.#pending.clear()
    if (text !== '') messages.push(text)
  }
}
