import { copyBytesBack } from './lz-stream.ts'
import {
  adoptBitmap32,
  BITMAP_FORMAT,
  decodeBitmap,
  decodeBitmapMask,
  PIXEL_BYTES,
  type OwnedBitmap,
} from './bitmap.ts'
import { imageError, pixelCount, type Mask, type Pixels, type Size } from './pixels.ts'

const HEADER_BYTES = 2
/** No byte of a block makes more bytes than this. */
const MOST_BYTES_A_BYTE = 255

/**
 * Decodes an LZ4 image of colours: `top_down u8`, `format u8`, then blocks behind their big-endian length, each of which
 * may refer to what came before it.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLz4(bytes: Uint8Array, expected: Size): Pixels {
  const format = lz4Format(bytes)
  const pixelBytes = PIXEL_BYTES[format]
  if (pixelBytes === undefined) throw imageError('lz4', `bitmaps of format ${format} have no colours there`)
  const bitmap = unpackLz4(bytes, expected, pixelBytes)
  return pixelBytes === 4 ? adoptBitmap32(bitmap) : decodeBitmap(bitmap)
}

/**
 * Decodes an LZ4 image of alpha alone.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLz4Alpha(bytes: Uint8Array, expected: Size): Mask {
  const format = lz4Format(bytes)
  if (format !== BITMAP_FORMAT.a8) throw imageError('lz4', `bitmaps of format ${format} are not alpha alone`)
  return decodeBitmapMask(unpackLz4(bytes, expected, 1))
}

function lz4Format(bytes: Uint8Array): number {
  if (bytes.length < HEADER_BYTES) throw imageError('lz4', `${bytes.length} bytes are no header`)
  return bytes[1] as number
}

function unpackLz4(bytes: Uint8Array, { width, height }: Size, pixelBytes: number): OwnedBitmap {
  const sizeBytes = pixelCount('lz4', { width, height }) * pixelBytes
  if (sizeBytes > bytes.length * MOST_BYTES_A_BYTE) {
    throw imageError('lz4', `${sizeBytes} bytes cannot come from ${bytes.length}`)
  }
  const data = new Uint8Array(sizeBytes)
  let at = HEADER_BYTES
  let to = 0
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw imageError('lz4', `the length at byte ${at} is cut off`)
    const blockBytes = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
    at += 4
    if (blockBytes === 0 || blockBytes > bytes.length - at) {
      throw imageError('lz4', `a block of ${blockBytes} bytes at byte ${at} of ${bytes.length}`)
    }
    to = unpackBlock(bytes, at, at + blockBytes, data, to)
    at += blockBytes
  }
  if (to < sizeBytes) throw imageError('lz4', `the picture ends after ${to} of ${sizeBytes} bytes`)
  return { width, height, format: bytes[1] as number, strideBytes: width * pixelBytes, topDown: bytes[0] !== 0, data }
}

/** Unpacks the LZ4 block between `start` and `end` behind what `out` has already; returns the end of its output. */
function unpackBlock(source: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): number {
  const limit = out.length
  let at = start
  let to = outStart
  for (;;) {
    const token = source[at++] as number
    let literals = token >> 4
    if (literals === 15) {
      let more: number
      do {
        more = at < end ? (source[at++] as number) : 0
        literals += more
      } while (more === 255)
    }
    if (literals > end - at || literals > limit - to) throw brokenBlock(at, to)
    if (literals > 32) {
      out.set(source.subarray(at, at + literals), to)
      at += literals
      to += literals
    } else {
      for (const last = at + literals; at < last;) out[to++] = source[at++] as number
    }
    // A block ends with literals.
    if (at === end) return to
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
    copyBytesBack(out, to, distance, length)
    to += length
  }
}

function brokenBlock(at: number, to: number): Error {
  return imageError('lz4', `the block breaks at byte ${at}, after ${to} bytes of the picture`)
}
