import type { Verdict } from '../framework/core/index.ts'
import {
  type AttemptView,
  type DeliveryRecord,
  type ErrorRecord,
  type Evidence,
  type PathLatency,
  type RunEvent,
  RunModel,
  type RunReporter,
  type RunStart,
  type RunSummary,
  type StepView,
  type TestStatus,
  type TestView,
  type VmRecord,
  allEvidence,
  allSteps,
  isFlaky,
  lastAttempt,
  latencyByPath,
  pathName,
  statusOf,
  summarise,
  titleOf,
  unverifiedOf,
  verdictOfTest,
} from '../framework/evidence/index.ts'
import { writeReport } from './report-file.ts'

export interface JsonReporterOptions {
  /** Where the document is written. */
  outputFile: string
}

/** The whole run as one document. Names are snake_case; durations are milliseconds. */
export interface JsonReport {
  version: 1
  run: string
  /** ISO 8601. */
  started: string | null
  passed: boolean
  /** Null when the run never reached its end. */
  exit_code: number | null
  duration_ms: number
  summary: RunSummary
  versions: RunStart['versions']
  hosts: RunStart['hosts']
  /** Errors outside of tests. */
  errors: ErrorRecord[]
  notices: { level: string; text: string }[]
  /** What the tests' last attempts measured, by quantity, level and path; each again by VM. */
  latency: (JsonLatency & { vms: (JsonLatency & { vm: string })[] })[]
  reports: JsonTestReport[]
}

/** Milliseconds. A percentile of which only limits are known is the upper one. */
export interface JsonLatency {
  quantity: string
  level: string
  path: string
  clocks: string[]
  actions: number
  samples: number
  p50: number
  p95: number
  p99: number
  max: number
  /** Each figure is true within ± this. */
  bound: number
  /** First samples of observers, which count apart. */
  warmup: number
  /** How many samples cannot be true and were left out, by reason. */
  excluded: Record<string, number>
}

/** One test, in the fields of the earlier implementation's report, plus verdict, input accounts and metrics. */
export interface JsonTestReport {
  scenario_name: string
  description: string | null
  tags: string[]
  passed: boolean
  /** Counted over the last attempt's steps, nested ones included. */
  steps_executed: number
  passed_count: number
  failed_count: number
  duration_ms: number
  steps: JsonStep[]
  test: string
  id: string | null
  file: string
  line: number | null
  status: TestStatus
  verdict: Verdict | null
  reason: string | null
  flaky: boolean
  /** Input actions nobody observed. */
  unverified: number
  errors: ErrorRecord[]
  vms: VmRecord[]
  wait_ms: number
  deliveries: ({ vm: string } & DeliveryRecord)[]
  metrics: { key: string; value: number; unit: string; bound_ms: number | null; samples: number | null }[]
  attachments: { name: string; content_type: string; path: string | null; text: string | null }[]
  /** Every attempt's end, the last one included. */
  attempts: {
    attempt: number
    status: TestStatus
    verdict: Verdict | null
    duration_ms: number
    errors: ErrorRecord[]
  }[]
}

export interface JsonStep {
  step_index: number
  description: string
  status: 'Success' | 'Failed' | 'Skipped'
  error: string | null
  duration_ms: number
  output: string | null
  /** Every input of the step arrived as sent; null when the step sent none or nobody looked. */
  verified: boolean | null
  /** p50 of the step's slowest input action; null without one. */
  verification_latency_ms: number | null
  kind: string
  /** `step_index` of the step around this one. */
  parent: number | null
}

/** Writes one JSON document when the run is over. */
export class JsonReporter implements RunReporter {
  readonly #model = new RunModel()
  readonly #outputFile: string

  constructor(options: JsonReporterOptions) {
    this.#outputFile = options.outputFile
  }

  onEvent(event: RunEvent): void {
    this.#model.apply(event)
  }

