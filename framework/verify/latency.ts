import type { InputObserver } from '../input/api.ts'
import type { LatencySummary } from '../evidence/events.ts'

/** One input whose way into the guest was timed. */
export interface LatencySample {
  /** Injection → guest, milliseconds, true within ± `boundMs`. */
  latencyMs: number
  boundMs: number
  /** Injection → the observation's arrival on the host, milliseconds; one clock. */
  loopMs: number
  /** It is the first input that the observer saw at all. */
  warmup?: boolean
  /** Why the guest's time of it must not be believed. */
  invalid?: string
}

/** The latencies of one action. */
export interface ActionLatency {
  /** Undefined when no sample is left. */
  summary: LatencySummary | undefined
  latenciesMs: number[]
  warmupMs: number[]
  /** How many samples were left out, by reason. */
  excluded: Record<string, number>
}

/** A sample before its own injection, or after its observation was back on the host, by more than its bound. */
const IMPOSSIBLE = 'the guest clock moved: seen before it was sent, or after the report of it arrived'

/**
 * Summarises samples. Those that cannot be true are left out and counted; the first of an observer stands apart as its
 * warm-up. None is left out for being slow.
 */
export function summarizeLatency(
  { level, clock }: Pick<InputObserver, 'level' | 'clock'>,
  samples: readonly LatencySample[],
): ActionLatency {
  const excluded: Record<string, number> = {}
  const believed = samples.filter((sample) => {
    const reason = sample.invalid ?? (isPossible(sample) ? undefined : IMPOSSIBLE)
    if (reason !== undefined) excluded[reason] = (excluded[reason] ?? 0) + 1
    return reason === undefined
  })
  const kept = believed.filter(({ warmup }) => !warmup)
  const warmupMs = believed.filter(({ warmup }) => warmup).map(({ latencyMs }) => latencyMs)
  const latenciesMs = kept.map(({ latencyMs }) => latencyMs)
  if (kept.length === 0) return { summary: undefined, latenciesMs, warmupMs, excluded }
  const sorted = latenciesMs.toSorted((left, right) => left - right)
  const loops = kept.map((sample) => sample.loopMs).toSorted((left, right) => left - right)
  return {
    latenciesMs,
    warmupMs,
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
      ...(clock === undefined ? {} : { clock }),
    },
  }
}

function isPossible({ latencyMs, boundMs, loopMs }: LatencySample): boolean {
  return latencyMs >= -boundMs && latencyMs <= loopMs + boundMs
}

/** Nearest-rank percentile: the smallest value that at least `percent` % of the sorted values do not exceed. */
function percentile(sorted: readonly number[], percent: number): number {
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]
  if (value === undefined) throw new RangeError('a percentile of no values')
  return value
}
