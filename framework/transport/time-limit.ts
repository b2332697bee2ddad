/** Longest time a timer can hold; it would fire at once for a longer one. */
const TIMER_MAX_MS = 2_147_483_647

/** Calls `onOver` when the caller's time is over. Without a limit, and with one that never comes, there is no timer. */
export function startLimit(
  timeoutMs: number | undefined,
  onOver: (limitMs: number) => void,
): NodeJS.Timeout | undefined {
  if (timeoutMs === undefined || timeoutMs > TIMER_MAX_MS) return undefined
  return setTimeout(onOver, timeoutMs, timeoutMs)
}
