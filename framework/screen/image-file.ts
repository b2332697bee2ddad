import { decode, encode } from 'fast-png'
import { configError, messageOf, protocolError } from '../core/index.ts'
import type { Picture } from './api.ts'
import { toRgba } from './picture.ts'

export interface Screenshot {
  /** `image/png` */
  contentType: string
  bytes: Uint8Array
}

/**
 * A screenshot as PNG, which every report can show. libvirt passes on what QEMU writes: PPM (P6, 8 bits) up to
 * QEMU 7.0's default and libvirt's, PNG where it asks for it.
 *
 * @throws `ATP_VM_SCREENSHOT` for any other format.
 */
export function toPng({ contentType, bytes }: Screenshot): Screenshot {
  if (isPng(bytes)) return { contentType: 'image/png', bytes }
  const { width, height, data } = readPpm(contentType, bytes)
  return { contentType: 'image/png', bytes: encode({ width, height, data, channels: 3, depth: 8 }) }
}

/** The pixels of a PNG or PPM image. @throws `ATP_VM_SCREENSHOT`, `ATP_SCREEN_IMAGE_FORMAT`. */
export function toPicture({ contentType, bytes }: Screenshot): Picture {
  const { width, height, data, channels } = isPng(bytes)
    ? readPng(contentType, bytes)
    : { ...readPpm(contentType, bytes), channels: 3 }
  const pixels = new Uint32Array(width * height)
  // One or two channels are shades of grey; a fourth would be opacity.
  const [green, blue] = channels < 3 ? [0, 0] : [1, 2]
  for (let at = 0, from = 0; at < pixels.length; at++, from += channels) {
    pixels[at] = ((data[from] as number) << 16) | ((data[from + green] as number) << 8) | (data[from + blue] as number)
  }
  return { width, height, data: pixels }
}

/** A PNG of the pixels. */
export function encodePng(picture: Picture): Screenshot {
  const { width, height } = picture
  const bytes = encode({ width, height, data: toRgba(picture), channels: 4, depth: 8 })
  return { contentType: 'image/png', bytes }
}

/** Width and height in pixels of a PNG or PPM image. @throws `ATP_VM_SCREENSHOT` */
export function imageSize({ contentType, bytes }: Screenshot): { width: number; height: number } {
  if (isPng(bytes)) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return { width: view.getUint32(16), height: view.getUint32(20) }
  }
  const header = readPpmHeader(bytes)
  if (!header) throw protocolError('ATP_VM_SCREENSHOT', `a screenshot in an unknown format (${contentType})`)
  return { width: header.width, height: header.height }
}

function readPng(contentType: string, bytes: Uint8Array) {
  try {
    const png = decode(bytes)
    if (png.depth === 8 && !png.palette) return png
  } catch (error) {
    throw protocolError('ATP_VM_SCREENSHOT', `a damaged picture (${contentType}): ${messageOf(error)}`, {
      cause: error,
    })
  }
  throw configError('ATP_SCREEN_IMAGE_FORMAT', 'a picture with a palette or with more than 8 bits a channel', {
    remedy: 'save it as PNG with 8 bits for each of red, green and blue',
  })
}

function readPpm(contentType: string, bytes: Uint8Array) {
  const header = readPpmHeader(bytes)
  if (!header) {
    throw protocolError(
      'ATP_VM_SCREENSHOT',
      `a screenshot in an unknown format (${contentType}, ${bytes.byteLength} bytes)`,
    )
  }
  const { width, height, at } = header
  const rowBytes = width * 3
  const pixels = bytes.subarray(at)
  if (pixels.byteLength < rowBytes * height) {
    throw protocolError('ATP_VM_SCREENSHOT', `a screenshot of ${width}×${height} pixels ends too early`)
  }
  // QEMU up to 7.2 at least fills rows up to four bytes, which PPM does not know.
  const filledBytes = Math.ceil(rowBytes / 4) * 4
  if (filledBytes === rowBytes || pixels.byteLength !== filledBytes * height) {
    return { width, height, data: pixels.subarray(0, rowBytes * height) }
  }
  const data = new Uint8Array(rowBytes * height)
  for (let row = 0; row < height; row++) {
    data.set(pixels.subarray(row * filledBytes, row * filledBytes + rowBytes), row * rowBytes)
  }
  return { width, height, data }
}

function isPng(bytes: Uint8Array): boolean {
  return bytes.byteLength > 24 && bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47
}

const LONGEST_HEADER = 256

/** `P6`, width, height, 255, separated by white space or comments; one white space, then the pixels. */
function readPpmHeader(bytes: Uint8Array): { width: number; height: number; at: number } | undefined {
  const text = Buffer.from(bytes.subarray(0, LONGEST_HEADER)).toString('latin1')
  const space = '(?:\\s|#[^\\n]*\\n)+'
  const match = new RegExp(`^P6${space}(\\d{1,5})${space}(\\d{1,5})${space}255\\s`).exec(text)
  if (!match) return undefined
  return { width: Number(match[1]), height: Number(match[2]), at: match[0].length }
}
