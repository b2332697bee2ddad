import type { PointerRecord } from '../evidence/events.ts'
import type { Recording } from './recording.ts'

/** Positions on QEMU's absolute axes. */
export const ABS_MAX = 32_767

export type Axis = 'x' | 'y'

/** The screen the pointer moves on, in pixels. */
export interface ScreenSize {
  width: number
  height: number
}

/** A place on the screen. */
export interface Place {
  asked: { x: number; y: number }
  unit: 'pixel' | 'fraction'
  /** The same on QEMU's axes. */
  axes: ReadonlyMap<Axis, number>
  screen: ScreenSize
}

/** The position on QEMU's axis for a pixel. It is off by at most half a unit: `width / 65534` pixels. */
export function pixelToAbs(pixel: number, sizePixels: number): number {
  return sizePixels <= 1 ? 0 : Math.round((pixel * ABS_MAX) / (sizePixels - 1))
}

/** The pixel, with fractions, that a position on the axis stands for: its ends are the first and the last pixel. */
function absToPixel(value: number, sizePixels: number): number {
  return (value * (sizePixels - 1)) / ABS_MAX
}

/** What the account says of a place: where the guest has the pointer, as far as it is known, and how far off that is. */
export function placeRecord(
  { asked, unit, screen }: Place,
  position: ReadonlyMap<Axis, number>,
): PointerRecord | undefined {
  const [x, y] = [position.get('x'), position.get('y')]
  if (x === undefined || y === undefined) return undefined
  if (unit === 'fraction') return recordOf(asked, { x: x / ABS_MAX, y: y / ABS_MAX }, unit)
  return recordOf(asked, { x: absToPixel(x, screen.width), y: absToPixel(y, screen.height) }, unit)
}

/** What the account says of relative motion: how far the guest moved. */
export function motionRecord(dx: number, dy: number, { observed }: Pick<Recording, 'observed'>): PointerRecord {
  const sum = (axis: number) =>
    observed.reduce((total, { type, code, value }) => total + (type === 'rel' && code === axis ? value : 0), 0)
  return recordOf({ x: dx, y: dy }, { x: sum(0), y: sum(1) }, 'count')
}

function recordOf(asked: PointerRecord['asked'], reached: PointerRecord['reached'], unit: PointerRecord['unit']) {
  return { unit, asked, reached, error: Math.hypot(reached.x - asked.x, reached.y - asked.y) }
}
