import type { Verdict } from '../core/index.ts'
import type { DeliveryRecord, ErrorRecord, TestStatus } from './events.ts'
import { type RunModel, type TestView, allEvidence, lastAttempt, statusOf } from './run-model.ts'

/** The figures of one run, counted from its events. */
export interface RunSummary {
  files: number
  tests: number
  /** Tests by the status of their last attempt. */
  counts: Record<TestStatus, number>
  /** Failed and broken tests by whose fault it was. */
  verdicts: Record<Verdict, number>
  /** Passed after at least one failed attempt. */
  flaky: number
  /** Attempts beyond each test's first. */
  retries: number
  /** Tests that passed although input of theirs was observed by nobody. */
  unverifiedTests: number
  inputs: InputSummary
  /** VMs that had to be swept. */
  leaked: number
  durationMs: number
}

/** Input actions of the attempts that count, and the events they were made of. */
interface InputSummary {
  actions: number
  delivered: number
  damaged: number
  unverified: number
  sent: number
  seen: number
  lost: number
  duplicated: number
  reordered: number
}

/** Counts what the model holds. Before `run.end` the duration runs to the last event known, here 0. */
export function summarise(model: RunModel): RunSummary {
  const tests = [...model.tests.values()]
  const summary: RunSummary = {
    files: new Set(tests.map(({ file }) => file)).size,
    tests: tests.length,
    counts: { passed: 0, failed: 0, broken: 0, skipped: 0, pending: 0 },
    verdicts: { product: 0, infrastructure: 0, spec: 0, framework: 0 },
    flaky: 0,
    retries: 0,
    unverifiedTests: 0,
    inputs: countInputs(tests.flatMap((test) => allEvidence(lastAttempt(test)).inputs.map(({ delivery }) => delivery))),
    leaked: model.end?.leaked ?? 0,
    durationMs: model.end?.durationMs ?? 0,
  }
  for (const test of tests) {
    const last = lastAttempt(test)
    const status = statusOf(last)
    summary.counts[status]++
    summary.retries += test.attempts.length - 1
    if (isFlaky(test)) summary.flaky++
    if (status === 'passed' && unverifiedOf(test) > 0) summary.unverifiedTests++
    const verdict = verdictOfTest(test)
    if (verdict) summary.verdicts[verdict]++
  }
  return summary
}

function countInputs(deliveries: readonly DeliveryRecord[]): InputSummary {
  const sum: InputSummary = {
    actions: deliveries.length,
    delivered: 0,
    damaged: 0,
    unverified: 0,
    sent: 0,
    seen: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
  }
  for (const delivery of deliveries) {
    sum[delivery.outcome]++
    sum.sent += delivery.sent
    // What nobody watched was neither seen nor lost.
    if (delivery.outcome === 'unverified') continue
    sum.seen += delivery.seen
    sum.lost += delivery.lost
    sum.duplicated += delivery.duplicated
    sum.reordered += delivery.reordered
  }
  return sum
}

/** Passed in the end, after an attempt that did not. */
export function isFlaky(test: TestView): boolean {
  const last = lastAttempt(test)
  if (statusOf(last) !== 'passed') return false
  // An attempt that passed is repeated when its file runs again, after its worker died.
  return last.end?.flaky ?? test.attempts.some((attempt) => ['failed', 'broken'].includes(statusOf(attempt)))
}

/** Input actions of the last attempt that nobody observed: the runner's count or the account's, the larger. */
export function unverifiedOf(test: TestView): number {
  const last = lastAttempt(test)
  const counted = allEvidence(last).inputs.filter(({ delivery }) => delivery.outcome === 'unverified').length
  return Math.max(counted, last.end?.unverified ?? 0)
}

/** Whose fault a failed or broken test is; undefined for all others. */
export function verdictOfTest(test: TestView): Verdict | undefined {
  const { end } = lastAttempt(test)
  if (!end || !(end.status === 'failed' || end.status === 'broken' || end.status === 'pending')) return undefined
  if (end.status === 'pending') return end.verdict
  return end.verdict ?? end.errors[0]?.verdict ?? 'framework'
}

/** The error and its causes, outermost first. */
export function causeChain(error: ErrorRecord): ErrorRecord[] {
  const chain: ErrorRecord[] = []
  for (let next: ErrorRecord | undefined = error; next; next = next.cause) chain.push(next)
  return chain
}
