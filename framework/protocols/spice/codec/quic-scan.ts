import { imageError } from './pixels.ts'
import { QuicChannel } from './quic-channel.ts'
import { HALVE_ABOVE, LAST_LEVEL, LEVEL_PIXELS, RUN_ORDER, WAITS, type CodeTable } from './quic-tables.ts'

/** The bits of an image: words of 32 bits, the highest first. */
export interface QuicBits {
  /** Words, and behind them enough zeros to decode any {@link LONGEST_STRETCH}. */
  readonly words: Int32Array
  readonly sizeBits: number
  /** The next bit. */
  position: number
}

/** Most pixels that are decoded before the position is compared with the end. */
const LONGEST_STRETCH = 1 << LAST_LEVEL
/** 26 bits for each of three residuals. */
const PADDING_WORDS = Math.ceil((LONGEST_STRETCH * 3 * 26) / 32) + 2

/** @param bytes the image from its header on; words that are not whole do not count. */
export function quicBits(bytes: Uint8Array): QuicBits {
  const sizeBytes = bytes.length & ~3
  const padded = new Uint8Array(sizeBytes + PADDING_WORDS * 4)
  padded.set(bytes.subarray(0, sizeBytes))
  return { words: new Int32Array(padded.buffer), sizeBits: sizeBytes * 8, position: 0 }
}

/** The next 32 bits from a position, as a signed number. */
function peek(words: Int32Array, position: number): number {
  const at = position >>> 5
  const shift = position & 31
  // Two shifts, since one by 32 would be one by 0.
  return ((words[at] as number) << shift) | (((words[at + 1] as number) >>> 1) >>> (31 - shift))
}

/** The residual that `bits` begin with, and from bit 16 on the length of its code word. */
function residual(codes: CodeTable, bits: number, k: number): number {
  const zeros = Math.clz32(bits)
  if (zeros < (codes.prefixLimit[k] as number)) {
    const length = zeros + 1 + k
    return (length << 16) | (zeros << k) | ((bits >>> (32 - length)) & ((1 << k) - 1))
  }
  const length = codes.escapeLength[k] as number
  const value = (codes.escapeBase[k] as number) + ((bits >>> (32 - length)) & (codes.escapeMask[k] as number))
  if (value >= codes.levels) throw imageError('quic', `a residual of ${value} is above ${codes.levels - 1}`)
  return (length << 16) | value
}

/**
 * One adaptive pass over the rows of an image: all three colours together, or one component alone.
 *
 * Pixels of a row are integers, the components in their bytes: `0xRRGGBB`, or `0xVV`.
 */
export class QuicScan {
  readonly #bits: QuicBits
  readonly #codes: CodeTable
  readonly #channels: readonly QuicChannel[]
  /** Bits of a pixel that may be set. */
  readonly #mask: number
  #level = 0
  #levelLeft = LEVEL_PIXELS
  /** Pixels to decode before one that is learnt from. */
  #wait = 0
  #waitsTaken = 0
  #runState = 0

  constructor(bits: QuicBits, codes: CodeTable, width: number, components: 1 | 3) {
    this.#bits = bits
    this.#codes = codes
    this.#channels = Array.from({ length: components }, () => new QuicChannel(codes, width))
    this.#mask = (components === 3 ? 0x010101 : 1) * (codes.levels - 1)
  }

