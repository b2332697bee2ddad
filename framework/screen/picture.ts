import { configError } from '../core/index.ts'
import type { Picture, Region } from './api.ts'

/** A part of a picture. @throws `ATP_SCREEN_REGION` when it is not inside. */
export function crop(picture: Picture, region: Region | undefined): Picture {
  if (!region) return picture
  assertInside(region, picture)
  const { x, y, width, height } = region
  const data = new Uint32Array(width * height)
  for (let row = 0; row < height; row++) {
    const from = (y + row) * picture.width + x
    data.set(picture.data.subarray(from, from + width), row * width)
  }
  return { width, height, data }
}

/** @throws `ATP_SCREEN_REGION` */
export function assertInside(region: Region, { width, height }: Picture): void {
  const { x, y } = region
  const numbers = [x, y, region.width, region.height]
  const inside = x + region.width <= width && y + region.height <= height
  if (numbers.every((value) => Number.isInteger(value) && value >= 0) && region.width * region.height > 0 && inside)
    return
  throw configError(
    'ATP_SCREEN_REGION',
    `the region ${regionText(region)} is not a part of a screen of ${width}×${height} pixels`,
    { remedy: 'give whole pixels from the left and the top: { x, y, width, height }' },
  )
}

export function regionText({ x, y, width, height }: Region): string {
  return `${width}×${height} at ${x},${y}`
}

/** Red, green, blue and full opacity, a byte each. */
export function toRgba({ width, height, data }: Picture): Uint8Array {
  const bytes = new Uint8Array(width * height * 4)
  const words = new Uint32Array(bytes.buffer)
  for (let at = 0; at < words.length; at++) {
    const pixel = data[at] as number
    // 0x..RRGGBB becomes the bytes R, G, B, FF of a little-endian word.
    words[at] = 0xff000000 | ((pixel & 0xff) << 16) | (pixel & 0xff00) | ((pixel >>> 16) & 0xff)
  }
  return bytes
}
