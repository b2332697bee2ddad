import { copyBytesBack } from './lz-stream.ts'
import { imageError } from './pixels.ts'

// Most copies are of a few bytes. Those are made of whole words, which writes garbage behind their ends; the next copy
// writes over it. Only where the output nearly ends bytes are counted.

/** Longest match that is copied at once, and how far behind its beginning it writes. */
const SHORT_MATCH = 20
/** Copies of more bytes go through the engine's own, which is slow to start. */
const LONG_COPY = 192
/** Longest literals that are copied at once, and how far behind their beginning that reads and writes. */
const SHORT_LITERALS = 8

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
        if (literals <= SHORT_LITERALS && at + SHORT_LITERALS <= end && to + SHORT_LITERALS <= limit) {
          view.setInt32(to, from.getInt32(at, true), true)
          view.setInt32(to + 4, from.getInt32(at + 4, true), true)
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
      const distance = (source[at] as number) | ((source[at + 1] as number) << 8)
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
      if (length <= SHORT_MATCH && to + SHORT_MATCH <= limit) this.#copyShort(to, distance, length)
      else if (distance >= 4 && length < LONG_COPY) this.#copyWords(to, distance, length)
      else copyBytesBack(out, to, distance, length)
      to += length
    }
    this.#end = to
  }

  #copyShort(to: number, distance: number, length: number): void {
    const view = this.#view
    const from = to - distance
    if (distance >= 4) {
      view.setInt32(to, view.getInt32(from, true), true)
      view.setInt32(to + 4, view.getInt32(from + 4, true), true)
      if (length <= 8) return
      view.setInt32(to + 8, view.getInt32(from + 8, true), true)
      view.setInt32(to + 12, view.getInt32(from + 12, true), true)
      if (length <= 16) return
      view.setInt32(to + 16, view.getInt32(from + 16, true), true)
    } else if (distance === 3) {
      copyBytesBack(this.bytes, to, 3, length)
    } else {
      const pattern =
        distance === 1
          ? Math.imul(this.bytes[from] as number, 0x01010101)
          : Math.imul(view.getUint16(from, true), 0x00010001)
      for (let n = 0; n < length; n += 4) view.setInt32(to + n, pattern, true)
    }
  }

  /** Words that overlap their source by whole words or more are copied as bytes would be. */
  #copyWords(to: number, distance: number, length: number): void {
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
