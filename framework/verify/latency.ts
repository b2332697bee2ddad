import type { LatencySummary, ObservationLevel } from '../evidence/events.ts'

/** One input whose way into the guest was timed. */
export interface LatencySample {
  /** Injection → guest, milliseconds, true within ± `boundMs`. */
  latencyMs: number
  boundMs: number
  /** Injection → the observation's arrival on the host, milliseconds; one clock. */
  loopMs: number
}

/** Reason under which {@link summarizeLatency} leaves out samples that cannot be true. */
const CLOCK_MOVED = 'the guest clock moved: seen before it was sent, or after the report of it arrived'

/**
 * Summarises samples. A sample before its own injection, or after its observation was back on the host, by more
 * than its bound cannot be true; it is left out and counted in `excluded`.
 *
 * @returns no summary when no sample is left.
 */
export function summarizeLatency(
  level: ObservationLevel,
  samples: readonly LatencySample[],
): { summary: LatencySummary | undefined; latenciesMs: number[]; excluded: number } {
  const kept = samples.filter(
    ({ latencyMs, boundMs, loopMs }) => latencyMs >= -boundMs && latencyMs <= loopMs + boundMs,
  )
  const excluded = samples.length - kept.length
  const latenciesMs = kept.map((sample) => sample.latencyMs)
  if (kept.length === 0) return { summary: undefined, latenciesMs, excluded }
  const sorted = latenciesMs.toSorted((left, right) => left - right)
  const loops = kept.map((sample) => sample.loopMs).toSorted((left, right) => left - right)
  return {
    latenciesMs,
    excluded,
    summary: {
      level,
      samples: kept.length,
      minMs: sorted[0] as number,
      p50Ms: percentile(sorted, 50),
      p95Ms: percentile(sorted, 95),
      p99Ms: percentile(sorted, 99),
      maxMs: sorted.at(-1) as number,
      boundMs: kept.reduce((widest, sample) => Math.max(widest, sample.boundMs), 0),
      loop: { p50Ms: percentile(loops, 50), p95Ms: percentile(loops, 95), maxMs: loops.at(-1) as number },
      ...(excluded > 0 ? { excluded: { [CLOCK_MOVED]: excluded } } : {}),
    },
  }
}

/** Nearest-rank percentile: the smallest value that at least `percent` % of the sorted values do not exceed. */
function percentile(sorted: readonly number[], percent: number): number {
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]
  if (value === undefined) throw new RangeError('a percentile of no values')
  return value
}
