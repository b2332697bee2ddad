import { checkRatio, lzBytes, lzPixels } from './lz-stream.ts'
import { checkStride, packedBytes, unpackIndices, type IndexFormat } from './indices.ts'
import {
  alphaPixels,
  checkSize,
  flipRows,
  imageError,
  newRoom,
  pixelCount,
  type Mask,
  type Pixels,
  type Room,
  type Size,
} from './pixels.ts'

/** `LZ_MAGIC` and `LZ_VERSION`, as big-endian words; GLZ has the same. */
export const LZ_MAGIC = 0x20205a4c
export const LZ_VERSION = 0x00010001

/** `LZ_IMAGE_TYPE_*`: what the units of an LZ or GLZ stream are. */
export const LZ_TYPE = {
  plt1Le: 1,
  plt1Be: 2,
  plt4Le: 3,
  plt4Be: 4,
  plt8: 5,
  rgb16: 6,
  rgb24: 7,
  rgb32: 8,
  rgba: 9,
  xxxa: 10,
  a8: 11,
} as const

const HEADER_BYTES = 28

interface LzHeader extends Size {
  type: number
  /** Bytes of a row; counts for palette images only, where the stream holds whole rows of bytes. */
  strideBytes: number
  topDown: boolean
}

function lzHeader(bytes: Uint8Array, expected: Size): LzHeader {
  if (bytes.length < HEADER_BYTES) throw imageError('lz', `${bytes.length} bytes are no header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const magic = view.getUint32(0)
  const version = view.getUint32(4)
  if (magic !== LZ_MAGIC || version !== LZ_VERSION) {
    throw imageError('lz', `magic ${magic.toString(16)} and version ${version.toString(16)} are unknown`)
  }
  const header = {
    type: view.getUint32(8),
    width: view.getUint32(12),
    height: view.getUint32(16),
    strideBytes: view.getUint32(20),
    topDown: view.getUint32(24) !== 0,
  }
  checkSize('lz', header, expected)
  return header
}

/**
 * Decodes an LZ image of pixels: RGB16, RGB24, RGB32, RGBA, A8.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLz(bytes: Uint8Array, expected: Size, room: Room = newRoom): Pixels {
  const { type, width, height, topDown } = lzHeader(bytes, expected)
  if (type === LZ_TYPE.a8) return alphaPixels(decodeLzAlpha(bytes, expected))
  const isAlpha = type === LZ_TYPE.rgba
  if (!isAlpha && type !== LZ_TYPE.rgb16 && type !== LZ_TYPE.rgb24 && type !== LZ_TYPE.rgb32) {
    throw imageError('lz', `type ${type} has no colours`)
  }
  const count = pixelCount('lz', expected)
  checkRatio('lz', count, bytes.length)
  const data = room(count)
  const words = new Int32Array(data.buffer, data.byteOffset, count)
  const end = lzPixels('lz', bytes, HEADER_BYTES, words, type === LZ_TYPE.rgb16 ? 2 : 3)
  if (isAlpha) {
    const alpha = new Uint8Array(count)
    lzBytes('lz alpha', bytes, end, alpha)
    setAlpha(data, alpha)
  }
  if (!topDown) flipRows(new Uint8Array(data.buffer, data.byteOffset, count * 4), width * 4)
  return { width, height, data, hasAlpha: isAlpha }
}

/**
 * Decodes an LZ image of palette indices: PLT1, PLT4, PLT8.
 *
 * @param palette colours as `0x00RRGGBB`.
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLzPalette(bytes: Uint8Array, expected: Size, palette: Uint32Array): Pixels {
  const { type, width, height, strideBytes, topDown } = lzHeader(bytes, expected)
  const format = INDEX_FORMAT[type]
  if (!format) throw imageError('lz', `type ${type} has no palette`)
  pixelCount('lz', expected)
  checkStride('lz', strideBytes, packedBytes(width, format))
  checkRatio('lz', strideBytes * height, bytes.length)
  const packed = new Uint8Array(pixelCount('lz', { width: strideBytes, height }))
  lzBytes('lz', bytes, HEADER_BYTES, packed)
  return unpackIndices('lz', packed, { format, strideBytes, topDown, width, height, palette })
}

const INDEX_FORMAT: Record<number, IndexFormat | undefined> = {
  [LZ_TYPE.plt1Le]: { bits: 1, highFirst: false },
  [LZ_TYPE.plt1Be]: { bits: 1, highFirst: true },
  [LZ_TYPE.plt4Le]: { bits: 4, highFirst: false },
  [LZ_TYPE.plt4Be]: { bits: 4, highFirst: true },
  [LZ_TYPE.plt8]: { bits: 8, highFirst: true },
}

/**
 * Decodes an LZ image of alpha alone: A8, and XXXA beside a JPEG.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLzAlpha(bytes: Uint8Array, expected: Size): Mask {
  const { type, width, height, topDown } = lzHeader(bytes, expected)
  if (type !== LZ_TYPE.a8 && type !== LZ_TYPE.xxxa) throw imageError('lz', `type ${type} is not alpha alone`)
  const count = pixelCount('lz', expected)
  checkRatio('lz', count, bytes.length)
  const data = new Uint8Array(count)
  lzBytes('lz', bytes, HEADER_BYTES, data)
  if (!topDown) flipRows(data, width)
  return { width, height, data }
}

/** Replaces the alpha of every pixel. */
export function setAlpha(data: Uint32Array<ArrayBuffer>, alpha: Uint8Array): void {
  const words = new Int32Array(data.buffer, data.byteOffset, data.length)
  for (let at = 0; at < words.length; at++) {
    words[at] = ((words[at] as number) & 0x00ffffff) | ((alpha[at] as number) << 24)
  }
}
