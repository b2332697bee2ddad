import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { HistogramLogReader } from 'hdr-histogram-js'
import { describe, expect, it } from 'vitest'
import { RUN_EVENTS_VERSION, RunModel, type DeliveryRecord } from '../../../framework/evidence/index.ts'
import { AllureReporter } from '../../../reporters/allure.ts'
import { jsonReport } from '../../../reporters/json.ts'
import { latencyFiles } from '../../../reporters/latency-files.ts'
import { recordedRun } from './recorded-run.ts'

function typed(latenciesMs: number[], more: Partial<DeliveryRecord> = {}): DeliveryRecord {
  const [minMs, maxMs] = [Math.min(...latenciesMs), Math.max(...latenciesMs)]
  const figures = { minMs, p50Ms: minMs, p95Ms: maxMs, p99Ms: maxMs, maxMs, boundMs: 0.25, clock: 'echo' }
  return {
    action: 'keyboard.type',
    input: 'x',
    path: { via: 'qmp', device: 'ps2' },
    verify: 'observe',
    outcome: 'delivered',
    sent: 1,
    seen: 1,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    stuck: [],
    differences: [],
    durationMs: 1,
    ...(latenciesMs.length > 0 ? { latency: { level: 'kernel', samples: latenciesMs.length, ...figures } } : {}),
    latenciesMs,
    ...more,
  }
}

function modelOf(inputs: { vm: string; delivery: DeliveryRecord }[]): RunModel {
  const model = new RunModel()
  for (const { vm, delivery } of inputs) {
    model.apply({ v: RUN_EVENTS_VERSION, type: 'input', time: 0, test: '测试, "one"', attempt: 1, vm, delivery })
  }
  return model
}
const fileOf = (model: RunModel, name: string) => latencyFiles(model).find((file) => file.name === name)?.text ?? ''

describe('the files of a run', () => {
  it('hold each sample, also those that count apart or were left out', () => {
    const model = modelOf([
      { vm: 'vm-1', delivery: typed([1.5, 2.5], { warmupMs: [9], excluded: { 'the clock was set, twice': 3 } }) },
      { vm: 'vm-2', delivery: typed([]) },
    ])
    expect(latencyFiles(model).map(({ name }) => name)).toEqual([
      'latency.csv',
      'latency.hlog',
      'key-to-guest.kernel.qmp-ps2.hgrm',
    ])
    const [header, ...rows] = fileOf(model, 'latency.csv').split('\r\n')
    expect(header).toBe('time,test,attempt,vm,action,quantity,level,path,clock,kind,latency_ms,bound_ms,count,reason')
    const common = '1970-01-01T00:00:00.000Z,"测试, ""one""",1,vm-1,keyboard.type,key-to-guest,kernel,qmp/ps2,echo'
    expect(rows).toEqual([
      `${common},warmup,9,,1,`,
      `${common},sample,1.5,0.25,1,`,
      `${common},sample,2.5,0.25,1,`,
      `${common},excluded,,,3,"the clock was set, twice"`,
      '',
    ])
  })

  it('agree with the figures of the report to three digits, for each VM and for all together', () => {
    const latencies = fc.array(fc.double({ min: 0.001, max: 9000, noNaN: true }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(fc.array(latencies, { minLength: 1, maxLength: 4 }), (parts) => {
        const model = modelOf(parts.map((values, index) => ({ vm: `vm ${index}`, delivery: typed(values) })))
        const reader = new HistogramLogReader(fileOf(model, 'latency.hlog'))
        for (const [index, values] of parts.entries()) {
          const histogram = reader.nextIntervalHistogram()
          expect(histogram?.tag).toBe(`key-to-guest.kernel.qmp-ps2/vm_${index}`)
          expect(histogram?.totalCount).toBe(values.length)
          const sorted = values.toSorted((left, right) => left - right)
          for (const percent of [50, 95, 99]) {
            const exact = sorted[Math.ceil((percent / 100) * sorted.length) - 1] as number
            const found = (histogram?.getValueAtPercentile(percent) ?? 0) / 1e6
            expect(Math.abs(found - exact)).toBeLessThanOrEqual(exact * 0.001 + 1e-6)
          }
        }
        const total = /#\[Max *= *[\d.]+, Total count *= *(\d+)\]/.exec(
          fileOf(model, 'key-to-guest.kernel.qmp-ps2.hgrm'),
        )?.[1]
        expect(Number(total)).toBe(parts.flat().length)
      }),
      { numRuns: 25 },
    )
  })

  it('stay small enough for one page, and say what is missing', () => {
    const model = modelOf([{ vm: 'vm', delivery: typed(Array.from({ length: 25_002 }, () => 1)) }])
    const rows = fileOf(model, 'latency.csv').split('\r\n')
    expect(rows.length).toBe(1 + 25_000 + 2)
    expect(rows.at(-2)).toContain('2 more rows are left out')
  })

  it('are not there where nothing was measured', () => {
    expect(latencyFiles(modelOf([]))).toEqual([])
    const nothing = typed([], { observed: { by: 'evdev', level: 'kernel' }, excluded: { held: 1 } })
    expect(latencyFiles(modelOf([{ vm: 'vm', delivery: nothing }])).map(({ name }) => name)).toEqual(['latency.csv'])
  })

  it('belong to the run in the Allure results', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'atp-latency-'))
    const resultsDir = join(directory, 'results')
    const reporter = new AllureReporter({ resultsDir })
    for (const event of recordedRun(directory)) reporter.onEvent(event)
    await reporter.close()
    const globals = readdirSync(resultsDir).filter((name) => name.endsWith('-globals.json'))
    const attached = globals.flatMap((name) => {
      const { attachments = [] } = JSON.parse(readFileSync(join(resultsDir, name), 'utf8')) as {
        attachments?: { name: string; source: string }[]
      }
      return attachments
    })
    expect(attached.map(({ name }) => name).toSorted()).toEqual([
      'key-to-guest.kernel.qmp-ps2.hgrm',
      'key-to-guest.kernel.qmp-virtio.hgrm',
      'latency.csv',
      'latency.hlog',
    ])
    const csv = attached.find(({ name }) => name === 'latency.csv')
    expect(readFileSync(join(resultsDir, csv?.source ?? ''), 'utf8')).toContain('文本完整到达')
  })
})

describe('the JSON report', () => {
  it('has the figures of each path, and of each VM on it', () => {
    const model = modelOf([
      { vm: 'a', delivery: typed([1, 2, 3], { warmupMs: [9] }) },
      { vm: 'b', delivery: typed([5]) },
    ])
    const [latency] = jsonReport(model).latency
    expect(latency).toMatchObject({ path: 'qmp/ps2', samples: 4, p50: 2, p99: 5, max: 5, bound: 0.25, warmup: 1 })
    expect(latency?.vms.map(({ vm, samples, p50 }) => [vm, samples, p50])).toEqual([
      ['a', 3, 1],
      ['b', 1, 5],
    ])
  })
})
