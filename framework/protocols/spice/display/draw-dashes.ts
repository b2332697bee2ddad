import { intersect, isEmpty, type Point, type Rect } from './geometry.ts'
import type { Rop2 } from './rop.ts'

type Plot = (x: number, y: number) => void

/** Lengths of dashes and gaps in turn, whole pixels, and where in them a polyline begins. */
export interface DashStyle {
  lengths: readonly number[]
  start: number
}

/**
 * @param style lengths in pixels, dashes first.
 * @returns undefined where no length is more than 0.
 */
export function dashStyleOf(style: readonly number[], startWithGap: boolean): DashStyle | undefined {
  const lengths = style.map((length) => Math.max(length, 0))
  if (lengths.every((length) => length === 0)) return undefined
  if (!startWithGap) return { lengths, start: 0 }
  // Spice-server lets the first one come last, and begins with the second.
  const turned = [...lengths.slice(1), lengths[0] as number]
  return { lengths: turned, start: turned[0] as number }
}

/** Whether drawing a pixel twice is something else than drawing it once. */
export function isDrawnOnce(rop: Rop2): boolean {
  return (rop & 0b11) === 0b01 || rop >> 2 === 0b01
}

/** Where a position lies in the style. */
interface Position {
  index: number
  /** How much of that dash or gap is past. */
  past: number
}

/**
 * The pixels of a polyline's dashes, as X servers draw wide lines of width 1, and spice-server all lines of dashes: each
 * dash is a rectangle, to which those pixels belong whose middle lies in it, or on its left or upper edge. Dashes that
 * go on around a corner are joined by a mitre.
 *
 * @param bounds the part of the surface that matters; pixels elsewhere may be plotted, too.
 * @param isOnce {@link isDrawnOnce}: X servers take more care of joins then.
 * @param spend called with a measure of the work before it is done; may throw.
 */
export function plotDashes(
  line: readonly Point[],
  { lengths, start }: DashStyle,
  bounds: Rect,
  isOnce: boolean,
  plot: Plot,
  spend: (work: number) => void,
): void {
  const period = lengths.reduce((sum, length) => sum + length, 0)
  const positionAt = (distance: number): Position => {
    let past = distance % period
    let index = 0
    while (past >= (lengths[index] as number)) past -= lengths[index++] as number
    return { index, past }
  }
  const isDash = (distance: number) => positionAt(distance).index % 2 === 0
  const alwaysJoins = isOnce && line.length > 2
  let distance = start
  let first: { segment: Segment; isDash: boolean } | undefined
  let before: Segment | undefined
  for (let at = 1; at < line.length; at++) {
    const segment = segmentOf(line[at - 1] as Point, line[at] as Point)
    if (segment.length === 0) continue
    const position = positionAt(distance)
    first ??= { segment, isDash: position.index % 2 === 0 }
    // Where a dash begins at the corner it does not go around it.
    spend(JOIN_WORK)
    if (before && position.index % 2 === 0 && position.past > 0) plotJoin(before, segment, alwaysJoins, plot)
    plotSegment(segment, lengths, position, bounds, plot, spend)
    // The rest of a dash is cut to whole pixels.
    distance = Math.ceil(distance + segment.length)
    before = segment
  }
  const [begin, end] = [line[0], line.at(-1)]
  const isClosed = begin?.x === end?.x && begin?.y === end?.y
  if (isClosed && first?.isDash && before && isDash(distance - 1)) {
    const { index, past } = positionAt(distance)
    if (index % 2 === 1 || past > 0) plotJoin(before, first.segment, alwaysJoins, plot)
  }
}

/** About as much as so many pixels. */
const JOIN_WORK = 32
const DASH_WORK = 4

interface Segment {
  from: Point
  dx: number
  dy: number
  /** Euclidean. */
  length: number
}

function segmentOf(from: Point, to: Point): Segment {
  const [dx, dy] = [to.x - from.x, to.y - from.y]
  return { from, dx, dy, length: Math.hypot(dx, dy) }
}

