import type { ErrorRecord, LatencySummary, SourceLocation, TestStatus } from '../evidence/events.ts'

/** What one run of a scenario did. JSON-serialisable apart from {@link TestReport.failure}. */
export interface TestReport {
  scenario: string
  id?: string
  description?: string
  tags: string[]
  file: string
  /** `failed`: the product did not do what was expected. `broken`: anything else stopped it. */
  status: 'passed' | 'failed' | 'broken' | 'interrupted'
  passed: boolean
  /** ISO 8601. */
  startedAt: string
  durationMs: number
  counts: { passed: number; failed: number; broken: number; skipped: number }
  /** Input actions nobody observed. */
  unverified: number
  /** Steps of setup, steps and teardown in the order they were met; steps inside others are nested. */
  steps: StepReport[]
  /** The first error; later ones are in their steps. */
  error?: ErrorRecord
  /** The thrown value behind `error`. Not enumerable, so not part of the JSON. */
  readonly failure?: unknown
}

export interface StepReport {
  /** Counts all steps of the report from 0, in the order they were met. */
  index: number
  /** Unique in the report; the id of its run events. */
  id: string
  phase: 'setup' | 'steps' | 'teardown'
  title: string
  action: string
  status: TestStatus
  durationMs: number
  /** 1 without retries; 0 for a step that was skipped. */
  attempts: number
  location: SourceLocation
  /** Names of the VMs it acted on. */
  vms: string[]
  error?: ErrorRecord
  /** Why it was skipped. */
  reason?: string
  note?: string
  output?: unknown
  /** Input steps: whether the guest was seen to receive all of it. */
  verified?: boolean
  latency?: LatencySummary[]
  steps?: StepReport[]
}

/** All steps of a report, those inside others after their holder. */
export function* walkReports(steps: readonly StepReport[]): Generator<StepReport> {
  for (const step of steps) {
    yield step
    if (step.steps) yield* walkReports(step.steps)
  }
}