  /**
   * Decodes the next row.
   *
   * @param above the row before; absent for the first.
   * @throws `ATP_SPICE_IMAGE`
   */
  row(row: Int32Array, above: Int32Array | undefined): void {
    for (const { residuals } of this.#channels) residuals[0] = above ? (residuals[1] as number) : 0
    for (let x = 0, end = 0; x < row.length; x = end) {
      end = this.#level < LAST_LEVEL ? Math.min(row.length, x + this.#levelLeft) : row.length
      this.#part(row, above, x, end)
      this.#levelLeft -= end - x
      if (this.#levelLeft > 0 || this.#level === LAST_LEVEL) continue
      this.#level++
      this.#levelLeft = LEVEL_PIXELS
    }
  }

  /** Decodes pixels of one level of waits. */
  #part(row: Int32Array, above: Int32Array | undefined, from: number, end: number): void {
    let lastRun = -1
    for (let x = from; x < end;) {
      const stop = Math.min(end, x + this.#wait + 1)
      const reached =
        this.#channels.length === 3
          ? this.#colours(row, above, x, stop, lastRun)
          : this.#component(row, above, x, stop, lastRun)
      this.#checkPosition()
      this.#wait -= reached - x
      x = reached
      if (x < stop) {
        const runEnd = x + this.#run(end - x)
        const pixel = row[x - 1] as number
        lastRun = x
        // Most runs are short: a loop is faster than `fill`.
        while (x < runEnd) row[x++] = pixel
      } else if (this.#wait < 0) {
        const halveAbove = HALVE_ABOVE[this.#level] as number
        for (const channel of this.#channels) channel.learn(x - 1, halveAbove)
        this.#wait = (WAITS[this.#waitsTaken++ & 0xff] as number) & ((1 << this.#level) - 1)
      }
    }
  }

  /** Decodes pixels of three colours up to `stop`, or to where a run begins. The answer is where it ended. */
  #colours(row: Int32Array, above: Int32Array | undefined, from: number, stop: number, lastRun: number): number {
    const [red, green, blue] = this.#channels as [QuicChannel, QuicChannel, QuicChannel]
    const { words } = this.#bits
    const codes = this.#codes
    const mask = this.#mask
    let position = this.#bits.position
    let left = from > 0 ? (row[from - 1] as number) : above ? (above[0] as number) : 0
    let x = from
    for (; x < stop; x++) {
      const up = above ? (above[x] as number) : left
      if (above && x > 2 && up === above[x - 1] && left === row[x - 2] && x !== lastRun) break
      const r = residual(codes, peek(words, position), red.best[red.residuals[x] as number] as number)
      position += r >>> 16
      const g = residual(codes, peek(words, position), green.best[green.residuals[x] as number] as number)
      position += g >>> 16
      const b = residual(codes, peek(words, position), blue.best[blue.residuals[x] as number] as number)
      position += b >>> 16
      red.residuals[x + 1] = r
      green.residuals[x + 1] = g
      blue.residuals[x + 1] = b
      left = addResiduals(left, up, ((r & 0xff) << 16) | ((g & 0xff) << 8) | (b & 0xff), mask)
      row[x] = left
    }
    this.#bits.position = position
    return x
  }

  /** As {@link #colours}, for one component. */
  #component(row: Int32Array, above: Int32Array | undefined, from: number, stop: number, lastRun: number): number {
    const [channel] = this.#channels as [QuicChannel]
    const { words } = this.#bits
    const codes = this.#codes
    const mask = this.#mask
    let position = this.#bits.position
    let left = from > 0 ? (row[from - 1] as number) : above ? (above[0] as number) : 0
    let x = from
    for (; x < stop; x++) {
      const up = above ? (above[x] as number) : left
      if (above && x > 2 && up === above[x - 1] && left === row[x - 2] && x !== lastRun) break
      const v = residual(codes, peek(words, position), channel.best[channel.residuals[x] as number] as number)
      position += v >>> 16
      channel.residuals[x + 1] = v
      left = addResiduals(left, up, v & 0xff, mask)
      row[x] = left
    }
    this.#bits.position = position
    return x
  }

  /** The length of a run: bits of 1 stand for whole runs of a growing order, what follows the 0 for the rest. */
  #run(limit: number): number {
    const bits = this.#bits
    let length = 0
    for (;;) {
      const isWhole = peek(bits.words, bits.position) < 0
      bits.position++
      if (!isWhole) break
      length += 1 << (RUN_ORDER[this.#runState] as number)
      if (this.#runState < RUN_ORDER.length - 1) this.#runState++
      this.#checkRun(length, limit)
    }
    const order = RUN_ORDER[this.#runState] as number
    if (order > 0) length += peek(bits.words, bits.position) >>> (32 - order)
    bits.position += order
    if (this.#runState > 0) this.#runState--
    this.#checkRun(length, limit)
    this.#checkPosition()
    return length
  }

  #checkRun(length: number, limit: number): void {
    if (length > limit) throw imageError('quic', `a run of ${length} pixels leaves the row, where ${limit} are left`)
  }

  #checkPosition(): void {
    const { position, sizeBits } = this.#bits
    if (position > sizeBits) throw imageError('quic', `its ${sizeBits / 8} bytes end before its pixels do`)
  }
}

/** Predicts the mean of two pixels in every byte and adds the residuals, which are signed with their sign in bit 0. */
function addResiduals(left: number, up: number, folded: number, mask: number): number {
  const mean = (left & up) + (((left ^ up) & 0xfefefe) >>> 1)
  const odd = folded & 0x010101
  const delta = ((folded >>> 1) & 0x7f7f7f) ^ ((odd << 8) - odd)
  // Two sums, so that no byte carries into the next.
  return (
    (((mean & 0xff00ff) + (delta & 0xff00ff)) & mask & 0xff00ff) |
    (((mean & 0xff00) + (delta & 0xff00)) & mask & 0xff00)
  )
}
