import type { DeliveryRecord, InputPathName, ObservationLevel } from './events.ts'

/** A percentile of several actions together: exact when both ends are equal, else it lies between them. */
interface Range {
  lowMs: number
  highMs: number
}

/** Latency of one kind of input over one path as one observer saw it. Never mixed across any of the three. */
export interface PathLatency {
  /** `key-to-guest` or `pointer-to-guest`. */
  quantity: 'key-to-guest' | 'pointer-to-guest'
  level: ObservationLevel
  path: InputPathName
  actions: number
  samples: number
  p50: Range
  p95: Range
  maxMs: number
  /** The widest uncertainty of any of the actions. */
  boundMs: number
}

/**
 * Counts the latencies of several actions together, by quantity, level and path.
 *
 * Exact from the single values where every action carries them. From percentiles alone only limits are known:
 * a percentile of the union lies between the smallest and the largest of the parts' percentiles.
 */
export function latencyByPath(deliveries: readonly DeliveryRecord[]): PathLatency[] {
  const groups = new Map<string, DeliveryRecord[]>()
  for (const delivery of deliveries) {
    if (!delivery.latency || delivery.latency.samples === 0) continue
    const key = `${quantityOf(delivery)}.${delivery.latency.level}.${pathName(delivery.path)}`
    groups.set(key, [...(groups.get(key) ?? []), delivery])
  }
  return [...groups.values()].map(combine)
}

/** Metric key of one statistic: `key-to-guest.kernel.qmp-ps2.p95`. */
export function metricKey(latency: PathLatency, statistic: 'p50' | 'p95' | 'max'): string {
  return `${latency.quantity}.${latency.level}.${latency.path.via}-${latency.path.device}.${statistic}`
}

/** `p50 3.1 · p95 5.2 · max 7.0 ms ± 0.4 ms (24 samples)`. */
export function describeLatency(latency: Pick<PathLatency, 'p50' | 'p95' | 'maxMs' | 'boundMs' | 'samples'>): string {
  const range = ({ lowMs, highMs }: Range) => (lowMs === highMs ? ms(lowMs) : `${ms(lowMs)}–${ms(highMs)}`)
  return (
    `p50 ${range(latency.p50)} · p95 ${range(latency.p95)} · max ${ms(latency.maxMs)} ms ` +
    `± ${ms(latency.boundMs)} ms (${latency.samples} ${latency.samples === 1 ? 'sample' : 'samples'})`
  )
}

/** `qmp/ps2` */
export function pathName(path: InputPathName): string {
  return `${path.via}/${path.device}`
}

function quantityOf(delivery: DeliveryRecord): PathLatency['quantity'] {
  return delivery.action.startsWith('mouse') ? 'pointer-to-guest' : 'key-to-guest'
}

function combine(deliveries: DeliveryRecord[]): PathLatency {
  const [first] = deliveries as [DeliveryRecord]
  const parts = deliveries.flatMap(({ latency }) => (latency ? [latency] : []))
  const values = deliveries.flatMap(({ latenciesMs }) => latenciesMs ?? []).sort((a, b) => a - b)
  const exact = deliveries.every(
    ({ latency, latenciesMs }) => latenciesMs !== undefined && latenciesMs.length === latency?.samples,
  )
  const range = (fraction: number, of: (part: (typeof parts)[number]) => number): Range => {
    if (parts.length > 1 && exact) {
      const value = values[Math.max(0, Math.ceil(fraction * values.length) - 1)] as number
      return { lowMs: value, highMs: value }
    }
    return { lowMs: Math.min(...parts.map(of)), highMs: Math.max(...parts.map(of)) }
  }
  return {
    quantity: quantityOf(first),
    level: (parts[0] as (typeof parts)[number]).level,
    path: first.path,
    actions: deliveries.length,
    samples: parts.reduce((sum, { samples }) => sum + samples, 0),
    p50: range(0.5, ({ p50Ms }) => p50Ms),
    p95: range(0.95, ({ p95Ms }) => p95Ms),
    maxMs: Math.max(...parts.map(({ maxMs }) => maxMs)),
    boundMs: Math.max(...parts.map(({ boundMs }) => boundMs)),
  }
}

function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
