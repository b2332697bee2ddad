import { decode } from 'jpeg-js'
import { decodeLzAlpha, setAlpha } from './lz.ts'
import { checkSize, imageError, MAX_IMAGE_PIXELS, pixelCount, type Pixels, type Size } from './pixels.ts'

/** Pixels that a byte of a JPEG can make at most, with two bits a block and chroma halved both ways. */
const MOST_PIXELS_A_BYTE = 256

/** The size in a JPEG's frame header. @throws `ATP_SPICE_IMAGE` when there is none before the data. */
function jpegSize(bytes: Uint8Array): Size {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) throw imageError('jpeg', 'it does not begin as one')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = view.getUint16(at)
    if (marker >= 0xffc0 && marker <= 0xffc2) {
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) }
    }
    at += 2 + view.getUint16(at + 2)
  }
  throw imageError('jpeg', 'no frame is described')
}

/**
 * Decodes a JPEG: an image, or a frame of an MJPEG stream. Lossy, so that pixels may differ a little from what other
 * decoders make of it.
 *
 * @param expected undefined takes the size that the JPEG has, as frames of sized streams do.
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeJpeg(bytes: Uint8Array, expected: Size = jpegSize(bytes)): Pixels {
  const count = pixelCount('jpeg', expected)
  checkSize('jpeg', jpegSize(bytes), expected)
  if (count > bytes.length * MOST_PIXELS_A_BYTE) {
    throw imageError('jpeg', `${count} pixels cannot come from ${bytes.length} bytes`)
  }
  const { data: rgba, ...size } = unpack(bytes, count)
  checkSize('jpeg', size, expected)
  const data = new Uint32Array(count)
  const words = new Int32Array(data.buffer)
  for (let to = 0, at = 0; to < words.length; to++, at += 4) {
    words[to] = 0xff000000 | ((rgba[at] as number) << 16) | ((rgba[at + 1] as number) << 8) | (rgba[at + 2] as number)
  }
  return { ...expected, data, hasAlpha: false }
}

/**
 * Decodes a JPEG with its alpha beside it, as an LZ image.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeJpegAlpha(jpeg: Uint8Array, alpha: Uint8Array, expected: Size): Pixels {
  const pixels = decodeJpeg(jpeg, expected)
  setAlpha(pixels.data, decodeLzAlpha(alpha, expected).data)
  return { ...pixels, hasAlpha: true }
}

function unpack(bytes: Uint8Array, count: number): { width: number; height: number; data: Uint8Array } {
  try {
    return decode(bytes, {
      useTArray: true,
      maxResolutionInMP: MAX_IMAGE_PIXELS / 1e6,
      // Its coefficients and samples, and the tables.
      maxMemoryUsageInMB: 8 + Math.ceil((count * 32) / 1e6),
    })
  } catch (error) {
    throw imageError('jpeg', 'it cannot be decoded', error)
  }
}
