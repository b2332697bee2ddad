import type { SpiceReader } from '../wire/reader.ts'
import { dashStyleOf, isDrawnOnce, plotDashes } from './draw-dashes.ts'
import { PATH_FLAG, type PathSegment, type Stroke } from './draw-messages.ts'
import { intersect, isEmpty, type Point, type Rect } from './geometry.ts'
import type { Rop2 } from './rop.ts'

/** Most pixels that one stroke may touch; more than any real drawing, less than a hang. */
const MAX_STROKE_PIXELS = 64 * 1024 * 1024

/**
 * The pixels of a stroke's lines, one pixel wide, as X servers and spice-server draw them: without the last one.
 *
 * @param bounds the part of the surface that matters.
 * @param rop how they will be drawn.
 * @param plot called for every pixel in it, dashes only.
 * @throws `ATP_SPICE_PROTOCOL` for a stroke of more than 64 Mi pixels.
 */
export function strokePixels(
  stroke: Stroke,
  bounds: Rect,
  rop: Rop2,
  reader: SpiceReader,
  plot: (x: number, y: number) => void,
): void {
  let pixels = 0
  const spend = (count: number) => {
    pixels += count
    if (pixels > MAX_STROKE_PIXELS) throw reader.error(`a stroke of more than ${MAX_STROKE_PIXELS} pixels`)
  }
  const { style, startWithGap, segments } = stroke
  const dashes = style && dashStyleOf(style.map(toPixel), startWithGap)
  const { left, top, right, bottom } = bounds
  const plotWithin = (x: number, y: number) => {
    if (x >= left && x < right && y >= top && y < bottom) plot(x, y)
  }
  for (const line of polylinesOf(segments, reader)) {
    if (dashes) plotDashes(line, dashes, bounds, isDrawnOnce(rop), plotWithin, spend)
    else {
      for (let index = 1; index < line.length; index++)
        spend(linePixels(line[index - 1] as Point, line[index] as Point, bounds, plotWithin))
    }
  }
}

// A half is rounded down.
function toPixel(fixed: number): number {
  return (fixed + 7) >> 4
}

function* polylinesOf(segments: readonly PathSegment[], reader: SpiceReader): Iterable<Point[]> {
  let line: Point[] = []
  let end: Point = { x: 0, y: 0 }
  for (const { flags, points } of segments) {
    if (flags & PATH_FLAG.begin) {
      if (line.length > 1) yield line
      line = []
    }
    if (flags & PATH_FLAG.bezier) {
      if (line.length > 0) addBeziers(line, points, end, reader)
    } else {
      for (let at = 0; at + 2 <= points.length; at += 2) addPoint(line, points[at] as number, points[at + 1] as number)
    }
    if (points.length >= 2) end = { x: points.at(-2) as number, y: points.at(-1) as number }
    if (flags & PATH_FLAG.end) {
      const [first] = line
      if (flags & PATH_FLAG.close && first) line.push(first)
      if (line.length > 1) yield line
      line = []
    }
  }
  if (line.length > 1) yield line
}

function addPoint(line: Point[], x: number, y: number): void {
  line.push({ x: toPixel(x), y: toPixel(y) })
}

/** Adds lines that follow Bézier curves, of which the first begins where the polyline ends. */
function addBeziers(line: Point[], points: Int32Array, start: Point, reader: SpiceReader): void {
  let from = start
  for (let at = 0; at + 6 <= points.length; at += 6) {
    const [x1, y1, x2, y2, x3, y3] = points.subarray(at, at + 6) as unknown as number[] as [
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    const end = { x: x3, y: y3 }
    addCurve(line, [from, { x: x1, y: y1 }, { x: x2, y: y2 }, end], 0)
    from = end
    if (line.length > MAX_POINTS) throw reader.error(`curves of more than ${MAX_POINTS} points`)
  }
}

type Curve = readonly [Point, Point, Point, Point]

// Halved until it is as good as straight; every half is at most a quarter as bent.
const MAX_HALVINGS = 12
/** Most points that the curves of a stroke may become. */
const MAX_POINTS = 1024 * 1024

function addCurve(line: Point[], curve: Curve, halvings: number): void {
  const [a, b, c, d] = curve
  if (halvings === MAX_HALVINGS || isFlat(curve)) {
    addPoint(line, d.x, d.y)
    return
  }
  const ab = middle(a, b)
  const bc = middle(b, c)
  const cd = middle(c, d)
  const abc = middle(ab, bc)
  const bcd = middle(bc, cd)
  const center = middle(abc, bcd)
  addCurve(line, [a, ab, abc, center], halvings + 1)
  addCurve(line, [center, bcd, cd, d], halvings + 1)
}

function middle(a: Point, b: Point): Point {
  return { x: Math.floor((a.x + b.x) / 2), y: Math.floor((a.y + b.y) / 2) }
}

// In sixteenths of a pixel; found by comparison with spice-server's lines.
const FLAT = 12

/** Whether both control points are near the straight line between the ends. */
function isFlat([a, b, c, d]: Curve): boolean {
  const dx = d.x - a.x
  const dy = d.y - a.y
  const length = Math.hypot(dx, dy) || 1
  const off = (p: Point) => Math.abs((p.x - a.x) * dy - (p.y - a.y) * dx) / length
  return off(b) <= FLAT && off(c) <= FLAT
}

/**
 * Bresenham's line as a formula, so that the parts outside of the bounds cost nothing.
 *
 * @returns how many pixels were looked at.
 */
function linePixels(from: Point, to: Point, bounds: Rect, plot: (x: number, y: number) => void): number {
  const box = {
    top: Math.min(from.y, to.y),
    left: Math.min(from.x, to.x),
    bottom: Math.max(from.y, to.y) + 1,
    right: Math.max(from.x, to.x) + 1,
  }
  const part = intersect(box, bounds)
  if (isEmpty(part)) return 1
  const dx = Math.abs(to.x - from.x)
  const dy = Math.abs(to.y - from.y)
  const signX = to.x < from.x ? -1 : 1
  const signY = to.y < from.y ? -1 : 1
  const alongX = dx > dy
  const [major, minor] = alongX ? [dx, dy] : [dy, dx]
  // Which way a tie goes depends on the octant, so that a line looks the same in both directions.
  const bias = isBiased(signX < 0, signY < 0, !alongX) ? 1 : 0
  const [first, last] = alongX
    ? stepsWithin(from.x, signX, part.left, part.right)
    : stepsWithin(from.y, signY, part.top, part.bottom)
  const end = Math.min(last, major - 1)
  for (let step = Math.max(first, 0); step <= end; step++) {
    const across = major === 0 ? 0 : Math.floor((2 * minor * step + major - bias) / (2 * major))
    const x = from.x + signX * (alongX ? step : across)
    const y = from.y + signY * (alongX ? across : step)
    plot(x, y)
  }
  return Math.max(end - first, 0) + 1
}

function stepsWithin(from: number, sign: number, low: number, high: number): [number, number] {
  return sign > 0 ? [low - from, high - 1 - from] : [from - high + 1, from - low]
}

/** X's octants 2 to 5. */
function isBiased(leftwards: boolean, upwards: boolean, steep: boolean): boolean {
  if (leftwards) return !steep || upwards
  return upwards && steep
}
