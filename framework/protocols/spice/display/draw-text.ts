import { over, scaled } from './draw-blend.ts'
import type { Glyph, Text } from './draw-messages.ts'
import { intersect, isEmpty, type Rect } from './geometry.ts'
import { forEachRun, limitTo, type Region } from './region.ts'
import type { RowSource } from './row-source.ts'
import type { Surface } from './surface.ts'

/** How much of every pixel glyphs cover. */
interface Coverage {
  rect: Rect
  /** 0 to 255, row by row. */
  alpha: Uint8Array
}

/** Draws a string's glyphs with a brush. */
export function paintText({ data, width, rect }: Surface, region: Region, text: Text, brush: RowSource): void {
  const coverage = coverageOf(text, rect)
  if (!coverage) return
  const { left, top, right } = coverage.rect
  forEachRun(limitTo(region, coverage.rect), (x, y, count) => {
    const start = brush.seek(x, y, count)
    const from = brush.words
    const to = y * width + x
    const row = (y - top) * (right - left) + x - left
    for (let n = 0; n < count; n++) {
      const alpha = coverage.alpha[row + n] as number
      if (alpha === 0) continue
      const color = ((from[start + n] as number) | 0xff000000) >>> 0
      data[to + n] = alpha === 0xff ? color : over(scaled(color, alpha), data[to + n] as number)
    }
  })
}

function coverageOf(text: Text, surface: Rect): Coverage | undefined {
  const seen = text.glyphs.map((glyph) => intersect(glyph.rect, surface)).filter((rect) => !isEmpty(rect))
  if (seen.length === 0) return undefined
  const rect = seen.reduce((all, one) => ({
    top: Math.min(all.top, one.top),
    left: Math.min(all.left, one.left),
    bottom: Math.max(all.bottom, one.bottom),
    right: Math.max(all.right, one.right),
  }))
  const alpha = new Uint8Array((rect.right - rect.left) * (rect.bottom - rect.top))
  for (const glyph of text.glyphs) addGlyph({ rect, alpha }, glyph, text)
  return { rect, alpha }
}

// Rows come from the bottom: SPICE_STRING_FLAGS_RASTER_TOP_DOWN, which says otherwise, is honoured by no renderer.
function addGlyph({ rect, alpha }: Coverage, glyph: Glyph, { bitsPerPixel }: Text): void {
  const { left, bottom, right } = glyph.rect
  const rowBytes = ((right - left) * bitsPerPixel + 7) >>> 3
  const part = intersect(glyph.rect, rect)
  for (let y = part.top; y < part.bottom; y++) {
    const row = (bottom - 1 - y) * rowBytes
    const to = (y - rect.top) * (rect.right - rect.left) - rect.left
    for (let x = part.left; x < part.right; x++) {
      const value = valueOf(glyph.data, row, x - left, bitsPerPixel)
      // Where glyphs overlap the darker one wins.
      if (value > (alpha[to + x] as number)) alpha[to + x] = value
    }
  }
}

function valueOf(data: Uint8Array, row: number, x: number, bitsPerPixel: 1 | 4 | 8): number {
  if (bitsPerPixel === 8) return data[row + x] as number
  if (bitsPerPixel === 4) {
    const byte = data[row + (x >>> 1)] as number
    // The left pixel's bits stay above an odd one's: there the later glyph wins, as in the reference renderer.
    return x & 1 ? byte << 4 : byte & 0xf0
  }
  return ((data[row + (x >>> 3)] as number) >>> (7 - (x & 7))) & 1 ? 0xff : 0
}