  /** @throws `ATP_REPORT_WRITE` */
  async close(): Promise<void> {
    await writeReport(this.#outputFile, `${JSON.stringify(jsonReport(this.#model), null, 2)}\n`)
  }
}

/** The document of a run. */
export function jsonReport(model: RunModel): JsonReport {
  const { run, end } = model
  return {
    version: 1,
    run: run?.run ?? end?.run ?? '',
    started: run ? new Date(run.time).toISOString() : null,
    passed: end?.exitCode === 0,
    exit_code: end?.exitCode ?? null,
    duration_ms: end?.durationMs ?? 0,
    summary: summarise(model),
    versions: run?.versions ?? {},
    hosts: run?.hosts ?? [],
    errors: end?.errors ?? [],
    notices: model.notices.map(({ level, text }) => ({ level, text })),
    latency: latencyReport([...model.tests.values()].flatMap((test) => allEvidence(lastAttempt(test)).inputs)),
    reports: [...model.tests.values()].map(testReport),
  }
}

function latencyReport(inputs: Evidence['inputs']): JsonReport['latency'] {
  const byVm = Object.entries(Object.groupBy(inputs, ({ vm }) => vm)).flatMap(([vm, ofVm = []]) =>
    latencyByPath(ofVm.map(({ delivery }) => delivery)).map((latency) => ({ vm, ...jsonLatency(latency) })),
  )
  return latencyByPath(inputs.map(({ delivery }) => delivery)).map((latency) => {
    const all = jsonLatency(latency)
    const isOf = (one: JsonLatency) => one.quantity === all.quantity && one.level === all.level && one.path === all.path
    return { ...all, vms: byVm.filter(isOf) }
  })
}

function jsonLatency({ path, p50, p95, p99, maxMs, boundMs, ...latency }: PathLatency): JsonLatency {
  const [upper50, upper95, upper99] = [p50.highMs, p95.highMs, p99.highMs]
  return { ...latency, path: pathName(path), p50: upper50, p95: upper95, p99: upper99, max: maxMs, bound: boundMs }
}

function testReport(test: TestView): JsonTestReport {
  const last = lastAttempt(test)
  const evidence = allEvidence(last)
  const steps = stepsOf(last)
  const count = (status: JsonStep['status']) => steps.filter((step) => step.status === status).length
  const description = test.meta['description']
  return {
    scenario_name: titleOf(test),
    description: typeof description === 'string' ? description : null,
    tags: test.tags,
    passed: statusOf(last) === 'passed',
    steps_executed: count('Success') + count('Failed'),
    passed_count: count('Success'),
    failed_count: count('Failed'),
    duration_ms: last.end?.durationMs ?? 0,
    steps,
    test: test.test,
    id: test.id ?? null,
    file: test.file,
    line: test.line ?? null,
    status: statusOf(last),
    verdict: verdictOfTest(test) ?? null,
    reason: last.end?.reason ?? null,
    flaky: isFlaky(test),
    unverified: unverifiedOf(test),
    errors: last.end?.errors ?? [],
    vms: last.vms,
    wait_ms: last.waitMs,
    deliveries: evidence.inputs.map(({ vm, delivery }) => ({ vm, ...delivery })),
    metrics: evidence.metrics.map(({ key, value, unit, boundMs, samples }) => ({
      key,
      value,
      unit,
      bound_ms: boundMs ?? null,
      samples: samples ?? null,
    })),
    attachments: evidence.attachments.map(({ name, contentType, path, text }) => ({
      name,
      content_type: contentType,
      path: path ?? null,
      text: text ?? null,
    })),
    attempts: test.attempts.map((attempt) => ({
      attempt: attempt.attempt,
      status: statusOf(attempt),
      verdict: attempt.end?.verdict ?? null,
      duration_ms: attempt.end?.durationMs ?? 0,
      errors: attempt.end?.errors ?? [],
    })),
  }
}

function stepsOf(attempt: AttemptView): JsonStep[] {
  const index = new Map<string, number>()
  return Array.from(allSteps(attempt.steps), (step, position) => {
    index.set(step.start.step, position)
    const deliveries = step.inputs.map(({ delivery }) => delivery)
    const latencies = deliveries.flatMap(({ latency }) => (latency ? [latency.p50Ms] : []))
    const unseen = deliveries.length === 0 || deliveries.some(({ outcome }) => outcome === 'unverified')
    return {
      step_index: position,
      description: step.start.title,
      status: stepStatus(step),
      error: step.end?.error?.message ?? (step.end ? null : 'the test ended before this step did'),
      duration_ms: step.end?.durationMs ?? 0,
      output: step.end?.note ?? null,
      verified: unseen ? null : deliveries.every(({ outcome }) => outcome === 'delivered'),
      verification_latency_ms: latencies.length > 0 ? Math.max(...latencies) : null,
      kind: step.start.kind,
      parent: step.start.parent === undefined ? null : (index.get(step.start.parent) ?? null),
    }
  })
}

function stepStatus({ end }: StepView): JsonStep['status'] {
  if (end?.status === 'passed') return 'Success'
  return end?.status === 'skipped' || end?.status === 'pending' ? 'Skipped' : 'Failed'
}
