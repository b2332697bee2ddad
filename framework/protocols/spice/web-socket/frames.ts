/** Frames of WebSockets, RFC 6455 section 5, as a client writes and reads them. */

/** Section 11.8. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
const FIN = 0x80
const MASKED = 0x80
const RESERVED = 0x70
const CONTROL = 8
const CONTROL_MAX_BYTES = 125
const LENGTH_16 = 126
const LENGTH_64 = 127

/** One whole frame, masked as a client's must be. */
export function maskedFrame(opcode: number, payload: Uint8Array, mask: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload
  const lengthBytes = length > 0xffff ? 8 : length >= LENGTH_16 ? 2 : 0
  const start = 2 + lengthBytes + mask.length
  const frame = new Uint8Array(start + length)
  const view = new DataView(frame.buffer)
  frame[0] = FIN | opcode
  frame[1] = MASKED | (lengthBytes === 8 ? LENGTH_64 : lengthBytes === 2 ? LENGTH_16 : length)
  if (lengthBytes === 2) view.setUint16(2, length)
  if (lengthBytes === 8) view.setBigUint64(2, BigInt(length))
  frame.set(mask, 2 + lengthBytes)
  for (let at = 0; at < length; at++) frame[start + at] = (payload[at] as number) ^ (mask[at & 3] as number)
  return frame
}

/** Who reads frames. */
export interface FrameSink {
  /** A piece of data, lent until this returns. False stops the parser: what follows is kept. */
  onData(bytes: Uint8Array): boolean
  /** A whole control frame. */
  onControl(opcode: number, payload: Uint8Array): void
}

const NOTHING = new Uint8Array(0)

/** Takes a server's frames apart. Data are handed on as they come, so that a long frame takes no memory. */
export class FrameParser {
  readonly #sink: FrameSink
  readonly #refuse: (what: string) => Error
  /** Bytes of a header that is not complete, or of a control frame. */
  #kept = NOTHING
  /** What is left of a data frame. */
  #left = 0

  /** @param refuse makes the error for what a server must not send. */
  constructor(sink: FrameSink, refuse: (what: string) => Error) {
    this.#sink = sink
    this.#refuse = refuse
  }

  /**
   * Takes bytes in; without any it goes on where it was stopped.
   *
   * @throws what `refuse` makes; nothing that follows can be understood then.
   */
  push(chunk: Uint8Array = NOTHING): void {
    let bytes = this.#kept.length === 0 ? chunk : joined(this.#kept, chunk)
    this.#kept = NOTHING
    while (bytes.length > 0) {
      if (this.#left === 0) {
        const header = headerOf(bytes, this.#refuse)
        if (!header) break
        const end = header.startBytes + header.payloadBytes
        if (header.opcode >= CONTROL) {
          if (bytes.length < end) break
          this.#sink.onControl(header.opcode, bytes.slice(header.startBytes, end))
          bytes = bytes.subarray(end)
          continue
        }
        this.#left = header.payloadBytes
        bytes = bytes.subarray(header.startBytes)
        if (this.#left === 0) continue
      }
      const data = bytes.subarray(0, this.#left)
      this.#left -= data.length
      bytes = bytes.subarray(data.length)
      if (data.length > 0 && !this.#sink.onData(data)) break
    }
    this.#kept = new Uint8Array(bytes)
  }
}

interface FrameHeader {
  opcode: number
  startBytes: number
  payloadBytes: number
}

/** The header that bytes begin with; undefined while it is not complete. */
function headerOf(bytes: Uint8Array, refuse: (what: string) => Error): FrameHeader | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  const opcode = first & 0x0f
  if ((first & RESERVED) !== 0) throw refuse('a frame of an extension')
  if ((second & MASKED) !== 0) throw refuse('a frame that is masked')
  if (opcode > OPCODE.binary && (opcode < OPCODE.close || opcode > OPCODE.pong))
    throw refuse(`a frame of kind ${opcode}`)
  const short = second & 0x7f
  if (opcode >= CONTROL && (short > CONTROL_MAX_BYTES || (first & FIN) === 0)) throw refuse('a control frame in parts')
  if (short < LENGTH_16) return { opcode, startBytes: 2, payloadBytes: short }
  const startBytes = short === LENGTH_16 ? 4 : 10
  if (bytes.length < startBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const payloadBytes = short === LENGTH_16 ? view.getUint16(2) : Number(view.getBigUint64(2))
  if (!Number.isSafeInteger(payloadBytes)) throw refuse(`a frame of ${payloadBytes} bytes`)
  return { opcode, startBytes, payloadBytes }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const all = new Uint8Array(one.length + other.length)
  all.set(one)
  all.set(other, one.length)
  return all
}
