import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'

/** `client i64, size u16`, little-endian. */
const HEADER_BYTES = 10
/** Most bytes that one packet carries. */
export const MUX_PACKET_MAX_BYTES = 0xffff

/**
 * Tells apart the connections that share a folder channel: programs in the guest, each with a number. Packets may be
 * cut and joined in any way on their way.
 */
export class MuxParser {
  readonly #place: string
  readonly #onPacket: (client: bigint, bytes: Uint8Array) => void
  readonly #header = new Uint8Array(HEADER_BYTES)
  #headerBytes = 0
  #client = 0n
  #left = 0

  /**
   * @param onPacket is given the bytes of a connection as they come, which belong to it then; none mean that the guest
   *   has closed it. What it throws comes out of {@link push}.
   */
  constructor(place: string, onPacket: (client: bigint, bytes: Uint8Array) => void) {
    this.#place = place
    this.#onPacket = onPacket
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const bytes = chunk.subarray(at, at + this.#left)
        at += bytes.length
        this.#left -= bytes.length
        this.#onPacket(this.#client, bytes)
        continue
      }
      const part = chunk.subarray(at, at + HEADER_BYTES - this.#headerBytes)
      at += part.length
      this.#header.set(part, this.#headerBytes)
      this.#headerBytes += part.length
      if (this.#headerBytes === HEADER_BYTES) this.#begin()
    }
  }

  #begin(): void {
    this.#headerBytes = 0
    const reader = new SpiceReader(this.#header, this.#place)
    this.#client = reader.i64()
    this.#left = reader.u16()
    if (this.#left === 0) this.#onPacket(this.#client, new Uint8Array(0))
  }
}

/** One packet. Without bytes it closes the connection. */
export function writeMuxPacket(client: bigint, bytes: Uint8Array): Uint8Array {
  return new SpiceWriter(HEADER_BYTES + bytes.length).i64(client).u16(bytes.length).bytes(bytes).finish()
}
