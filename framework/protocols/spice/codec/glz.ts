import { unzlibSync } from 'fflate'
import type { GlzWindow } from './glz-window.ts'
import { brokenStream, checkRatio, copyPixelsBack, rgb555 } from './lz-stream.ts'
import { LZ_MAGIC, LZ_TYPE, LZ_VERSION } from './lz.ts'
import { checkSize, flipRows, imageError, pixelCount, type Pixels, type Size } from './pixels.ts'

const HEADER_BYTES = 33
/** No byte of a zlib stream makes more than this. */
const MOST_BYTES_A_BYTE = 1032
/** References shorter than this are copied pixel by pixel. */
const LONG_COPY = 48

interface GlzHeader extends Size {
  type: number
  topDown: boolean
  id: number
  /** How far back from this image references may lead, now and later. */
  windowImages: number
}

function glzHeader(bytes: Uint8Array, expected: Size): GlzHeader {
  if (bytes.length < HEADER_BYTES) throw imageError('glz', `${bytes.length} bytes are no header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const magic = view.getUint32(0)
  const version = view.getUint32(4)
  if (magic !== LZ_MAGIC || version !== LZ_VERSION) {
    throw imageError('glz', `magic ${magic.toString(16)} and version ${version.toString(16)} are unknown`)
  }
  const typeAndFlags = view.getUint8(8)
  const id = Number(view.getBigUint64(21))
  if (!Number.isSafeInteger(id)) throw imageError('glz', `${id} is no image number`)
  const header = {
    type: typeAndFlags & 0x0f,
    topDown: typeAndFlags >> 4 !== 0,
    width: view.getUint32(9),
    height: view.getUint32(13),
    id,
    windowImages: view.getUint32(29),
  }
  checkSize('glz', header, expected)
  return header
}

/**
 * Decodes a GLZ image, LZ whose references may lead into earlier images, and adds it to the window.
 *
 * @throws `ATP_SPICE_IMAGE`; `ATP_SPICE_IMAGE_AWAITED` when it refers to an image that has not come yet. The window
 *   is as it was then.
 */
export function decodeGlz(bytes: Uint8Array, expected: Size, window: GlzWindow): Pixels {
  const { type, width, height, topDown, id, windowImages } = glzHeader(bytes, expected)
  const isAlpha = type === LZ_TYPE.rgba
  if (!isAlpha && type !== LZ_TYPE.rgb16 && type !== LZ_TYPE.rgb24 && type !== LZ_TYPE.rgb32) {
    throw imageError('glz', `type ${type} has no colours`)
  }
  const count = pixelCount('glz', expected)
  checkRatio('glz', count, bytes.length)
  const words = new Int32Array(count)
  const stream = { source: bytes, words, id, windowImages, window }
  const end = glzUnits(stream, HEADER_BYTES, type === LZ_TYPE.rgb16 ? 'rgb555' : 'rgb')
  if (isAlpha) glzUnits(stream, end, 'alpha')
  window.add({ id, oldestId: id - windowImages, words })
  if (topDown) return { width, height, data: new Uint32Array(words.buffer), hasAlpha: isAlpha }
  // References count pixels in the order of the stream, so the window's stay as they are.
  const data = new Uint32Array(words)
  flipRows(new Uint8Array(data.buffer), width * 4)
  return { width, height, data, hasAlpha: isAlpha }
}

/**
 * Unpacks a GLZ image that is packed with zlib.
 *
 * @param glzSizeBytes size of the GLZ image, which the message tells.
 * @throws `ATP_SPICE_IMAGE`
 */
export function inflateGlz(bytes: Uint8Array, glzSizeBytes: number): Uint8Array {
  if (glzSizeBytes > bytes.length * MOST_BYTES_A_BYTE) {
    throw imageError('zlib', `${glzSizeBytes} bytes cannot come from ${bytes.length}`)
  }
  let glz: Uint8Array
  try {
    glz = unzlibSync(bytes, { out: new Uint8Array(glzSizeBytes) })
  } catch (error) {
    throw imageError('zlib', 'the stream cannot be inflated', error)
  }
  if (glz.length !== glzSizeBytes) throw imageError('zlib', `${glz.length} bytes where ${glzSizeBytes} are announced`)
  return glz
}

interface GlzStream {
  source: Uint8Array
  words: Int32Array
  id: number
  windowImages: number
  window: GlzWindow
}

/** What literals are: two bytes of five bits a colour, three of eight, or the alpha of pixels that are there already. */
type Unit = 'rgb555' | 'rgb' | 'alpha'

const LENGTH_BIAS: Record<Unit, number> = { rgb555: 1, rgb: 0, alpha: 2 }
const LITERAL_BYTES: Record<Unit, number> = { rgb555: 2, rgb: 3, alpha: 1 }

/** Fills the words, or their alpha, from the stream at `start`. Returns where it ended. */
function glzUnits(stream: GlzStream, start: number, unit: Unit): number {
  const { source, words } = stream
  const units = words.length
  const bias = LENGTH_BIAS[unit]
  const literalBytes = LITERAL_BYTES[unit]
  let at = start
  let to = 0
  while (to < units) {
    // Beyond the end there is nothing, which reads as 0; the checks below see it before anything is used.
    const control = (source[at++] as number) | 0
    if (control < 32) {
      const end = to + control + 1
      if (end > units || (control + 1) * literalBytes > source.length - at) throw brokenStream('glz', at, to, units)
      if (unit === 'rgb') {
        for (; to < end; to++, at += 3) {
          words[to] =
            0xff000000 | (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16)
        }
      } else if (unit === 'rgb555') {
        for (; to < end; to++, at += 2) {
          words[to] = rgb555(((source[at] as number) << 8) | (source[at + 1] as number))
        }
      } else {
        for (; to < end; to++, at++) {
          words[to] = ((words[to] as number) & 0xffffff) | ((source[at] as number) << 24)
        }
      }
      continue
    }
    let length = (control >> 5) + bias
    if (control >= 0xe0) {
      let more: number
      do {
        more = (source[at++] as number) | 0
        length += more
      } while (more === 255)
    }
    let offset = (control & 0x0f) | ((source[at] as number) << 4)
    const second = (source[at + 1] as number) | 0
    at += 2
    const imageBytes = second >> 6
    let imageDistance = 0
    if ((control & 0x10) === 0) {
      imageDistance = second & 0x3f
      for (let n = 0; n < imageBytes; n++) imageDistance += ((source[at++] as number) | 0) << (6 + 8 * n)
    } else {
      offset += (second & 0x1f) << 12
      for (let n = 0; n < imageBytes; n++) imageDistance += ((source[at++] as number) | 0) << (8 * n)
      if ((second & 0x20) !== 0) offset += ((source[at++] as number) | 0) << 17
    }
    if (at > source.length || length > units - to) throw brokenStream('glz', at, to, units)
    if (imageDistance > 0) {
      copyFrom(referred(stream, imageDistance, at), offset, words, to, length, unit === 'alpha')
    } else if (offset >= to) {
      throw brokenStream('glz', at, to, units)
    } else if (unit === 'alpha') {
      copyAlpha(words, to - offset - 1, words, to, length)
    } else {
      copyPixelsBack(words, to, offset + 1, length)
    }
    to += length
  }
  return at
}

function referred({ id, windowImages, window }: GlzStream, imageDistance: number, at: number): Int32Array {
  if (imageDistance > windowImages || imageDistance > id) {
    throw imageError(
      'glz',
      `byte ${at} refers ${imageDistance} images back from image ${id}, whose window has ${windowImages}`,
    )
  }
  return window.get(id - imageDistance)
}

function copyFrom(
  from: Int32Array,
  start: number,
  words: Int32Array,
  to: number,
  length: number,
  alphaOnly: boolean,
): void {
  if (length > from.length - start) {
    throw imageError('glz', `${length} pixels from pixel ${start} of an earlier image that has ${from.length}`)
  }
  if (alphaOnly) {
    copyAlpha(from, start, words, to, length)
  } else if (length >= LONG_COPY) {
    words.set(from.subarray(start, start + length), to)
  } else {
    for (let n = 0; n < length; n++) words[to + n] = from[start + n] as number
  }
}

/** In order, so that source and target may overlap. */
function copyAlpha(from: Int32Array, start: number, words: Int32Array, to: number, length: number): void {
  for (let n = 0; n < length; n++) {
    words[to + n] = ((words[to + n] as number) & 0xffffff) | ((from[start + n] as number) & 0xff000000)
  }
}