function plotSegment(
  segment: Segment,
  lengths: readonly number[],
  { index, past }: Position,
  bounds: Rect,
  plot: Plot,
  spend: (work: number) => void,
): void {
  const { dx, dy, length } = segment
  const whole = dx * dx + dy * dy
  // A corner of each dash is summed up as X servers do it: whether a pixel is on an edge depends on the last bit.
  const half = 0.5 / length
  let [x, y] = [half * dy, -half * dx]
  let rest = (lengths[index] as number) - past
  let begin = 0
  for (let left = length; ;) {
    const isLast = left <= rest
    x += (rest * dx) / length
    y += (rest * dy) / length
    const end = isLast ? whole : x * dx + y * dy
    spend(DASH_WORK)
    if (index % 2 === 0 && end > begin) spend(plotRectangle(segment, begin, end, bounds, plot))
    if (isLast) return
    left -= rest
    begin = end
    index = index + 1 === lengths.length ? 0 : index + 1
    rest = lengths[index] as number
  }
}

/** A dash, drawn: how many rows it has. It goes from `begin` to `end` along the segment, in pixels times its length. */
function plotRectangle(
  { from, dx, dy, length }: Segment,
  begin: number,
  end: number,
  bounds: Rect,
  plot: Plot,
): number {
  // Places p within: a · p.x + b · p.y ≥ c.
  const edges = [
    [dx, dy, begin],
    [-dx, -dy, -end],
    [dy, -dx, -length / 2],
    [-dy, dx, -length / 2],
  ] as const
  const [rise, reach] = [dy / length ** 2, Math.abs(dx / length) / 2]
  const rows = intersect(bounds, {
    left: bounds.left,
    right: bounds.right,
    top: from.y + Math.floor(Math.min(begin * rise, end * rise) - reach),
    bottom: from.y + Math.ceil(Math.max(begin * rise, end * rise) + reach) + 1,
  })
  if (isEmpty(rows)) return 0
  for (let y = rows.top; y < rows.bottom; y++) {
    let [left, right] = [bounds.left - from.x, bounds.right - from.x]
    for (const [a, b, c] of edges) {
      const above = -b * (y - from.y)
      // Pixels on a left or an upper edge belong to it, others do not.
      if (a > 0) left = Math.max(left, Math.ceil((above + Math.ceil(c)) / a))
      else if (a < 0) right = Math.min(right, Math.ceil((Math.ceil(-c) - above) / -a))
      else if (b > 0 ? -above < c : -above <= c) right = left
    }
    for (let x = left; x < right; x++) plot(from.x + x, y)
  }
  return rows.bottom - rows.top
}

/** How long a mitre may be, squared, in half pixels: angles below 11 degrees are cut off. */
const MITRE_MAX = 108.856472512142

/** The pixels outside of a corner. */
function plotJoin(before: Segment, after: Segment, always: boolean, plot: Plot): void {
  // One of both draws the pixel of the corner itself.
  if (!always && (isForwards(after.dx, after.dy) || isForwards(-before.dx, -before.dy))) return
  const cross = before.dx * after.dy - before.dy * after.dx
  if (cross === 0) return
  const side = Math.sign(cross) / 2
  const [a, b] = [outer(before, side), outer(after, side)]
  const along = ((b.x - a.x) * after.dy - (b.y - a.y) * after.dx) / cross
  const tip = { x: a.x + along * before.dx, y: a.y + along * before.dy }
  const isMitre = (tip.x ** 2 + tip.y ** 2) * 4 <= MITRE_MAX
  const corner = { x: 0, y: 0 }
  const around = isMitre ? [corner, a, tip, b] : [corner, a, b]
  plotConvex(after.from, side > 0 ? around : around.toReversed(), plot)
}

function isForwards(dx: number, dy: number): boolean {
  return dx > 0 || (dx === 0 && dy > 0)
}

/** The corner of a segment's end on one side. */
function outer({ dx, dy, length }: Segment, side: number): Point {
  return { x: (side * dy) / length, y: (-side * dx) / length }
}

/** A small polygon, its corners clockwise on the screen and counted from `from`. */
function plotConvex(from: Point, corners: readonly Point[], plot: Plot): void {
  const [xs, ys] = [corners.map(({ x }) => x), corners.map(({ y }) => y)]
  for (let y = Math.floor(Math.min(...ys)); y <= Math.ceil(Math.max(...ys)); y++) {
    for (let x = Math.floor(Math.min(...xs)); x <= Math.ceil(Math.max(...xs)); x++) {
      const isInside = corners.every((a, at) => {
        const b = corners[(at + 1) % corners.length] as Point
        const [across, down] = [a.y - b.y, b.x - a.x]
        const distance = (x - a.x) * across + (y - a.y) * down
        return distance > 0 || (distance === 0 && isForwards(across, down))
      })
      if (isInside) plot(from.x + x, from.y + y)
    }
  }
}
