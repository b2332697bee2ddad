import type { DeliveryRecord, InputPathName, ObservationLevel } from './events.ts'

/** A percentile of several actions together: exact when both ends are equal, else it lies between them. */
interface Range {
  lowMs: number
  highMs: number
}

/** What figures belong to; never mixed across any of the three. */
interface LatencyKind {
  /** `key-to-guest` or `pointer-to-guest`. */
  quantity: 'key-to-guest' | 'pointer-to-guest'
  level: ObservationLevel
  path: InputPathName
}

/** What of one kind of input over one path was measured, and what was not. */
export interface LatencyCounts extends LatencyKind {
  actions: number
  samples: number
  /** First samples of observers, which count apart. */
  warmup: number
  /** Samples that cannot be true, by reason. */
  excluded: Record<string, number>
}

/** Latency of one kind of input over one path as one observer saw it. */
export interface PathLatency extends LatencyCounts {
  p50: Range
  p95: Range
  p99: Range
  maxMs: number
  /** Each of these figures is true within ± this. */
  boundMs: number
  /** What told the guests' time. */
  clocks: string[]
}

type Statistic = 'p50' | 'p95' | 'p99' | 'max'
const SHARES = { p50: 0.5, p95: 0.95, p99: 0.99 } as const

/**
 * Counts the latencies of several actions together, by quantity, level and path; those without a sample are left out.
 *
 * Exact from the single values where every action carries them. From percentiles alone only limits are known:
 * a percentile of the union lies between the smallest and the largest of the parts' percentiles.
 */
export function latencyByPath(deliveries: readonly DeliveryRecord[]): PathLatency[] {
  return groupsOf(deliveries).flatMap((group) => {
    const counts = countsOf(group)
    return counts.samples > 0 ? [combine(group, counts)] : []
  })
}

/** What was observed and has no latency at all. */
export function withoutLatency(deliveries: readonly DeliveryRecord[]): LatencyCounts[] {
  return groupsOf(deliveries)
    .map(countsOf)
    .filter(({ samples, warmup, excluded }) => samples === 0 && (warmup > 0 || Object.keys(excluded).length > 0))
}

/** Metric key of one statistic, `key-to-guest.kernel.qmp-ps2.p95`, or the part that all statistics share. */
export function metricKey({ quantity, level, path }: LatencyKind, statistic?: Statistic): string {
  return [quantity, level, `${path.via}-${path.device}`, ...(statistic ? [statistic] : [])].join('.')
}

/** `p50 3.10 · p95 5.20 · p99 6.80 · max 7.00 ms ± 0.40 ms (24 samples, 1 warm-up)`. */
export function describeLatency(latency: PathLatency): string {
  const range = ({ lowMs, highMs }: Range) => (lowMs === highMs ? ms(lowMs) : `${ms(lowMs)}–${ms(highMs)}`)
  return (
    `p50 ${range(latency.p50)} · p95 ${range(latency.p95)} · p99 ${range(latency.p99)} · max ${ms(latency.maxMs)} ms ` +
    `± ${ms(latency.boundMs)} ms (${describeCounts(latency)})`
  )
}

/** `24 samples, 1 warm-up, 3 left out: the guest clock was set meanwhile`. */
export function describeCounts({ samples, warmup, excluded }: LatencyCounts): string {
  const left = Object.entries(excluded).map(([reason, count]) => `, ${count} left out: ${reason}`)
  return [`${samples} ${samples === 1 ? 'sample' : 'samples'}`, warmup > 0 ? `, ${warmup} warm-up` : '', ...left].join(
    '',
  )
}

/** `key-to-guest, kernel, qmp/ps2` */
export function kindName({ quantity, level, path }: LatencyKind): string {
  return `${quantity}, ${level}, ${pathName(path)}`
}

/** `qmp/ps2` */
export function pathName(path: InputPathName): string {
  return `${path.via}/${path.device}`
}

/** What a delivery's latencies belong to; undefined when nobody observed it. */
export function latencyKind({ action, latency, observed, path }: DeliveryRecord): LatencyKind | undefined {
  const level = latency?.level ?? observed?.level
  const quantity = action.startsWith('mouse') ? 'pointer-to-guest' : 'key-to-guest'
  return level && { quantity, level, path }
}

type Group = readonly [DeliveryRecord, ...DeliveryRecord[]]

function groupsOf(deliveries: readonly DeliveryRecord[]): Group[] {
  const groups = new Map<string, [DeliveryRecord, ...DeliveryRecord[]]>()
  for (const delivery of deliveries) {
    const kind = latencyKind(delivery)
    if (!kind) continue
    const group = groups.get(kindName(kind))
    if (group) group.push(delivery)
    else groups.set(kindName(kind), [delivery])
  }
  return [...groups.values()]
}

function countsOf(group: Group): LatencyCounts {
  const excluded: Record<string, number> = {}
  for (const [reason, count] of group.flatMap((delivery) => Object.entries(delivery.excluded ?? {}))) {
    excluded[reason] = (excluded[reason] ?? 0) + count
  }
  return {
    ...(latencyKind(group[0]) as LatencyKind),
    actions: group.length,
    samples: group.reduce((sum, { latency }) => sum + (latency?.samples ?? 0), 0),
    warmup: group.reduce((sum, { warmupMs }) => sum + (warmupMs?.length ?? 0), 0),
    excluded,
  }
}

function combine(group: Group, counts: LatencyCounts): PathLatency {
  const parts = group.flatMap(({ latency }) => (latency ? [latency] : []))
  const exact = group.every(({ latency, latenciesMs = [] }) => latenciesMs.length === (latency?.samples ?? 0))
  const ends = (of: (part: (typeof parts)[number]) => number): Range => {
    // A run may have more actions than a call takes arguments.
    const sorted = parts.map(of).sort((left, right) => left - right)
    return { lowMs: sorted[0] as number, highMs: sorted.at(-1) as number }
  }
  const widestMs = ends(({ boundMs }) => boundMs).highMs
  const maxMs = ends((part) => part.maxMs).highMs
  const clocks = [...new Set(parts.flatMap(({ clock }) => clock ?? []))]
  const common = { ...counts, maxMs, clocks }
  if (parts.length === 1 || !exact) {
    const [p50, p95, p99] = [ends((part) => part.p50Ms), ends((part) => part.p95Ms), ends((part) => part.p99Ms)]
    return { ...common, p50, p95, p99, boundMs: widestMs }
  }
  // Each value is true within its own action's bound, so a percentile lies between those of all lower and all upper ends.
  const sorted = (sign: -1 | 0 | 1) =>
    group
      .flatMap(({ latenciesMs = [], latency }) => latenciesMs.map((value) => value + sign * (latency?.boundMs ?? 0)))
      .sort((left, right) => left - right)
  const [lows, values, highs] = [sorted(-1), sorted(0), sorted(1)]
  const widths = [...Object.values(SHARES), 1].map((share) =>
    Math.max(rank(highs, share) - rank(values, share), rank(values, share) - rank(lows, share)),
  )
  const at = (share: number): Range => ({ lowMs: rank(values, share), highMs: rank(values, share) })
  return {
    ...common,
    p50: at(SHARES.p50),
    p95: at(SHARES.p95),
    p99: at(SHARES.p99),
    boundMs: Math.max(...widths),
  }
}

/** Nearest rank: the smallest value that at least this share of the sorted values do not exceed. */
function rank(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] as number
}

function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
