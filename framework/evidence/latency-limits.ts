import { assertionError, configError, parseDuration, type Verdict } from '../core/index.ts'
import type { DeliveryRecord } from './events.ts'
import { describeCounts, kindName, latencyByPath, withoutLatency, type PathLatency } from './latency.ts'

/** Highest values that are allowed: milliseconds, or texts such as `20ms`, `<20ms`. */
export interface LatencyLimits {
  p50?: number | string
  p95?: number | string
  p99?: number | string
  max?: number | string
  /** Fewer samples make the assertion inconclusive, which fails. Default 20. */
  minSamples?: number
}

/** What a comparison with limits came to. */
export interface LatencyJudgement {
  pass: boolean
  /** What was measured, and for each limit that does not hold how it was broken. */
  text: string
}

export const LATENCY_STATISTICS = ['p50', 'p95', 'p99', 'max'] as const
const DEFAULT_MIN_SAMPLES = 20
/** Percent of all samples that must be known, so that those left out cannot be what the statistic is. */
const KNOWN_PERCENT = { p50: 50, p95: 95, p99: 99, max: 100 } as const

/**
 * Compares the latencies of input actions with limits.
 *
 * @param what they are, for messages: `keyboard.type`, `the keyboard of vm-001`.
 * @throws `ATP_EXPECT_LIMIT` for limits that are none; `ATP_EXPECT_MIXED` when they went over several paths or were seen
 * at several levels; `ATP_EXPECT_INCONCLUSIVE` with too few samples, too many left out,
 * or a limit inside value ± bound.
 */
export function judgeLatency(
  what: string,
  deliveries: readonly DeliveryRecord[],
  { minSamples = DEFAULT_MIN_SAMPLES, ...limits }: LatencyLimits,
): LatencyJudgement {
  const asked = LATENCY_STATISTICS.flatMap((statistic) => {
    const limit = limits[statistic]
    return limit === undefined ? [] : [{ statistic, limitMs: limitOf(statistic, limit) }]
  })
  if (asked.length === 0) throw limitError('no limit is given')
  const unknown = Object.keys(limits).find((name) => !LATENCY_STATISTICS.some((statistic) => statistic === name))
  if (unknown !== undefined) throw limitError(`there is no statistic "${unknown}"`)
  if (!Number.isInteger(minSamples) || minSamples < 1) throw limitError(`minSamples is ${minSamples}`)
  const [latency, ...others] = latencyByPath(deliveries)
  if (!latency) throw inconclusive(what, noSampleReason(deliveries), 'infrastructure')
  if (others.length > 0) {
    const kinds = [latency, ...others].map((one) => `${kindName(one)} (${one.samples})`)
    throw configError(
      'ATP_EXPECT_MIXED',
      `${what}: latencies of several kinds are not comparable: ${kinds.join('; ')}`,
      {
        remedy: 'assert on the deliveries of one path, or give all input the same via, device and observe',
      },
    )
  }
  if (latency.samples < minSamples) {
    const few = `${describeCounts(latency)}; this assertion needs ${minSamples}`
    throw inconclusive(what, few, Object.keys(latency.excluded).length > 0 ? 'infrastructure' : 'spec')
  }
  const verdicts = asked.map(({ statistic, limitMs }) => compare(latency, statistic, limitMs))
  const broken = verdicts.filter(({ broke }) => broke)
  if (broken.length > 0) return { pass: false, text: broken.map(({ text }) => text).join('\n') }
  const open = verdicts.filter(({ unknown }) => unknown)
  if (open.length > 0) throw inconclusive(what, open.map(({ text }) => text).join('\n'), 'infrastructure')
  return { pass: true, text: verdicts.map(({ text }) => text).join(', ') }
}

function compare(latency: PathLatency, statistic: (typeof LATENCY_STATISTICS)[number], limitMs: number) {
  const { boundMs, maxMs, samples, excluded } = latency
  const { lowMs, highMs } = statistic === 'max' ? { lowMs: maxMs, highMs: maxMs } : latency[statistic]
  const value = lowMs === highMs ? lowMs.toFixed(2) : `${lowMs.toFixed(2)}–${highMs.toFixed(2)}`
  const shown = `${statistic} is ${value} ± ${boundMs.toFixed(2)} ms`
  if (lowMs - boundMs > limitMs) return { broke: true, text: `${shown}, over the limit of ${limitMs} ms` }
  if (highMs + boundMs > limitMs) return { unknown: true, text: `${shown}, and the limit of ${limitMs} ms lies inside` }
  const left = Object.values(excluded).reduce((sum, count) => sum + count, 0)
  if (100 * samples < KNOWN_PERCENT[statistic] * (samples + left)) {
    return { unknown: true, text: `${shown}, and those left out may have been slower: ${describeCounts(latency)}` }
  }
  return { text: shown }
}

function limitOf(statistic: string, limit: number | string): number {
  const text = String(limit).replace(/^\s*<=?\s*/, '')
  try {
    return parseDuration(/^[\d.]+$/.test(text) ? Number(text) : text)
  } catch (cause) {
    throw limitError(`${statistic}: ${JSON.stringify(limit)} is no duration`, cause)
  }
}

function limitError(problem: string, cause?: unknown): Error {
  return configError('ATP_EXPECT_LIMIT', `limits of latency: ${problem}`, {
    cause,
    remedy: "name one or more of p50, p95, p99 and max, each as milliseconds or as '20ms', '<1s'",
  })
}

function noSampleReason(deliveries: readonly DeliveryRecord[]): string {
  if (deliveries.length === 0) return 'nothing was sent'
  const counted = withoutLatency(deliveries).map((kind) => `${kindName(kind)}: ${describeCounts(kind)}`)
  const unseen = deliveries.flatMap(({ reason }) => reason ?? [])
  const reasons = [...new Set([...counted, ...unseen])]
  return reasons.length > 0 ? reasons.join('; ') : 'no press, position or motion was observed'
}

function inconclusive(what: string, why: string, verdict: Verdict): Error {
  return assertionError('ATP_EXPECT_INCONCLUSIVE', `inconclusive: ${what}: ${why}`, {
    verdict,
    remedy: 'take more samples, raise minSamples no higher than that, or leave more room between limit and value',
  })
}
