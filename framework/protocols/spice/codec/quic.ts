import { checkSize, imageError, pixelCount, type Pixels, type Size } from './pixels.ts'
import { quicBits, QuicScan } from './quic-scan.ts'
import { CODES_5, CODES_8 } from './quic-tables.ts'

/** `QUIC`, the first four bytes, as a little-endian word; and the only version, 0.0. */
const MAGIC = 0x43495551
const VERSION = 0
const HEADER_BYTES = 20

/** `QUIC_IMAGE_TYPE_*` */
const TYPE = { gray: 1, rgb16: 2, rgb24: 3, rgb32: 4, rgba: 5 } as const

/**
 * Decodes a QUIC image: lossless, each pixel predicted from its left and upper neighbours, residuals in Golomb–Rice
 * codes that adapt to what was before, repetitions as runs.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeQuic(bytes: Uint8Array, expected: Size): Pixels {
  const type = checkHeader(bytes, expected)
  const { width, height } = expected
  const count = pixelCount('quic', expected)
  if (height > bytes.length * 8) throw imageError('quic', `${bytes.length} bytes are too few for ${height} rows`)
  const bits = quicBits(bytes)
  bits.position = HEADER_BYTES * 8
  const codes = type === TYPE.rgb16 ? CODES_5 : CODES_8
  const colours = new QuicScan(bits, codes, width, type === TYPE.gray ? 1 : 3)
  const alpha = type === TYPE.rgba ? new QuicScan(bits, codes, width, 1) : undefined
  const data = new Uint32Array(count)
  const pixels = new Int32Array(data.buffer)
  const rows: Rows = [new Int32Array(width), new Int32Array(width)]
  const alphaRows: Rows = alpha ? [new Int32Array(width), new Int32Array(width)] : rows
  for (let y = 0; y < height; y++) {
    const [row, above] = turn(rows, y)
    colours.row(row, above)
    const [alphaRow, alphaAbove] = turn(alphaRows, y)
    alpha?.row(alphaRow, alphaAbove)
    writeRow(type, pixels, y * width, row, alphaRow)
  }
  return { width, height, data, hasAlpha: alpha !== undefined }
}

type Rows = readonly [Int32Array, Int32Array]

/** Row `y` to be decoded, and the one above it: two rows take turns. */
function turn(rows: Rows, y: number): readonly [Int32Array, Int32Array | undefined] {
  return y % 2 === 0 ? [rows[0], y > 0 ? rows[1] : undefined] : [rows[1], rows[0]]
}

function writeRow(type: number, pixels: Int32Array, start: number, row: Int32Array, alphaRow: Int32Array): void {
  switch (type) {
    case TYPE.rgba:
      for (let x = 0; x < row.length; x++) pixels[start + x] = ((alphaRow[x] as number) << 24) | (row[x] as number)
      break
    case TYPE.rgb16:
      // 5 bits of a colour become 8 so that the brightest stays the brightest.
      for (let x = 0; x < row.length; x++) {
        const value = row[x] as number
        pixels[start + x] = 0xff000000 | (value << 3) | ((value >>> 2) & 0x070707)
      }
      break
    case TYPE.gray:
      for (let x = 0; x < row.length; x++) pixels[start + x] = 0xff000000 | ((row[x] as number) * 0x010101)
      break
    default:
      for (let x = 0; x < row.length; x++) pixels[start + x] = 0xff000000 | (row[x] as number)
  }
}

/** The type that a good header names. */
function checkHeader(bytes: Uint8Array, expected: Size): number {
  if (bytes.length < HEADER_BYTES) throw imageError('quic', `${bytes.length} bytes are no header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const magic = view.getUint32(0, true)
  const version = view.getUint32(4, true)
  if (magic !== MAGIC || version !== VERSION) {
    throw imageError('quic', `magic ${magic.toString(16)} and version ${version.toString(16)} are unknown`)
  }
  checkSize('quic', { width: view.getUint32(12, true), height: view.getUint32(16, true) }, expected)
  const type = view.getUint32(8, true)
  if (type < TYPE.gray || type > TYPE.rgba) throw imageError('quic', `type ${type} is unknown`)
  return type
}
