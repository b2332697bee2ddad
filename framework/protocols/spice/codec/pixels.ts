import { protocolError, type AtpError } from '../../../core/errors.ts'

/** Most pixels an image or a surface may have: 64 Mi, 256 MiB of memory. */
export const MAX_IMAGE_PIXELS = 64 * 1024 * 1024

/** A decoded picture. Caches share it: nobody changes it. */
export interface Pixels {
  width: number
  height: number
  /**
   * `width * height` pixels, row by row from the top, as `0xAARRGGBB`. Without alpha, `AA` means nothing; with it, the
   * colours are multiplied by it already, as they are on the wire.
   */
  data: Uint32Array<ArrayBuffer>
  hasAlpha: boolean
  /** Of an image that has alpha and no colours: it is black. */
  isAlphaOnly?: boolean
}

/** A decoded mask: images of one bit, and alpha without colours. */
export interface Mask {
  width: number
  height: number
  /** `width * height` bytes, row by row from the top: how opaque a pixel is. Images of one bit have 0 and 0xff only. */
  data: Uint8Array<ArrayBuffer>
}

/** Width and height that a picture must have: what the descriptor of the image says. */
export interface Size {
  width: number
  height: number
}

/**
 * Gives memory for a picture, of so many pixels and with anything in it. Whoever draws a picture at once and then
 * forgets it gives the same memory again: making new memory costs as much as decoding.
 */
export type Room = (pixels: number) => Uint32Array<ArrayBuffer>

/** New memory. */
export const newRoom: Room = (pixels) => new Uint32Array(pixels)

/** The bytes of an image break its format, or it is not the image that its descriptor announced. */
export function imageError(place: string, message: string, cause?: unknown): AtpError {
  return protocolError('ATP_SPICE_IMAGE', `SPICE image ${place}: ${message}`, { cause, context: { place } })
}

/**
 * The number of pixels of an image.
 *
 * @throws `ATP_SPICE_IMAGE` when a side is 0 or there are more than {@link MAX_IMAGE_PIXELS}.
 */
export function pixelCount(place: string, { width, height }: Size): number {
  const count = width * height
  if (count > 0 && count <= MAX_IMAGE_PIXELS) return count
  throw imageError(place, `${width}×${height} pixels are not between 1 and ${MAX_IMAGE_PIXELS}`)
}

/** @throws `ATP_SPICE_IMAGE` when an image's own header disagrees with its descriptor. */
export function checkSize(place: string, header: Size, expected: Size): void {
  if (header.width === expected.width && header.height === expected.height) return
  throw imageError(
    place,
    `its header says ${header.width}×${header.height} where the descriptor says ${expected.width}×${expected.height}`,
  )
}

/** Turns the rows of a picture upside down, in place. */
export function flipRows(bytes: Uint8Array, rowBytes: number): void {
  const row = new Uint8Array(rowBytes)
  for (let top = 0, bottom = bytes.length - rowBytes; top < bottom; top += rowBytes, bottom -= rowBytes) {
    row.set(bytes.subarray(top, top + rowBytes))
    bytes.copyWithin(top, bottom, bottom + rowBytes)
    bytes.set(row, bottom)
  }
}

/** Alpha alone as a picture: black, more or less of it. */
export function alphaPixels({ width, height, data: alpha }: Mask): Pixels {
  const data = new Uint32Array(alpha.length)
  for (let at = 0; at < data.length; at++) data[at] = (alpha[at] as number) << 24
  return { width, height, data, hasAlpha: true, isAlphaOnly: true }
}
