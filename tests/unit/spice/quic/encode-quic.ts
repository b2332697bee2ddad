import { QuicChannel } from '../../../../framework/protocols/spice/codec/quic-channel.ts'
import {
  CODES_5,
  CODES_8,
  HALVE_ABOVE,
  LAST_LEVEL,
  LEVEL_PIXELS,
  RUN_ORDER,
  WAITS,
  type CodeTable,
} from '../../../../framework/protocols/spice/codec/quic-tables.ts'

/** `QUIC_IMAGE_TYPE_*` */
export const QUIC_TYPE = { gray: 1, rgb16: 2, rgb24: 3, rgb32: 4, rgba: 5 } as const

/** Bits, the highest first, in little-endian words of 32. */
class BitWriter {
  readonly #bits: number[] = []

  put(value: number, count: number): void {
    for (let bit = count - 1; bit >= 0; bit--) this.#bits.push((value >>> bit) & 1)
  }

  finish(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Math.ceil(this.#bits.length / 32) * 4)
    for (const [at, bit] of this.#bits.entries()) {
      // The first bit of a word is the highest of its last byte.
      const byte = (at >>> 5) * 4 + 3 - ((at >>> 3) & 3)
      bytes[byte] = (bytes[byte] as number) | (bit << (7 - (at & 7)))
    }
    return bytes
  }
}

/** Writes what `QuicScan` reads: components of a pixel are given and predicted one by one. */
class ScanWriter {
  readonly #bits: BitWriter
  readonly #codes: CodeTable
  readonly #channels: readonly QuicChannel[]
  #level = 0
  #levelLeft = LEVEL_PIXELS
  #wait = 0
  #waitsTaken = 0
  #runState = 0

  constructor(bits: BitWriter, codes: CodeTable, width: number, components: number) {
    this.#bits = bits
    this.#codes = codes
    this.#channels = Array.from({ length: components }, () => new QuicChannel(codes, width))
  }

  row(row: readonly number[][], above: readonly number[][] | undefined): void {
    for (const { residuals } of this.#channels) residuals[0] = above ? (residuals[1] as number) : 0
    let partEnd = 0
    let lastRun = -1
    for (let x = 0; x < row.length;) {
      if (x === partEnd) {
        if (this.#levelLeft === 0 && this.#level < LAST_LEVEL) {
          this.#level++
          this.#levelLeft = LEVEL_PIXELS
        }
        partEnd = this.#level < LAST_LEVEL ? Math.min(row.length, x + this.#levelLeft) : row.length
        if (this.#level < LAST_LEVEL) this.#levelLeft -= partEnd - x
        lastRun = -1
      }
      if (above && x > 2 && x !== lastRun && same(above[x], above[x - 1]) && same(row[x - 1], row[x - 2])) {
        lastRun = x
        while (x < partEnd && same(row[x], row[lastRun - 1])) x++
        this.#run(x - lastRun)
        continue
      }
      this.#pixel(x, row, above)
      x++
    }
  }

  #pixel(x: number, row: readonly number[][], above: readonly number[][] | undefined): void {
    const mask = this.#codes.levels - 1
    for (const [index, channel] of this.#channels.entries()) {
      const left = x > 0 ? (row[x - 1]?.[index] as number) : (above?.[0]?.[index] ?? 0)
      const up = above ? (above[x]?.[index] as number) : left
      const difference = ((row[x]?.[index] as number) - ((left + up) >> 1)) & mask
      const folded = difference <= mask >> 1 ? difference * 2 : (mask - difference) * 2 + 1
      this.#residual(folded, channel.best[channel.residuals[x] as number] as number)
      channel.residuals[x + 1] = folded
    }
    if (this.#wait-- > 0) return
    for (const channel of this.#channels) channel.learn(x, HALVE_ABOVE[this.#level] as number)
    this.#wait = (WAITS[this.#waitsTaken++ % 256] as number) % (1 << this.#level)
  }

  #residual(value: number, k: number): void {
    const { prefixLimit, escapeBase, escapeLength } = this.#codes
    const limit = prefixLimit[k] as number
    if (value >> k < limit) {
      this.#bits.put(1, (value >> k) + 1)
      this.#bits.put(value, k)
    } else {
      this.#bits.put(0, limit)
      this.#bits.put(value - (escapeBase[k] as number), (escapeLength[k] as number) - limit)
    }
  }

  #run(length: number): void {
    let rest = length
    for (; rest >= 1 << (RUN_ORDER[this.#runState] as number);) {
      rest -= 1 << (RUN_ORDER[this.#runState] as number)
      this.#bits.put(1, 1)
      if (this.#runState < 31) this.#runState++
    }
    this.#bits.put(0, 1)
    this.#bits.put(rest, RUN_ORDER[this.#runState] as number)
    if (this.#runState > 0) this.#runState--
  }
}

function same(one: readonly number[] | undefined, other: readonly number[] | undefined): boolean {
  return one !== undefined && other !== undefined && one.every((value, index) => value === other[index])
}

/**
 * Encodes a picture as QUIC, as the server does.
 *
 * @param data pixels as a decoder returns them, `0xAARRGGBB`; of RGB16 the high 5 bits of a colour count, of grey the
 * blue.
 */
export function encodeQuic(type: number, width: number, height: number, data: Uint32Array): Uint8Array<ArrayBuffer> {
  const bits = new BitWriter()
  for (const word of [0x43495551, 0, type, width, height]) bits.put(word, 32)
  const codes = type === QUIC_TYPE.rgb16 ? CODES_5 : CODES_8
  const cut = 8 - codes.depth
  const shifts = type === QUIC_TYPE.gray ? [0] : [16, 8, 0]
  const colours = new ScanWriter(bits, codes, width, shifts.length)
  const alpha = type === QUIC_TYPE.rgba ? new ScanWriter(bits, codes, width, 1) : undefined
  let above: readonly Uint32Array[] = []
  for (let y = 0; y < height; y++) {
    const row = [data.subarray(y * width, (y + 1) * width)]
    const of = (rows: readonly Uint32Array[], shifts: readonly number[], cut: number): number[][] | undefined =>
      rows[0] && Array.from(rows[0], (pixel) => shifts.map((shift) => ((pixel >>> shift) & 0xff) >>> cut))
    colours.row(of(row, shifts, cut) as number[][], of(above, shifts, cut))
    alpha?.row(of(row, [24], 0) as number[][], of(above, [24], 0))
    above = row
  }
  // Decoders that read a word ahead want one more.
  bits.put(0, 32)
  return bits.finish()
}
