import { toPixels, type ColourSpace } from './jpeg-colour.ts'
import { readFrame, readHuffman, readQuantization, type JpegFrame, type JpegTables } from './jpeg-frame.ts'
import { decodeScan } from './jpeg-scan.ts'
import { decodeLzAlpha, setAlpha } from './lz.ts'
import { checkSize, imageError, pixelCount, type Pixels, type Size } from './pixels.ts'

/** Pixels that a byte of a JPEG can make at most: two bits a block, ten blocks for eight of luma. */
const MOST_PIXELS_A_BYTE = 256

/** Second bytes of markers. */
const MARKER = {
  frame: 0xc0,
  extendedFrame: 0xc1,
  huffman: 0xc4,
  begin: 0xd8,
  end: 0xd9,
  scan: 0xda,
  quantization: 0xdb,
  restartInterval: 0xdd,
  adobe: 0xee,
} as const

/**
 * Decodes a JPEG: an image, or a frame of an MJPEG stream. Pixels are the same as those of libjpeg-turbo with its
 * defaults.
 *
 * Baseline and extended sequential frames of 8 bits, grey or of three components, are what SPICE servers send; others
 * are refused.
 *
 * @param expected undefined takes the size that the JPEG has, as frames of sized streams do.
 * @param tables those of the frames before, to which this one adds its own: servers send a stream's tables once.
 * @throws `ATP_SPICE_IMAGE`
 */
export function decodeJpeg(bytes: Uint8Array, expected?: Size, tables: JpegTables = newJpegTables()): Pixels {
  if (bytes[0] !== 0xff || bytes[1] !== MARKER.begin) throw imageError('jpeg', 'it does not begin as one')
  const { frame, space } = decodeSegments(bytes, expected, tables)
  const { width, height } = frame
  const data = new Uint32Array(width * height)
  toPixels(frame, space, new Int32Array(data.buffer))
  return { width, height, data, hasAlpha: false }
}

/** No tables yet. */
export function newJpegTables(): JpegTables {
  return { quantization: [], dc: [], ac: [] }
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

interface DecodedFrame {
  frame: JpegFrame
  space: ColourSpace
}

/** Reads segment after segment until all components are decoded. */
function decodeSegments(bytes: Uint8Array, expected: Size | undefined, tables: JpegTables): DecodedFrame {
  let frame: JpegFrame | undefined
  let restartInterval = 0
  let space: ColourSpace = 'ycc'
  for (let at = 2; ;) {
    const marker = bytes[at + 1]
    if (bytes[at] !== 0xff || marker === undefined || marker === MARKER.end) {
      throw imageError('jpeg', `no picture is complete at byte ${at} of ${bytes.length}`)
    }
    // Any number of 0xff may stand before a marker.
    if (marker === 0xff) {
      at++
      continue
    }
    const sizeBytes = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)
    if (sizeBytes < 2 || at + 2 + sizeBytes > bytes.length) {
      throw imageError('jpeg', `the segment at byte ${at} has ${sizeBytes} bytes`)
    }
    const segment = bytes.subarray(at + 4, at + 2 + sizeBytes)
    at += 2 + sizeBytes
    if (marker === MARKER.quantization) {
      readQuantization(segment, tables)
    } else if (marker === MARKER.huffman) {
      readHuffman(segment, tables)
    } else if (marker === MARKER.restartInterval) {
      restartInterval = ((segment[0] ?? 0) << 8) | (segment[1] ?? 0)
    } else if (marker === MARKER.adobe) {
      // Its last byte tells the colour space; nothing else uses this segment with twelve bytes.
      if (segment.length >= 12 && segment[11] === 0) space = 'rgb'
    } else if (marker === MARKER.frame || marker === MARKER.extendedFrame) {
      if (frame) throw imageError('jpeg', 'it has two frames')
      frame = checkedFrame(segment, bytes.length, expected)
    } else if (marker === MARKER.scan) {
      if (!frame) throw imageError('jpeg', 'its data come before their description')
      at = decodeScan(bytes, at, segment, frame, tables, restartInterval)
      if (frame.components.every(({ isDecoded }) => isDecoded)) return { frame, space }
    } else if (marker >= 0xc2 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc) {
      throw imageError('jpeg', `frames of kind ${marker - 0xc0} are not what SPICE servers send`)
    }
  }
}

function checkedFrame(segment: Uint8Array, sizeBytes: number, expected: Size | undefined): JpegFrame {
  const size = {
    height: ((segment[1] ?? 0) << 8) | (segment[2] ?? 0),
    width: ((segment[3] ?? 0) << 8) | (segment[4] ?? 0),
  }
  if (expected) checkSize('jpeg', size, expected)
  const count = pixelCount('jpeg', size)
  if (count > sizeBytes * MOST_PIXELS_A_BYTE) {
    throw imageError('jpeg', `${count} pixels cannot come from ${sizeBytes} bytes`)
  }
  return readFrame(segment)
}
