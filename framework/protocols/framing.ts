import { protocolError } from '../core/index.ts'

/** Longest message a framer accepts unless told otherwise: 16 MiB. */
const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

/**
 * Cuts a byte stream into messages and back. Stateful on the reading side: one framer per stream.
 * Chunks may be split anywhere.
 */
export interface Framer {
  /** The bytes that carry one message. @throws `ATP_PROTOCOL_FRAME` for a message this framing cannot carry. */
  encode(message: Uint8Array): Uint8Array
  /** Takes a chunk, returns the messages it completes. @throws `ATP_PROTOCOL_FRAME` when the peer exceeds the limit. */
  push(chunk: Uint8Array): Uint8Array[]
  /** Bytes of an incomplete message held back. Non-zero at the end of the stream means a truncated message. */
  readonly pendingBytes: number
}

/** No framing: every chunk is a message. For byte streams whose borders mean nothing. */
export class RawFramer implements Framer {
  readonly pendingBytes = 0
  encode(message: Uint8Array): Uint8Array {
    return message
  }
  push(chunk: Uint8Array): Uint8Array[] {
    return chunk.byteLength > 0 ? [chunk] : []
  }
}

const NEWLINE = 0x0a

/** Messages end with a newline, which is not part of them. A carriage return before it is. */
export class LineFramer implements Framer {
  readonly #maxBytes: number
  #held: Uint8Array[] = []
  #heldBytes = 0

  constructor(maxBytes = DEFAULT_MAX_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes
  }

  get pendingBytes(): number {
    return this.#heldBytes
  }

  encode(message: Uint8Array): Uint8Array {
    if (message.includes(NEWLINE)) {
      throw protocolError('ATP_PROTOCOL_FRAME', 'a line-framed message must not contain a newline', {
        remedy: 'encode the content (base64, JSON) or use length framing',
        verdict: 'spec',
      })
    }
    checkLength(message.byteLength, this.#maxBytes, 'spec')
    const line = new Uint8Array(message.byteLength + 1)
    line.set(message)
    line[message.byteLength] = NEWLINE
    return line
  }

  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      checkLength(this.#heldBytes + end - start, this.#maxBytes)
      lines.push(this.#take(chunk.subarray(start, end)))
      start = end + 1
    }
    if (start < chunk.byteLength) {
      this.#held.push(chunk.subarray(start))
      this.#heldBytes += chunk.byteLength - start
      checkLength(this.#heldBytes, this.#maxBytes)
    }
    return lines
  }

  #take(rest: Uint8Array): Uint8Array {
    if (this.#heldBytes === 0) return rest
    const line = Buffer.concat([...this.#held, rest])
    this.#held = []
    this.#heldBytes = 0
    return line
  }
}

const LENGTH_BYTES = 4

/** Messages are preceded by their length as a big-endian u32 (the length field itself not counted). */
export class LengthPrefixFramer implements Framer {
  readonly #maxBytes: number
  #held: Uint8Array = new Uint8Array(0)
  #chunks: Uint8Array[] = []
  #heldBytes = 0

  constructor(maxBytes = DEFAULT_MAX_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes
  }

  get pendingBytes(): number {
    return this.#heldBytes
  }

  encode(message: Uint8Array): Uint8Array {
    checkLength(message.byteLength, this.#maxBytes, 'spec')
    const frame = new Uint8Array(LENGTH_BYTES + message.byteLength)
    new DataView(frame.buffer).setUint32(0, message.byteLength)
    frame.set(message, LENGTH_BYTES)
    return frame
  }

  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk)
    this.#heldBytes += chunk.byteLength
    const messages: Uint8Array[] = []
    for (let wanted = this.#wanted(); this.#heldBytes >= wanted; wanted = this.#wanted()) {
      this.#join()
      messages.push(this.#held.subarray(LENGTH_BYTES, wanted))
      this.#held = this.#held.subarray(wanted)
      this.#heldBytes -= wanted
    }
    return messages
  }

  /** Size of the next whole frame; the header alone while that is incomplete. */
  #wanted(): number {
    if (this.#heldBytes < LENGTH_BYTES) return LENGTH_BYTES
    if (this.#held.byteLength < LENGTH_BYTES) this.#join()
    const view = new DataView(this.#held.buffer, this.#held.byteOffset, LENGTH_BYTES)
    const length = view.getUint32(0)
    checkLength(length, this.#maxBytes)
    return LENGTH_BYTES + length
  }

  // Chunks are joined once per message and not once per chunk: a large message stays linear.
  #join(): void {
    if (this.#chunks.length === 0) return
    this.#held = Buffer.concat([this.#held, ...this.#chunks])
    this.#chunks = []
  }
}

function checkLength(bytes: number, maxBytes: number, verdict?: 'spec'): void {
  if (bytes <= maxBytes) return
  throw protocolError('ATP_PROTOCOL_FRAME', `a message of ${bytes} bytes exceeds the limit of ${maxBytes}`, {
    context: { bytes, maxBytes },
    verdict,
  })
}
