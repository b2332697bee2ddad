import type { SpiceReader } from '../wire/reader.ts'

/** `SpiceRect`: right and bottom are the first column and row outside. */
export interface Rect {
  top: number
  left: number
  bottom: number
  right: number
}

/** `SpicePoint` */
export interface Point {
  x: number
  y: number
}

// Coordinates stay within 30 bits, so that sums and differences of two are still small integers.
const FARTHEST = 1 << 29

/** @throws `ATP_SPICE_PROTOCOL` when an edge is absurdly far away or the sides are the wrong way round. */
export function readRect(reader: SpiceReader): Rect {
  const rect = { top: reader.i32(), left: reader.i32(), bottom: reader.i32(), right: reader.i32() }
  const { top, left, bottom, right } = rect
  if (bottom < top || right < left || top < -FARTHEST || left < -FARTHEST || bottom > FARTHEST || right > FARTHEST) {
    throw reader.error(`the rectangle ${left},${top} to ${right},${bottom} is impossible`)
  }
  return rect
}

/** @throws `ATP_SPICE_PROTOCOL` when a coordinate is absurdly far away. */
export function readPoint(reader: SpiceReader): Point {
  const point = { x: reader.i32(), y: reader.i32() }
  if (Math.abs(point.x) > FARTHEST || Math.abs(point.y) > FARTHEST) {
    throw reader.error(`the point ${point.x},${point.y} is impossible`)
  }
  return point
}

/** The common part of two rectangles; empty ones have `right <= left` or `bottom <= top`. */
export function intersect(a: Rect, b: Rect): Rect {
  return {
    top: Math.max(a.top, b.top),
    left: Math.max(a.left, b.left),
    bottom: Math.min(a.bottom, b.bottom),
    right: Math.min(a.right, b.right),
  }
}

export function isEmpty({ top, left, bottom, right }: Rect): boolean {
  return right <= left || bottom <= top
}

export function rectOf(x: number, y: number, width: number, height: number): Rect {
  return { top: y, left: x, bottom: y + height, right: x + width }
}

export function sameSize(a: Rect, b: Rect): boolean {
  return a.right - a.left === b.right - b.left && a.bottom - a.top === b.bottom - b.top
}
