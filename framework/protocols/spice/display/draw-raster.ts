import type { Point } from './geometry.ts'
import { forEachRun, type Region } from './region.ts'
import { rop2Row, rop3Row, type Rop2 } from './rop.ts'
import type { RowSource } from './row-source.ts'
import type { Surface } from './surface.ts'

/** Draws a source's pixels with a raster operation. */
export function paint({ data, width }: Surface, region: Region, source: RowSource, rop: Rop2): void {
  forEachRun(region, (x, y, count) => {
    const start = source.seek(x, y, count)
    rop2Row(rop, data, y * width + x, source.words, start, count)
  })
}

/** Draws with a raster operation of three operands; see {@link rop3Row}. */
export function paintRop3(
  { data, width }: Surface,
  region: Region,
  source: RowSource,
  pattern: RowSource,
  rop: number,
): void {
  forEachRun(region, (x, y, count) => {
    const sourceAt = source.seek(x, y, count)
    const patternAt = pattern.seek(x, y, count)
    rop3Row(rop, data, y * width + x, source.words, sourceAt, pattern.words, patternAt, count)
  })
}

/** Draws all pixels but those of one colour. */
export function paintTransparent({ data, width }: Surface, region: Region, source: RowSource, color: number): void {
  const key = color & 0xffffff
  forEachRun(region, (x, y, count) => {
    const start = source.seek(x, y, count)
    const from = source.words
    const to = y * width + x
    for (let n = 0; n < count; n++) {
      const pixel = from[start + n] as number
      if ((pixel & 0xffffff) !== key) data[to + n] = pixel
    }
  })
}

/** Moves a part of the surface, which may overlap its destination. `from` is what comes to lie on `to`. */
export function copyBits(surface: Surface, region: Region, to: Point, from: Point): void {
  const { data, width } = surface
  const shift = { x: from.x - to.x, y: from.y - to.y }
  const [only] = region.rects
  if (region.rects.length === 1 && only && region.stencils.length === 0) {
    const { top, left, bottom, right } = only
    const step = shift.y > 0 ? 1 : -1
    for (let y = step > 0 ? top : bottom - 1; y >= top && y < bottom; y += step) {
      const start = (y + shift.y) * width + left + shift.x
      data.copyWithin(y * width + left, start, start + right - left)
    }
    return
  }
  const before = data.slice()
  forEachRun(region, (x, y, count) => {
    const start = (y + shift.y) * width + x + shift.x
    data.set(before.subarray(start, start + count), y * width + x)
  })
}
