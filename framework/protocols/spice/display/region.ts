import { intersect, isEmpty, type Rect } from './geometry.ts'

/** Which pixels of a rectangle count. */
export interface Stencil {
  /** Where it lies on the surface. */
  rect: Rect
  /** One byte a pixel, row by row: 0 is left out. */
  bits: Uint8Array
}

/** The pixels of a surface that a draw operation may change: each is in one rectangle at most. */
export interface Region {
  rects: readonly Rect[]
  /** Further limits; each covers all of `rects`. */
  stencils: readonly Stencil[]
}

/**
 * The pixels of `box` that lie on the surface and inside of the clip.
 *
 * @param clip rectangles in any order, which may overlap; undefined for no clip.
 */
export function regionOf(surface: Rect, box: Rect, clip: readonly Rect[] | undefined): Region {
  const bounds = intersect(surface, box)
  if (isEmpty(bounds)) return { rects: [], stencils: [] }
  if (!clip) return { rects: [bounds], stencils: [] }
  const rects: Rect[] = []
  for (const rect of clip) {
    const part = intersect(bounds, rect)
    if (!isEmpty(part)) rects.push(part)
  }
  if (areBanded(rects)) return { rects, stencils: [] }
  return { rects: [bounds], stencils: [{ rect: bounds, bits: unionOf(bounds, rects) }] }
}

/** The smallest rectangle around a region; undefined for an empty one. */
export function boundsOf({ rects }: Region): Rect | undefined {
  if (rects.length === 0) return undefined
  return rects.reduce((all, { top, left, bottom, right }) => ({
    top: Math.min(all.top, top),
    left: Math.min(all.left, left),
    bottom: Math.max(all.bottom, bottom),
    right: Math.max(all.right, right),
  }))
}

/** The part of a region within a rectangle. */
export function limitTo(region: Region, limit: Rect): Region {
  const rects = region.rects.map((rect) => intersect(rect, limit)).filter((rect) => !isEmpty(rect))
  return { rects, stencils: region.stencils }
}

/** The region without the pixels that a stencil leaves out, and within its rectangle. */
export function within(region: Region, stencil: Stencil): Region {
  return { rects: limitTo(region, stencil.rect).rects, stencils: [...region.stencils, stencil] }
}

// The order in which X regions and SPICE servers list them: then no two overlap.
function areBanded(rects: readonly Rect[]): boolean {
  for (let index = 1; index < rects.length; index++) {
    const before = rects[index - 1] as Rect
    const rect = rects[index] as Rect
    const sameBand = rect.top === before.top && rect.bottom === before.bottom && rect.left >= before.right
    if (!sameBand && rect.top < before.bottom) return false
  }
  return true
}

// Corners first, then sums over rows and columns: linear, however many rectangles overlap.
function unionOf(bounds: Rect, rects: readonly Rect[]): Uint8Array {
  const width = bounds.right - bounds.left
  const height = bounds.bottom - bounds.top
  const stride = width + 1
  const depth = new Int32Array(stride * (height + 1))
  const add = (x: number, y: number, change: number) => {
    const at = (y - bounds.top) * stride + x - bounds.left
    depth[at] = (depth[at] as number) + change
  }
  for (const { top, left, bottom, right } of rects) {
    add(left, top, 1)
    add(right, top, -1)
    add(left, bottom, -1)
    add(right, bottom, 1)
  }
  const bits = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    let sum = 0
    for (let x = 0; x < width; x++) {
      const at = y * stride + x
      sum += depth[at] as number
      // The row above already holds its own totals.
      const total = sum + (y > 0 ? (depth[at - stride] as number) : 0)
      depth[at] = total
      if (total > 0) bits[y * width + x] = 1
    }
  }
  return bits
}

/** One horizontal run of pixels on the surface. */
export type Run = (x: number, y: number, count: number) => void

/** Calls `run` for every run of pixels of the region, each pixel once, downwards and to the right. */
export function forEachRun(region: Region, run: Run): void {
  const { rects, stencils } = region
  for (const { top, left, bottom, right } of rects) {
    for (let y = top; y < bottom; y++) {
      if (stencils.length === 0) run(left, y, right - left)
      else runsOfRow(stencils, left, right, y, run)
    }
  }
}

function runsOfRow(stencils: readonly Stencil[], left: number, right: number, y: number, run: Run): void {
  let start = -1
  for (let x = left; x < right; x++) {
    if (stencils.every((stencil) => isIn(stencil, x, y))) {
      if (start < 0) start = x
    } else if (start >= 0) {
      run(start, y, x - start)
      start = -1
    }
  }
  if (start >= 0) run(start, y, right - start)
}

function isIn({ rect, bits }: Stencil, x: number, y: number): boolean {
  return bits[(y - rect.top) * (rect.right - rect.left) + x - rect.left] !== 0
}
