import { imageError, type Size } from './pixels.ts'

/** One colour of a JPEG: its sampling, and its samples as they are decoded. */
export interface JpegComponent {
  id: number
  /** Samples across and down in each group of blocks that belong together. */
  h: number
  v: number
  /** Which of {@link JpegTables.quantization}. */
  quantization: number
  /** Samples that mean something. */
  width: number
  height: number
  /** Whole blocks, padded to whole groups. */
  blocksPerLine: number
  blockLines: number
  /** `blocksPerLine * 8` samples a line. */
  samples: Uint8Array
  isDecoded: boolean
}

/** What the frame header tells. */
export interface JpegFrame extends Size {
  components: JpegComponent[]
  maxH: number
  maxV: number
}

/** Tables by their number, as the segments before a scan define them. */
export interface JpegTables {
  /** 64 factors in zigzag order. */
  quantization: (Uint16Array | undefined)[]
  dc: (HuffmanTable | undefined)[]
  ac: (HuffmanTable | undefined)[]
}

/** Codes up to this length are looked up at once. */
export const FAST_BITS = 9

/** A Huffman code of a JPEG, ready for decoding. */
export interface HuffmanTable {
  /** By the next {@link FAST_BITS} bits: `length << 8 | symbol`, 0 for longer codes. */
  fast: Uint16Array
  /** By length: one more than the last code of the length, aligned to 16 bits; codes of a length are below it. */
  limit: Int32Array
  /** By length: what makes a code's index in `symbols` of the code. */
  offset: Int32Array
  symbols: Uint8Array
}

/** Reads the quantization tables of a `DQT` segment. */
export function readQuantization(segment: Uint8Array, tables: JpegTables): void {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength)
  for (let at = 0; at < segment.length;) {
    const which = view.getUint8(at++)
    const isWide = which >> 4 === 1
    const sizeBytes = isWide ? 128 : 64
    if (which >> 4 > 1 || (which & 15) > 3 || at + sizeBytes > segment.length) {
      throw imageError('jpeg', 'a quantization table is none')
    }
    tables.quantization[which & 15] = Uint16Array.from({ length: 64 }, (_, n) =>
      isWide ? view.getUint16(at + n * 2) : view.getUint8(at + n),
    )
    at += sizeBytes
  }
}

/** Reads the Huffman tables of a `DHT` segment. */
export function readHuffman(segment: Uint8Array, tables: JpegTables): void {
  for (let at = 0; at < segment.length;) {
    const which = segment[at] as number
    const counts = segment.subarray(at + 1, at + 17)
    let total = 0
    for (const count of counts) total += count
    const symbols = segment.slice(at + 17, at + 17 + total)
    if (which >> 4 > 1 || (which & 15) > 3 || counts.length < 16 || symbols.length < total || total > 256) {
      throw imageError('jpeg', 'a Huffman table is none')
    }
    const kind = which >> 4 === 0 ? tables.dc : tables.ac
    kind[which & 15] = huffmanTable(counts, symbols)
    at += 17 + total
  }
}

function huffmanTable(counts: Uint8Array, symbols: Uint8Array): HuffmanTable {
  const fast = new Uint16Array(1 << FAST_BITS)
  const limit = new Int32Array(17)
  const offset = new Int32Array(17)
  let code = 0
  let index = 0
  for (let length = 1; length <= 16; length++) {
    const count = counts[length - 1] as number
    if (code + count > 1 << length) throw imageError('jpeg', `a Huffman table has too many codes of ${length} bits`)
    offset[length] = index - code
    if (length <= FAST_BITS) {
      const spread = 1 << (FAST_BITS - length)
      for (let n = 0; n < count; n++) {
        const first = (code + n) * spread
        fast.fill((length << 8) | (symbols[index + n] as number), first, first + spread)
      }
    }
    code += count
    index += count
    limit[length] = code << (16 - length)
    code <<= 1
  }
  return { fast, limit, offset, symbols }
}

/** Reads a frame header: baseline and extended sequential, of 8 bits. Allocates the samples. */
export function readFrame(segment: Uint8Array): JpegFrame {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength)
  const count = segment[5] ?? 0
  if (segment.length < 6 + count * 3 || (count !== 1 && count !== 3)) {
    throw imageError('jpeg', `its frame header of ${segment.length} bytes has ${count} components`)
  }
  if (segment[0] !== 8) throw imageError('jpeg', `samples of ${segment[0]} bits`)
  const height = view.getUint16(1)
  const width = view.getUint16(3)
  const parts = Array.from({ length: count }, (_, n) => {
    const [id = 0, sampling = 0, quantization = 0] = segment.subarray(6 + n * 3, 9 + n * 3)
    return { id, h: sampling >> 4, v: sampling & 15, quantization }
  })
  // Samples of a single component are not in groups, whatever their header says.
  if (count === 1) for (const part of parts) part.h = part.v = 1
  const maxH = Math.max(...parts.map(({ h }) => h))
  const maxV = Math.max(...parts.map(({ v }) => v))
  for (const { h, v } of parts) {
    if (h < 1 || v < 1 || h > 4 || v > 4 || maxH % h > 0 || maxV % v > 0) {
      throw imageError('jpeg', `sampling of ${h}×${v} in ${maxH}×${maxV}`)
    }
  }
  const groupsPerLine = Math.ceil(width / (8 * maxH))
  const groupLines = Math.ceil(height / (8 * maxV))
  const components = parts.map((part): JpegComponent => {
    const blocksPerLine = groupsPerLine * part.h
    const blockLines = groupLines * part.v
    return {
      ...part,
      width: Math.ceil((width * part.h) / maxH),
      height: Math.ceil((height * part.v) / maxV),
      blocksPerLine,
      blockLines,
      samples: new Uint8Array(blocksPerLine * blockLines * 64),
      isDecoded: false,
    }
  })
  return { width, height, components, maxH, maxV }
}
