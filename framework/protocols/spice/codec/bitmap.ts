import { checkStride, packedBytes, unpackBits, unpackIndices, type IndexFormat } from './indices.ts'
import { rgb555 } from './lz-stream.ts'
import { alphaPixels, flipRows, imageError, pixelCount, type Mask, type Pixels, type Size } from './pixels.ts'

/** `SPICE_BITMAP_FMT_*` */
export const BITMAP_FORMAT = {
  bit1Le: 1,
  bit1Be: 2,
  bit4Le: 3,
  bit4Be: 4,
  bit8: 5,
  bit16: 6,
  bit24: 7,
  bit32: 8,
  rgba: 9,
  a8: 10,
} as const

/** Bytes of a pixel in formats whose pixels have colours of their own. */
export const PIXEL_BYTES: Record<number, number | undefined> = {
  [BITMAP_FORMAT.bit16]: 2,
  [BITMAP_FORMAT.bit24]: 3,
  [BITMAP_FORMAT.bit32]: 4,
  [BITMAP_FORMAT.rgba]: 4,
}

/** How indices lie in formats whose pixels come from a palette. */
const INDEX_FORMATS: Record<number, IndexFormat | undefined> = {
  [BITMAP_FORMAT.bit1Le]: { bits: 1, highFirst: false },
  [BITMAP_FORMAT.bit1Be]: { bits: 1, highFirst: true },
  [BITMAP_FORMAT.bit4Le]: { bits: 4, highFirst: false },
  [BITMAP_FORMAT.bit4Be]: { bits: 4, highFirst: true },
  [BITMAP_FORMAT.bit8]: { bits: 8, highFirst: true },
}

/** Rows of a bitmap as they lie on the wire. */
export interface Bitmap extends Size {
  /** `SPICE_BITMAP_FMT_*` */
  format: number
  strideBytes: number
  topDown: boolean
  data: Uint8Array
}

/** A bitmap whose bytes are its own, and begin at a word. */
export interface OwnedBitmap extends Bitmap {
  data: Uint8Array<ArrayBuffer>
}

/**
 * Decodes an uncompressed bitmap: 1, 4, 8 (by palette), 16, 24, 32 bits, RGBA and A8.
 *
 * @param palette colours as `0x00RRGGBB`, for formats of 1, 4 and 8 bits.
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeBitmap(bitmap: Bitmap, palette: Uint32Array = new Uint32Array()): Pixels {
  const { format, width, height, strideBytes, topDown, data } = bitmap
  const count = pixelCount('bitmap', bitmap)
  const indexed = INDEX_FORMATS[format]
  if (indexed) {
    checkRows(bitmap, packedBytes(width, indexed))
    return unpackIndices('bitmap', data, { format: indexed, strideBytes, topDown, width, height, palette })
  }
  if (format === BITMAP_FORMAT.a8) return alphaPixels(decodeBitmapMask(bitmap))
  const pixelBytes = PIXEL_BYTES[format]
  if (pixelBytes === undefined) throw imageError('bitmap', `format ${format} has no colours`)
  checkRows(bitmap, width * pixelBytes)
  const out = new Uint32Array(count)
  if (pixelBytes === 4) {
    copyRows(bitmap, width * 4, new Uint8Array(out.buffer))
  } else {
    const words = new Int32Array(out.buffer)
    for (let y = 0; y < height; y++) {
      const row = (topDown ? y : height - 1 - y) * strideBytes
      if (pixelBytes === 2) widenRow555(data, row, words, y * width, width)
      else widenRow24(data, row, words, y * width, width)
    }
  }
  return { width, height, data: out, hasAlpha: format === BITMAP_FORMAT.rgba }
}

/** A bitmap of four bytes a pixel without gaps, whose bytes become the picture's. */
export function adoptBitmap32({ format, width, height, topDown, data: bytes }: OwnedBitmap): Pixels {
  if (!topDown) flipRows(bytes, width * 4)
  const data = new Uint32Array(bytes.buffer, bytes.byteOffset, width * height)
  return { width, height, data, hasAlpha: format === BITMAP_FORMAT.rgba }
}

/**
 * Decodes an uncompressed mask: 1 bit, and A8.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeBitmapMask(bitmap: Bitmap): Mask {
  const { format, width, height, strideBytes, topDown, data } = bitmap
  const count = pixelCount('mask', bitmap)
  if (format === BITMAP_FORMAT.a8) {
    checkRows(bitmap, width)
    const out = new Uint8Array(count)
    copyRows(bitmap, width, out)
    return { width, height, data: out }
  }
  const indexed = INDEX_FORMATS[format]
  if (indexed?.bits !== 1) throw imageError('mask', `format ${format} is no mask`)
  checkRows(bitmap, packedBytes(width, indexed))
  return { width, height, data: unpackBits(data, { format: indexed, strideBytes, topDown, width, height }) }
}

/** The last row may end with its last pixel. */
function checkRows({ strideBytes, height, data }: Bitmap, rowBytes: number): void {
  checkStride('bitmap', strideBytes, rowBytes)
  const needed = strideBytes * (height - 1) + rowBytes
  if (data.length < needed) throw imageError('bitmap', `${data.length} bytes where its rows need ${needed}`)
}

function copyRows({ height, strideBytes, topDown, data }: Bitmap, rowBytes: number, out: Uint8Array): void {
  if (topDown && strideBytes === rowBytes) {
    out.set(data.subarray(0, out.length))
    return
  }
  for (let y = 0; y < height; y++) {
    const row = (topDown ? y : height - 1 - y) * strideBytes
    out.set(data.subarray(row, row + rowBytes), y * rowBytes)
  }
}

function widenRow555(source: Uint8Array, from: number, out: Int32Array, to: number, width: number): void {
  for (let x = 0, at = from; x < width; x++, at += 2) {
    out[to + x] = rgb555((source[at] as number) | ((source[at + 1] as number) << 8))
  }
}

function widenRow24(source: Uint8Array, from: number, out: Int32Array, to: number, width: number): void {
  for (let x = 0, at = from; x < width; x++, at += 3) {
    out[to + x] =
      0xff000000 | (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16)
  }
}
