import {
  adoptBitmap32,
  BITMAP_FORMAT,
  decodeBitmap,
  decodeBitmapMask,
  PIXEL_BYTES,
  type OwnedBitmap,
} from './bitmap.ts'
import { Lz4Output } from './lz4-block.ts'
import { alphaPixels, imageError, newRoom, pixelCount, type Mask, type Pixels, type Room, type Size } from './pixels.ts'

const HEADER_BYTES = 2
/** No byte of a block makes more bytes than this. */
const MOST_BYTES_A_BYTE = 255

/**
 * Decodes an LZ4 image: `top_down u8`, `format u8`, then blocks behind their big-endian length, each of which
 * may refer to what came before it.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLz4(bytes: Uint8Array, expected: Size, room: Room = newRoom): Pixels {
  const format = lz4Format(bytes)
  if (format === BITMAP_FORMAT.a8) return alphaPixels(decodeLz4Alpha(bytes, expected))
  const pixelBytes = PIXEL_BYTES[format]
  if (pixelBytes === undefined) throw imageError('lz4', `bitmaps of format ${format} have no colours there`)
  const bitmap = unpackLz4(bytes, expected, pixelBytes, room)
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
  return decodeBitmapMask(unpackLz4(bytes, expected, 1, newRoom))
}

function lz4Format(bytes: Uint8Array): number {
  if (bytes.length < HEADER_BYTES) throw imageError('lz4', `${bytes.length} bytes are no header`)
  return bytes[1] as number
}

function unpackLz4(bytes: Uint8Array, { width, height }: Size, pixelBytes: number, room: Room): OwnedBitmap {
  const sizeBytes = pixelCount('lz4', { width, height }) * pixelBytes
  if (sizeBytes > bytes.length * MOST_BYTES_A_BYTE) {
    throw imageError('lz4', `${sizeBytes} bytes cannot come from ${bytes.length}`)
  }
  const output = new Lz4Output(room(Math.ceil(sizeBytes / 4)), sizeBytes)
  let at = HEADER_BYTES
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw imageError('lz4', `the length at byte ${at} is cut off`)
    const blockBytes = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
    at += 4
    if (blockBytes === 0 || blockBytes > bytes.length - at) {
      throw imageError('lz4', `a block of ${blockBytes} bytes at byte ${at} of ${bytes.length}`)
    }
    output.unpack(bytes, at, at + blockBytes)
    at += blockBytes
  }
  if (output.end < sizeBytes) {
    throw imageError('lz4', `the picture ends after ${output.end} of ${sizeBytes} bytes`)
  }
  return {
    width,
    height,
    format: bytes[1] as number,
    strideBytes: width * pixelBytes,
    topDown: bytes[0] !== 0,
    data: output.bytes,
  }
}
