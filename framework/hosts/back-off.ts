/** A daemon that is only restarted is back within these, milliseconds. */
const FIRST_MS = [50, 100, 200]
const STEP_MS = 1000
const LONGEST_MS = 60_000
const JITTER = 0.25

/**
 * Milliseconds to wait before retry number `retry`, counted from 1: 50, 100, 200, then 1000, 2000, 4000 … 60000 and
 * 60000 from there on. Jitter takes away up to a quarter, so that the clients a daemon lost together do not come
 * back together. A success starts the count anew: that is the caller's to do.
 *
 * @param random 0 ≤ x < 1
 */
export function retryDelayMs(retry: number, random: () => number = Math.random): number {
  const fullMs = FIRST_MS[retry - 1] ?? Math.min(STEP_MS * 2 ** (retry - FIRST_MS.length - 1), LONGEST_MS)
  return Math.round(fullMs * (1 - JITTER * random()))
}
