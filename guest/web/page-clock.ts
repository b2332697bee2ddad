import type { TimeAnswer } from '../protocol/index.ts'

/** How many steps of the clock are looked at, and how often it is read at most to see them. */
const STEPS = 20
const READINGS_MAX = 1_000_000
/** The coarsest clock a browser has: one that hides what its user does. */
const COARSEST_STEP_NS = 100_000_000

/**
 * The page's performance clock: nanoseconds since the page was opened.
 *
 * Browsers make it coarse on purpose, Chromium by steps of 0.1 ms, of 5 µs where the page is isolated from others.
 * The step is measured, not believed. Input is stamped with it when the page's script is told: the browser's own stamps
 * are those of the system's window server, whose steps are larger (X11 has 1 ms) and which no page can know.
 */
export class PageClock {
  /** The smallest step between two readings that differ. */
  readonly stepNs = measureStep()

  nowNs(): bigint {
    return nanoseconds(performance.now())
  }

  /** Answers the server's question. The stamp of an input and this answer may each be wrong by one step. */
  read(): Required<Pick<TimeAnswer, 'guest_ns' | 'error_ns'>> {
    return { guest_ns: String(this.nowNs()), error_ns: String(2 * this.stepNs) }
  }
}

function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6))
}

function measureStep(): number {
  let step = COARSEST_STEP_NS
  let before = performance.now()
  for (let steps = 0, readings = 0; steps < STEPS && readings < READINGS_MAX; readings++) {
    const now = performance.now()
    if (now === before) continue
    step = Math.min(step, Math.round((now - before) * 1e6))
    before = now
    steps++
  }
  return step
}
