import { imageError, type Pixels, type Size } from './pixels.ts'

/** How indices into a palette lie in bytes. */
export interface IndexFormat {
  bits: 1 | 4 | 8
  /** Whether the highest bits of a byte are the leftmost pixel: the "BE" formats. */
  highFirst: boolean
}

/** Rows of indices; as many bytes as they need must be there. */
export interface IndexRows extends Size {
  format: IndexFormat
  strideBytes: number
  topDown: boolean
}

/** Bytes that a row of indices needs. */
export function packedBytes(width: number, { bits }: IndexFormat): number {
  return Math.ceil((width * bits) / 8)
}

/**
 * Looks indices up in their palette.
 *
 * @param rows with a palette of colours as `0x00RRGGBB`.
 * @throws `ATP_SPICE_IMAGE` for an index outside of the palette.
 */
export function unpackIndices(place: string, packed: Uint8Array, rows: IndexRows & { palette: Uint32Array }): Pixels {
  const { width, height, palette } = rows
  const colours = new Int32Array(palette.length)
  for (const [index, colour] of palette.entries()) colours[index] = colour | 0xff000000
  const data = new Uint32Array(width * height)
  const words = new Int32Array(data.buffer)
  const line = new Uint8Array(width)
  let highest = 0
  for (let y = 0, to = 0; y < height; y++) {
    unpackRow(packed, rows, y, line)
    for (let x = 0; x < width; x++, to++) {
      const index = line[x] as number
      if (index > highest) highest = index
      words[to] = colours[index] as number
    }
  }
  if (highest >= palette.length) throw imageError(place, `index ${highest} is not among ${palette.length} colours`)
  return { width, height, data, hasAlpha: false }
}

/** Rows of single bits as bytes: 0 or 0xff. */
export function unpackBits(packed: Uint8Array, rows: IndexRows): Uint8Array<ArrayBuffer> {
  const { width, height } = rows
  const out = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    const line = out.subarray(y * width, (y + 1) * width)
    unpackRow(packed, rows, y, line)
    for (let x = 0; x < width; x++) line[x] = -(line[x] as number)
  }
  return out
}

/** The indices of row `y` from the top, one a byte. */
function unpackRow(packed: Uint8Array, rows: IndexRows, y: number, line: Uint8Array): void {
  const { bits, highFirst } = rows.format
  const row = (rows.topDown ? y : rows.height - 1 - y) * rows.strideBytes
  if (bits === 8) {
    line.set(packed.subarray(row, row + line.length))
    return
  }
  const lastOfByte = 8 / bits - 1
  const mask = (1 << bits) - 1
  for (let x = 0; x < line.length; x++) {
    const within = x & lastOfByte
    const shift = (highFirst ? lastOfByte - within : within) * bits
    line[x] = ((packed[row + ((x * bits) >> 3)] as number) >> shift) & mask
  }
}

/** @throws `ATP_SPICE_IMAGE` when a row's pixels do not fit between the beginnings of two rows. */
export function checkStride(place: string, strideBytes: number, rowBytes: number): void {
  if (strideBytes < rowBytes) throw imageError(place, `rows of ${rowBytes} bytes overlap at a stride of ${strideBytes}`)
}
