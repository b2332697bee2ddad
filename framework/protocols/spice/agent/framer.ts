import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import { AGENT_PROTOCOL } from './numbers.ts'

/** Longest body of a message accepted and sent: that of a clipboard's text. */
export const AGENT_MESSAGE_MAX_BYTES = 16 * 1024 * 1024

/** `VDAgentMessage`: protocol u32, type u32, opaque u64, size u32. */
const HEADER_BYTES = 20

/**
 * Puts the messages of an agent together, which come in chunks of any size. Its memory grows with the bytes that really
 * came, so that a lying length costs nothing.
 */
export class AgentFramer {
  readonly #place: string
  readonly #onMessage: (type: number, body: Uint8Array) => void
  readonly #header = new Uint8Array(HEADER_BYTES)
  #headerBytes = 0
  #type = 0
  #bodySizeBytes = 0
  #body = new Uint8Array(0)
  #bodyBytes = 0

  /** `onMessage` runs inside {@link push}; what it throws comes out there. The body is the receiver's. */
  constructor(place: string, onMessage: (type: number, body: Uint8Array) => void) {
    this.#place = place
    this.#onMessage = onMessage
  }

  /** @throws `ATP_SPICE_PROTOCOL`; nothing that follows can be understood then. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) at += this.#takeHeader(chunk.subarray(at))
      else at += this.#takeBody(chunk.subarray(at))
      if (this.#headerBytes === HEADER_BYTES && this.#bodyBytes === this.#bodySizeBytes) this.#complete()
    }
  }

  #takeHeader(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, HEADER_BYTES - this.#headerBytes)
    this.#header.set(taken, this.#headerBytes)
    this.#headerBytes += taken.length
    if (this.#headerBytes === HEADER_BYTES) this.#readHeader()
    return taken.length
  }

  #readHeader(): void {
    const reader = new SpiceReader(this.#header, `${this.#place}, message`)
    const protocol = reader.u32()
    if (protocol !== AGENT_PROTOCOL) throw reader.error(`protocol ${protocol}`)
    this.#type = reader.u32()
    reader.skip(8)
    this.#bodySizeBytes = reader.u32()
    if (this.#bodySizeBytes > AGENT_MESSAGE_MAX_BYTES) {
      throw reader.error(`${this.#bodySizeBytes} bytes are announced, allowed are ${AGENT_MESSAGE_MAX_BYTES}`)
    }
  }

  #takeBody(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.#bodySizeBytes - this.#bodyBytes)
    const needed = this.#bodyBytes + taken.length
    if (needed > this.#body.length) {
      const grown = new Uint8Array(Math.min(this.#bodySizeBytes, Math.max(needed, this.#body.length * 2)))
      grown.set(this.#body.subarray(0, this.#bodyBytes))
      this.#body = grown
    }
    this.#body.set(taken, this.#bodyBytes)
    this.#bodyBytes = needed
    return taken.length
  }

  #complete(): void {
    const body = this.#body.subarray(0, this.#bodyBytes)
    this.#headerBytes = 0
    this.#bodySizeBytes = 0
    this.#body = new Uint8Array(0)
    this.#bodyBytes = 0
    this.#onMessage(this.#type, body)
  }
}

/** A message with its header, to be cut into chunks. */
export function frameAgentMessage(type: number, body: Uint8Array): Uint8Array {
  const writer = new SpiceWriter(HEADER_BYTES + body.length)
  return writer.u32(AGENT_PROTOCOL).u32(type).u64(0n).u32(body.length).bytes(body).finish()
}
