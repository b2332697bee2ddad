import { copyBytesBack } from './lz-stream.ts'
import { imageError } from './pixels.ts'

// Most copies are of a few bytes. Those are made of words of eight bytes, more of them than are asked for, which writes
// garbage behind their ends; the next copy writes over it. Where the output nearly ends bytes are counted. A word is
// taken and put in one expression: then engines make no BigInt of it.

const WORD_BYTES = 8
/** How far behind its end a copy of words may read and write. */
const SPARE_BYTES = 2 * WORD_BYTES
/** Copies of more bytes go through the engine's own, which is slow to start. */
const LONG_COPY = 192

/** What blocks are unpacked into, one after the other; matches reach back into the blocks before. */
export class Lz4Output {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  #end = 0

  constructor({ buffer, byteOffset }: Uint32Array<ArrayBuffer>, sizeBytes: number) {
    this.bytes = new Uint8Array(buffer, byteOffset, sizeBytes)
    this.#view = new DataView(buffer, byteOffset, sizeBytes)
  }

  /** Bytes that are there. */
  get end(): number {
    return this.#end
  }

  /**
   * Unpacks the block between `start` and `end` of the source.
   *
   * @throws `ATP_SPICE_IMAGE`
   */
  unpack(source: Uint8Array, start: number, end: number): void {
    const from = new DataView(source.buffer, source.byteOffset, end)
    const out = this.bytes
    const view = this.#view
    const limit = out.length
    let at = start
    let to = this.#end
    for (;;) {
      const token = source[at++] as number
      let literals = token >> 4
      if (literals > 0) {
        if (literals <= WORD_BYTES && at + WORD_BYTES <= end && to + WORD_BYTES <= limit) {
          view.setBigUint64(to, from.getBigUint64(at, true), true)
        } else {
          if (literals === 15) {
            let more: number
            do {
              more = at < end ? (source[at++] as number) : 0
              literals += more
            } while (more === 255)
          }
          if (literals > end - at || literals > limit - to) throw brokenBlock(at, to)
          out.set(source.subarray(at, at + literals), to)
        }
        at += literals
        to += literals
      }
      // A block ends with literals, which may be none.
      if (at === end) break
      if (end - at < 2) throw brokenBlock(at, to)
      const distance = from.getUint16(at, true)
      at += 2
      let length = token & 15
      if (length === 15) {
        let more: number
        do {
          more = at < end ? (source[at++] as number) : 0
          length += more
        } while (more === 255)
      }
      length += 4
      if (distance === 0 || distance > to || length > limit - to || at >= end) throw brokenBlock(at, to)
      if (distance >= WORD_BYTES && length < LONG_COPY && to + length + SPARE_BYTES <= limit) {
        const stop = to + length
        for (let put = to; put < stop; put += 2 * WORD_BYTES) {
          const take = put - distance
          view.setBigUint64(put, view.getBigUint64(take, true), true)
          view.setBigUint64(put + WORD_BYTES, view.getBigUint64(take + WORD_BYTES, true), true)
        }
      } else if (distance >= 4 && length < LONG_COPY) this.#copyHalfWords(to, distance, length)
      else copyBytesBack(out, to, distance, length)
      to += length
    }
    this.#end = to
  }

  /** Words that overlap their source by whole words or more are copied as bytes would be. */
  #copyHalfWords(to: number, distance: number, length: number): void {
    const view = this.#view
    const last = to + length - 4
    let at = to
    for (; at <= last; at += 4) view.setInt32(at, view.getInt32(at - distance, true), true)
    for (; at < last + 4; at++) this.bytes[at] = this.bytes[at - distance] as number
  }
}

function brokenBlock(at: number, to: number): Error {
  return imageError('lz4', `the block breaks at byte ${at}, after ${to} bytes of the picture`)
}
