/** What a `WheelEvent` says of how far the wheel was turned. */
export interface WheelTurn {
  deltaX: number
  deltaY: number
  /** 0 pixels, 1 lines, 2 pages. */
  deltaMode: number
  /** Not in the standard, and of the opposite sign: 120 for a notch. */
  wheelDeltaX?: number | undefined
  wheelDeltaY?: number | undefined
}

const LEGACY_PER_NOTCH = 120
const LINES_PER_NOTCH = 3
const LINES = 1

/**
 * Notches as Linux counts them: up and right are positive. A turn that is told at all is at least one notch: how many
 * pixels a notch scrolls is a setting that no page can read.
 */
export function wheelNotches(turn: WheelTurn): { x: number; y: number } {
  const { deltaX, deltaY, deltaMode, wheelDeltaX, wheelDeltaY } = turn
  return {
    x: notches(deltaX, deltaMode, wheelDeltaX),
    // Minus zero would be another number in a message's text.
    y: 0 - notches(deltaY, deltaMode, wheelDeltaY),
  }
}

function notches(delta: number, mode: number, legacy: number | undefined): number {
  if (delta === 0) return 0
  const size = legacy ? Math.abs(legacy) / LEGACY_PER_NOTCH : mode === LINES ? Math.abs(delta) / LINES_PER_NOTCH : 1
  return Math.sign(delta) * Math.max(1, Math.round(size))
}
