import { build, type Histogram, HistogramLogWriter } from 'hdr-histogram-js'
import {
  type DeliveryRecord,
  type RunModel,
  allEvidence,
  kindName,
  lastAttempt,
  latencyKind,
  metricKey,
} from '../framework/evidence/index.ts'

/** A file that belongs to the whole run. */
export interface RunFile {
  name: string
  contentType: string
  text: string
}

interface Observed {
  /** Milliseconds since the epoch. */
  time: number
  test: string
  attempt: number
  vm: string
  delivery: DeliveryRecord
}

const NS_PER_MS = 1_000_000
/** The report holds every file in one page. */
const MOST_ROWS = 25_000
/** Steps of the percentile axis in each half of what remains, as HdrHistogram's own tools take. */
const TICKS_PER_HALF = 5

/**
 * Every latency of a run, from the attempts that count: `latency.csv` with each single sample, also those that count
 * apart or were left out; `latency.hlog` with one HDR histogram for each path and VM; and the distribution of each path
 * over all its VMs as `<key>.hgrm`. No files where nothing was measured. The first is cut after 25,000 samples, and says so.
 *
 * Histograms count nanoseconds to three digits. Values below zero, which the clocks' uncertainty may yield, count as zero.
 */
export function latencyFiles(model: RunModel): RunFile[] {
  const observed = [...model.tests.values()].flatMap((test) => {
    const { attempt, ...view } = lastAttempt(test)
    return allEvidence({ attempt, ...view }).inputs.map((input): Observed => ({ test: test.test, attempt, ...input }))
  })
  const rows = observed.flatMap(csvRows)
  if (rows.length === 0) return []
  const paths = histograms(observed)
  const rest = rows.splice(MOST_ROWS).length
  if (rest > 0) rows.push(`# ${rest} more rows are left out here; the JSON report has their samples`)
  const csv = { name: 'latency.csv', contentType: 'text/csv', text: [COLUMNS, ...rows, ''].join('\r\n') }
  if (paths.size === 0) return [csv]
  return [
    csv,
    { name: 'latency.hlog', contentType: 'text/plain', text: histogramLog(paths, model) },
    ...[...paths].map(([key, byVm]) => ({
      name: `${key}.hgrm`,
      contentType: 'text/plain',
      text: merged([...byVm.values()]).outputPercentileDistribution(TICKS_PER_HALF, NS_PER_MS),
    })),
  ]
}

const COLUMNS = 'time,test,attempt,vm,action,quantity,level,path,clock,kind,latency_ms,bound_ms,count,reason'

/** `kind` is `sample`, `warmup` or `excluded`; the last has a reason and how often instead of a latency. */
function csvRows({ time, test, attempt, vm, delivery }: Observed): string[] {
  const kind = latencyKind(delivery)
  if (!kind) return []
  const { action, latency, latenciesMs = [], warmupMs = [], excluded = {} } = delivery
  const [quantity, level, path] = kindName(kind).split(', ')
  const common = [new Date(time).toISOString(), test, attempt, vm, action, quantity, level, path, latency?.clock ?? '']
  const row = (...own: (string | number)[]) => [...common, ...own].map(csvField).join(',')
  return [
    ...warmupMs.map((value) => row('warmup', value, '', 1, '')),
    ...latenciesMs.map((value) => row('sample', value, latency?.boundMs ?? '', 1, '')),
    ...Object.entries(excluded).map(([reason, count]) => row('excluded', '', '', count, reason)),
  ]
}

/** As RFC 4180 has it. */
function csvField(value: string | number | undefined): string {
  const text = String(value ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** By path, then by VM. */
function histograms(observed: readonly Observed[]): Map<string, Map<string, Histogram>> {
  const paths = new Map<string, Map<string, Histogram>>()
  for (const { vm, delivery } of observed) {
    const kind = latencyKind(delivery)
    if (!kind || !delivery.latenciesMs || delivery.latenciesMs.length === 0) continue
    const key = metricKey(kind)
    const byVm = paths.get(key) ?? new Map<string, Histogram>()
    paths.set(key, byVm)
    const histogram = byVm.get(vm) ?? newHistogram()
    byVm.set(vm, histogram)
    for (const value of delivery.latenciesMs) histogram.recordValue(Math.max(0, Math.round(value * NS_PER_MS)))
  }
  return paths
}

function histogramLog(paths: ReadonlyMap<string, ReadonlyMap<string, Histogram>>, model: RunModel): string {
  const lines: string[] = []
  const startMs = model.run?.time ?? 0
  const endMs = model.end?.time ?? startMs
  const writer = new HistogramLogWriter((text) => lines.push(text))
  writer.outputComment('[Values are nanoseconds]')
  writer.outputLogFormatVersion()
  writer.outputStartTime(startMs)
  writer.outputLegend()
  for (const [key, byVm] of paths) {
    for (const [vm, histogram] of byVm) {
      // The format has no way to quote a tag.
      histogram.tag = `${key}/${vm}`.replaceAll(/[,\s]/g, '_')
      writer.outputIntervalHistogram(histogram, 0, (endMs - startMs) / 1000, NS_PER_MS)
    }
  }
  return lines.join('')
}

function merged(parts: readonly Histogram[]): Histogram {
  const all = newHistogram()
  for (const part of parts) all.add(part)
  return all
}

function newHistogram(): Histogram {
  return build({ lowestDiscernibleValue: 1, numberOfSignificantValueDigits: 3, autoResize: true })
}
