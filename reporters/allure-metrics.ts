import { randomUUID } from 'node:crypto'
import {
  type RunModel,
  allEvidence,
  lastAttempt,
  latencyByPath,
  metricKey,
  pathName,
} from '../framework/evidence/index.ts'

/** One measured value of a run, as Allure reads it from `<id>-perf.json`. */
interface MetricSample {
  id: string
  key: string
  value: number
  /** Milliseconds since the epoch. */
  start: number
  stop: number
}

/** How Allure shows a metric. */
interface MetricDescription {
  title: string
  unit: string
  /** Which way is an improvement. */
  better: 'lower' | 'higher'
  group: string
}

/** What a run measured: samples for the results directory, descriptions for the report's configuration. */
export interface RunMetrics {
  samples: MetricSample[]
  metrics: Record<string, MetricDescription>
  groups: Record<string, { title: string }>
}

/**
 * Every metric the tests reported, and the run's latency by quantity, level and path, from the attempts that
 * count. Where only limits of a percentile are known the upper one is taken, so that a gate cannot pass by
 * rounding down.
 */
export function runMetrics(model: RunModel): RunMetrics {
  const start = model.run?.time ?? 0
  const stop = model.end?.time ?? start
  const found: RunMetrics = { samples: [], metrics: {}, groups: {} }
  const add = (
    key: string,
    value: number,
    at: { start: number; stop: number },
    description: MetricDescription,
    group: string,
  ) => {
    found.samples.push({ id: randomUUID(), key, value, ...at })
    found.metrics[key] ??= description
    found.groups[description.group] ??= { title: group }
  }
  const evidence = [...model.tests.values()].map((test) => allEvidence(lastAttempt(test)))
  for (const { key, value, unit, time } of evidence.flatMap(({ metrics }) => metrics)) {
    const better = unit.endsWith('/s') ? 'higher' : 'lower'
    add(key, value, { start: time, stop: time }, { title: key, unit, better, group: 'reported' }, 'Reported by tests')
  }
  const reported = new Set(Object.keys(found.metrics))
  const deliveries = evidence.flatMap(({ inputs }) => inputs.map(({ delivery }) => delivery))
  for (const latency of latencyByPath(deliveries)) {
    const group = metricKey(latency)
    const groupTitle = `${QUANTITIES[latency.quantity]}, ${latency.level}, ${pathName(latency.path)}`
    const { p50, p95, p99, maxMs } = latency
    const values = { p50: p50.highMs, p95: p95.highMs, p99: p99.highMs, max: maxMs }
    for (const statistic of ['p50', 'p95', 'p99', 'max'] as const) {
      const key = metricKey(latency, statistic)
      if (reported.has(key)) continue
      const description = { title: `${groupTitle}: ${statistic}`, unit: 'ms', better: 'lower' as const, group }
      add(key, values[statistic], { start, stop }, description, groupTitle)
    }
  }
  return found
}

const QUANTITIES = { 'key-to-guest': 'Key to guest', 'pointer-to-guest': 'Pointer to guest' }
