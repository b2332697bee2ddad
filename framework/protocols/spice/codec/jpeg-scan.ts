import { inverseDct } from './jpeg-dct.ts'
import { FAST_BITS, type HuffmanTable, type JpegComponent, type JpegFrame, type JpegTables } from './jpeg-frame.ts'
import { imageError } from './pixels.ts'

/** Where the coefficients of a block lie, in the order in which they come. */
const ZIGZAG = Uint8Array.from([
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
  55, 62, 63,
])
/** Bits beyond the end that are read as 0 before it is an error: what the reader takes ahead. */
const AHEAD_BITS = 32

interface ScanComponent {
  component: JpegComponent
  dc: HuffmanTable
  ac: HuffmanTable
  /** Factors in zigzag order. */
  quantization: Uint16Array
  /** The DC coefficient of the block before. */
  last: number
}

/**
 * Decodes the entropy-coded data of one scan into its components' samples. Returns where the data ended.
 *
 * @param segment the `SOS` segment.
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeScan(
  bytes: Uint8Array,
  start: number,
  segment: Uint8Array,
  frame: JpegFrame,
  tables: JpegTables,
  restartInterval: number,
): number {
  const parts = scanComponents(segment, frame, tables)
  const reader = new BitReader(bytes, start)
  const block = new Int32Array(64)
  const [only] = parts
  // A scan of one component has its blocks one after the other, without those that pad the groups.
  const isSingle = parts.length === 1
  const across = isSingle && only ? Math.ceil(only.component.width / 8) : Math.ceil(frame.width / (8 * frame.maxH))
  const down = isSingle && only ? Math.ceil(only.component.height / 8) : Math.ceil(frame.height / (8 * frame.maxV))
  for (let group = 0; group < across * down; group++) {
    if (restartInterval > 0 && group > 0 && group % restartInterval === 0) {
      reader.restart()
      for (const part of parts) part.last = 0
    }
    const column = group % across
    const line = Math.floor(group / across)
    for (const part of parts) {
      const h = isSingle ? 1 : part.component.h
      const v = isSingle ? 1 : part.component.v
      for (let n = 0; n < h * v; n++) {
        const highest = readBlock(reader, part, block)
        const x = column * h + (n % h)
        const y = line * v + Math.floor(n / h)
        const lineSamples = part.component.blocksPerLine * 8
        inverseDct(block, highest, part.component.samples, y * 8 * lineSamples + x * 8, lineSamples)
      }
    }
    if (reader.isStarved) throw imageError('jpeg', `its data end after ${group} of ${across * down} groups of blocks`)
  }
  for (const { component } of parts) component.isDecoded = true
  return reader.end()
}

function scanComponents(segment: Uint8Array, frame: JpegFrame, tables: JpegTables): ScanComponent[] {
  const count = segment[0] ?? 0
  if (count < 1 || count > frame.components.length || segment.length < 4 + count * 2) {
    throw imageError('jpeg', `a scan of ${count} components`)
  }
  const parts = Array.from({ length: count }, (_, n): ScanComponent => {
    const [id, which = 0] = segment.subarray(1 + n * 2, 3 + n * 2)
    const component = frame.components.find((one) => one.id === id && !one.isDecoded)
    const dc = tables.dc[which >> 4]
    const ac = tables.ac[which & 15]
    const quantization = component && tables.quantization[component.quantization]
    if (!component || !dc || !ac || !quantization) {
      throw imageError('jpeg', `a scan lacks component ${id} or a table of it`)
    }
    return { component, dc, ac, quantization, last: 0 }
  })
  if (new Set(parts.map(({ component }) => component)).size < count) {
    throw imageError('jpeg', 'a scan has a component twice')
  }
  return parts
}

/** Reads the coefficients of a block, dequantized. Returns the highest index in zigzag order that is not 0. */
function readBlock(reader: BitReader, part: ScanComponent, block: Int32Array): number {
  const { quantization, ac } = part
  block.fill(0)
  const dcBits = reader.symbol(part.dc)
  if (dcBits > 15) throw imageError('jpeg', `a DC coefficient of ${dcBits} bits`)
  part.last = (part.last + reader.signed(dcBits)) | 0
  block[0] = Math.imul(part.last, quantization[0] as number)
  let highest = 0
  for (let index = 1; index < 64; index++) {
    const runAndBits = reader.symbol(ac)
    const bits = runAndBits & 15
    index += runAndBits >> 4
    if (bits === 0) {
      if (runAndBits !== 0xf0) break
      continue
    }
    if (index > 63) throw imageError('jpeg', 'a block has more than 64 coefficients')
    block[ZIGZAG[index] as number] = Math.imul(reader.signed(bits), quantization[index] as number)
    highest = index
  }
  return highest
}

/** Bits of entropy-coded data: a zero byte follows each 0xff, anything else there is a marker, which ends the data. */
class BitReader {
  readonly #bytes: Uint8Array
  #at: number
  #bits = 0
  #count = 0
  /** Bits that were made up behind the end. */
  #beyond = 0

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes
    this.#at = start
  }

  /** Whether more bits were used than there are. */
  get isStarved(): boolean {
    return this.#beyond - this.#count > 0
  }

  /** Makes at least 16 bits ready. */
  #fill(): void {
    const bytes = this.#bytes
    while (this.#count <= 24) {
      let byte = bytes[this.#at]
      if (byte === undefined || (byte === 0xff && bytes[this.#at + 1] !== 0)) {
        byte = 0
        // A number that stays small however long a broken image reads on.
        this.#beyond = Math.min(this.#beyond + 8, AHEAD_BITS + 8)
      } else {
        this.#at += byte === 0xff ? 2 : 1
      }
      this.#bits |= byte << (24 - this.#count)
      this.#count += 8
    }
  }

  /** The next symbol of a Huffman code. */
  symbol(table: HuffmanTable): number {
    if (this.#count < 16) this.#fill()
    const found = table.fast[this.#bits >>> (32 - FAST_BITS)] as number
    if (found !== 0) {
      const length = found >> 8
      this.#bits <<= length
      this.#count -= length
      return found & 255
    }
    const next = this.#bits >>> 16
    for (let length = FAST_BITS + 1; length <= 16; length++) {
      if (next >= (table.limit[length] as number)) continue
      this.#bits <<= length
      this.#count -= length
      return table.symbols[(next >> (16 - length)) + (table.offset[length] as number)] as number
    }
    throw imageError('jpeg', 'a code is not in its table')
  }

  /** A number of so many bits, 15 at most; those that begin with 0 are negative. */
  signed(length: number): number {
    if (length === 0) return 0
    if (this.#count < length) this.#fill()
    const value = this.#bits >>> (32 - length)
    this.#bits <<= length
    this.#count -= length
    return value < 1 << (length - 1) ? value - (1 << length) + 1 : value
  }

  /** Goes on behind the next restart marker. */
  restart(): void {
    const at = this.end()
    const marker = this.#bytes[at + 1] ?? 0
    if (this.#bytes[at] !== 0xff || marker < 0xd0 || marker > 0xd7)
      throw imageError('jpeg', 'a restart marker is missing')
    this.#at = at + 2
    this.#bits = 0
    this.#count = 0
    this.#beyond = 0
  }

  /** Where the data ended: at a marker, or the end of the bytes. */
  end(): number {
    const bytes = this.#bytes
    let at = this.#at
    while (at < bytes.length && (bytes[at] !== 0xff || bytes[at + 1] === 0 || bytes[at + 1] === 0xff)) at++
    return at
  }
}
