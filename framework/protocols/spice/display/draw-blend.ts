import { forEachRun, type Region } from './region.ts'
import type { RowSource } from './row-source.ts'
import type { Surface } from './surface.ts'

/** The product of two numbers of 0 to 255 that stand for 0 to 1, rounded. */
export function times(a: number, b: number): number {
  const product = a * b + 0x80
  return (product + (product >>> 8)) >>> 8
}

/** A pixel with all its components multiplied. */
export function scaled(pixel: number, factor: number): number {
  if (factor === 0xff) return pixel
  return (
    ((times(pixel >>> 24, factor) << 24) |
      (times((pixel >>> 16) & 0xff, factor) << 16) |
      (times((pixel >>> 8) & 0xff, factor) << 8) |
      times(pixel & 0xff, factor)) >>>
    0
  )
}

/** One premultiplied pixel over another. */
export function over(source: number, destination: number): number {
  const alpha = source >>> 24
  if (alpha === 0xff) return source
  const below = scaled(destination, 0xff - alpha)
  let pixel = 0
  for (let shift = 0; shift < 32; shift += 8) {
    pixel |= Math.min(((source >>> shift) & 0xff) + ((below >>> shift) & 0xff), 0xff) << shift
  }
  return pixel >>> 0
}

/**
 * Lays a picture over the surface.
 *
 * @param alpha 0 to 255, for all of it.
 * @param sourceHasAlpha else its pixels are opaque.
 * @param keepAlpha the surface's alpha takes part; else it stays undefined.
 */
export function blend(
  { data, width }: Surface,
  region: Region,
  source: RowSource,
  alpha: number,
  sourceHasAlpha: boolean,
): void {
  const opaque = sourceHasAlpha ? 0 : 0xff000000
  forEachRun(region, (x, y, count) => {
    const start = source.seek(x, y, count)
    const from = source.words
    const to = y * width + x
    for (let n = 0; n < count; n++) {
      const pixel = ((from[start + n] as number) | opaque) >>> 0
      data[to + n] = over(scaled(pixel, alpha), data[to + n] as number)
    }
  })
}
