import { copyBytesBack } from './lz-stream.ts'
import { adoptBitmap32, decodeBitmap, PIXEL_BYTES } from './bitmap.ts'
import { imageError, pixelCount, type Pixels, type Size } from './pixels.ts'

/** No byte of a block makes more bytes than this. */
const MOST_BYTES_A_BYTE = 255

/**
 * Decodes an LZ4 image: `top_down u8`, `format u8`, then blocks behind their big-endian length, each of which may refer
 * to what came before it.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeLz4(bytes: Uint8Array, expected: Size): Pixels {
  pixelCount('lz4', expected)
  if (bytes.length < 2) throw imageError('lz4', `${bytes.length} bytes are no header`)
  const topDown = bytes[0] !== 0
  const format = bytes[1] as number
  const pixelBytes = PIXEL_BYTES[format]
  if (pixelBytes === undefined) throw imageError('lz4', `bitmaps of format ${format} are not packed with LZ4`)
  const strideBytes = expected.width * pixelBytes
  const sizeBytes = strideBytes * expected.height
  if (sizeBytes > bytes.length * MOST_BYTES_A_BYTE) {
    throw imageError('lz4', `${sizeBytes} bytes cannot come from ${bytes.length}`)
  }
  const out = new Uint8Array(sizeBytes)
  let at = 2
  let to = 0
  while (at < bytes.length) {
    if (bytes.length - at < 4) throw imageError('lz4', `the length at byte ${at} is cut off`)
    const blockBytes = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
    at += 4
    if (blockBytes === 0 || blockBytes > bytes.length - at) {
      throw imageError('lz4', `a block of ${blockBytes} bytes at byte ${at} of ${bytes.length}`)
    }
    to = unpackBlock(bytes, at, at + blockBytes, out, to)
    at += blockBytes
  }
  if (to < sizeBytes) throw imageError('lz4', `the picture ends after ${to} of ${sizeBytes} bytes`)
  const bitmap = { ...expected, format, strideBytes, topDown, data: out }
  return pixelBytes === 4 ? adoptBitmap32(bitmap, out) : decodeBitmap(bitmap)
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
