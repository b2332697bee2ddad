import type { Combine } from './float-operators.ts'
import { forEachRun, type Region } from './region.ts'
import type { RowSource } from './row-source.ts'
import type { Surface } from './surface.ts'

export interface Composition {
  combine: Combine
  source: RowSource
  /** Alpha alone, or a factor for each component. */
  mask: RowSource | undefined
  componentAlpha: boolean
}

/** Draws as the X render extension's `Composite` does. */
export function composite({ data, width, hasAlpha }: Surface, region: Region, composition: Composition): void {
  const { combine, source, mask, componentAlpha } = composition
  const opaque = hasAlpha ? 0 : 0xff000000
  forEachRun(region, (x, y, count) => {
    const sourceAt = source.seek(x, y, count)
    const maskAt = mask ? mask.seek(x, y, count) : 0
    const to = y * width + x
    for (let n = 0; n < count; n++) {
      const pixel = source.words[sourceAt + n] as number
      const factors = mask ? (mask.words[maskAt + n] as number) : 0xffffffff
      const below = ((data[to + n] as number) | opaque) >>> 0
      data[to + n] = combine(pixel, factors, below, componentAlpha && mask !== undefined)
    }
  })
}
