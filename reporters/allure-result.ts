import { createHash } from 'node:crypto'
import { extname } from 'node:path'
import { type Label, type Link, LinkType, type Parameter, Stage, Status, type TestResult } from 'allure-js-commons'
import {
  type AttemptView,
  type DeliveryRecord,
  type TestStatus,
  type TestView,
  allEvidence,
  describeCounts,
  describeLatency,
  kindName,
  latencyByPath,
  pathName,
  statusOf,
  withoutLatency,
} from '../framework/evidence/index.ts'
import { errorDetails, errorHeadline } from './error-text.ts'

/** Allure's own details plus the flags its report reads and its types leave out. */
type Details = TestResult['statusDetails'] & { known?: boolean; flaky?: boolean }

const LONGEST_MESSAGE = 4000

/**
 * One attempt as an Allure result, without its steps and attachments.
 *
 * All attempts of a test share `testCaseId`; parameters are excluded from Allure's identity, because the VM and the
 * latency differ from run to run.
 *
 * @param issueUrl pattern with `%s` for known issues that are no URL themselves.
 */
export function allureResult(test: TestView, attempt: AttemptView, issueUrl: string | undefined): Partial<TestResult> {
  const identity = createHash('md5').update(test.test).digest('hex')
  return {
    name: nameOf(test, attempt),
    fullName: `${test.file}#${[...test.path, test.name].join(' › ')}`,
    titlePath: [...test.file.split('/').filter(Boolean), ...test.path],
    testCaseId: identity,
    historyId: identity,
    start: attempt.startTime,
    status: allureStatus(attempt),
    statusDetails: statusDetails(test, attempt),
    stage: attempt.end ? Stage.FINISHED : Stage.INTERRUPTED,
    description: description(test, attempt),
    labels: labels(test, attempt),
    links: links(test, issueUrl),
    parameters: parameters(attempt),
  }
}

/** The tree of the report shows the name and a colour only: unverified input must not pass there as plain green. */
function nameOf(test: TestView, attempt: AttemptView): string {
  return isUnverified(attempt) ? `${test.name} · unverified` : test.name
}

function isUnverified(attempt: AttemptView): boolean {
  const inputs = allEvidence(attempt).inputs
  return (attempt.end?.unverified ?? 0) > 0 || inputs.some(({ delivery }) => delivery.outcome === 'unverified')
}

/** A test whose worker died is broken; one that bail or a signal kept from running is skipped, with the reason. */
function allureStatus(attempt: AttemptView): Status {
  if (!attempt.end) return Status.BROKEN
  switch (statusOf(attempt)) {
    case 'passed':
      return Status.PASSED
    case 'failed':
      return Status.FAILED
    case 'broken':
      return Status.BROKEN
    case 'skipped':
      return Status.SKIPPED
    case 'pending':
      return attempt.end.verdict ? Status.BROKEN : Status.SKIPPED
  }
}

/** The status of a step; one that never ended was cut off. */
export function allureStepStatus(status: TestStatus | undefined): Status {
  if (status === undefined) return Status.BROKEN
  return status === 'pending' ? Status.SKIPPED : (status as Status)
}

function statusDetails(test: TestView, attempt: AttemptView): Details {
  const { end } = attempt
  const details: Details = {}
  if (!end) details.message = 'the run ended before this test did'
  else if (end.errors.length > 0) {
    details.message = end.errors.map(errorHeadline).join('\n\n').slice(0, LONGEST_MESSAGE)
    details.trace = end.errors.map(errorDetails).join('\n\n')
    const compared = end.errors.find(({ expected }) => expected !== undefined)
    if (compared?.expected !== undefined) details.expected = compared.expected
    if (compared?.actual !== undefined) details.actual = compared.actual
  } else if (end.reason) details.message = end.status === 'pending' ? `never ran: ${end.reason}` : end.reason
  if (end?.flaky) details.flaky = true
  if (test.meta['knownIssue']) details.known = true
  return details
}

/** What must not be overlooked, at the head of the result. Markdown. */
function description(test: TestView, attempt: AttemptView): string {
  const { end } = attempt
  const lines: string[] = []
  if (typeof test.meta['description'] === 'string') lines.push(test.meta['description'])
  const verdict = end?.verdict
  if (verdict) lines.push(`**Verdict: ${verdict}** (${VERDICT_MEANING[verdict]})`)
  const inputs = allEvidence(attempt).inputs.map(({ delivery }) => delivery)
  const unverified = inputs.filter(({ outcome }) => outcome === 'unverified')
  const count = Math.max(unverified.length, end?.unverified ?? 0)
  if (count > 0) {
    const reasons = [...new Set(unverified.flatMap(({ reason }) => (reason ? [reason] : [])))]
    const why = reasons.length > 0 ? `: ${reasons.join('; ')}` : ''
    lines.push(`⚠️ **Unverified:** nobody observed ${count} input ${count === 1 ? 'action' : 'actions'}${why}`)
  }
  const damaged = inputs.filter(({ outcome }) => outcome === 'damaged').length
  if (damaged > 0)
    lines.push(`⚠️ **Damaged:** ${damaged} input ${damaged === 1 ? 'action' : 'actions'} did not arrive as sent`)
  for (const latency of latencyByPath(inputs)) {
    lines.push(`Latency ${kindName(latency)}: ${describeLatency(latency)}`)
  }
  for (const counts of withoutLatency(inputs)) {
    lines.push(`Latency ${kindName(counts)}: none (${describeCounts(counts)})`)
  }
  if (end?.flaky) lines.push(`⚠️ **Flaky:** passed at attempt ${attempt.attempt}`)
  if (end?.reason) lines.push(`${end.status === 'pending' ? 'Never ran' : 'Reason'}: ${end.reason}`)
  return lines.join('\n\n')
}

const VERDICT_MEANING = {
  product: 'the system under test did not do what was expected',
  infrastructure: 'a host, VM, agent or connection failed',
  spec: 'the spec or its configuration is wrong',
  framework: 'ATP itself failed',
}

function labels(test: TestView, attempt: AttemptView): Label[] {
  const { end } = attempt
  const unverified = isUnverified(attempt)
  const list: [name: string, value: string | undefined][] = [
    ['framework', 'ocloudview-atp'],
    ['language', LANGUAGES[extname(test.file)] ?? 'typescript'],
    ['parentSuite', test.file || undefined],
    ['suite', test.path[0]],
    ['subSuite', test.path.slice(1).join(' › ') || undefined],
    ['testId', test.id],
    ['verdict', end?.verdict],
    ...test.tags.map((tag) => ['tag', tag] as [string, string]),
    ...(unverified
      ? ([
          ['tag', 'unverified'],
          ['verification', 'unverified'],
        ] as [string, string][])
      : []),
    ...(end?.flaky ? ([['tag', 'flaky']] as [string, string][]) : []),
    ...[...new Set(attempt.vms.map(({ host }) => host))].map((host) => ['host', host] as [string, string]),
    ...attempt.vms.map(({ name }) => ['vm', name] as [string, string]),
  ]
  return list.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]))
}

const LANGUAGES: Record<string, string> = { '.yaml': 'yaml', '.yml': 'yaml', '.json': 'json' }

function links(test: TestView, issueUrl: string | undefined): Link[] {
  const issues = [test.meta['knownIssue']].flat().filter((issue) => typeof issue === 'string')
  return issues.map((issue) => ({
    type: LinkType.ISSUE,
    name: issue,
    url: URL.canParse(issue) ? issue : (issueUrl?.replace('%s', encodeURIComponent(issue)) ?? issue),
  }))
}

function parameters(attempt: AttemptView): Parameter[] {
  const list: [name: string, value: string][] = []
  if (attempt.vms.length > 0) {
    list.push(['vm', attempt.vms.map(({ name }) => name).join(', ')])
    list.push(['host', [...new Set(attempt.vms.map(({ host }) => host))].join(', ')])
    // Steps make VMs in the test's own time.
    if (attempt.waitMs > 0) list.push(['waited for VM', `${attempt.waitMs.toFixed(0)} ms`])
  }
  if (attempt.attempt > 1) list.push(['attempt', String(attempt.attempt)])
  const evidence = allEvidence(attempt)
  // The page cuts long names and values: one figure each. The description has the whole sentence.
  for (const latency of latencyByPath(evidence.inputs.map(({ delivery }) => delivery))) {
    const what = latency.quantity === 'key-to-guest' ? 'key' : 'pointer'
    const where = `${latency.level} · ${pathName(latency.path)}`
    list.push([`${what} p50`, `${figure(latency.p50, latency.boundMs)} · ${where}`])
    list.push([`${what} p95`, `${figure(latency.p95, latency.boundMs)} · ${where}`])
  }
  for (const { key, value, unit, boundMs } of evidence.metrics) {
    list.push([key, `${value} ${unit}${boundMs === undefined ? '' : ` ± ${boundMs} ms`}`])
  }
  return list.map(toParameter)
}

/** The account of one input action, for its step. */
export function deliveryParameters(vm: string, delivery: DeliveryRecord): Parameter[] {
  const { outcome, sent, seen, lost, duplicated, reordered, reason, stuck, latency } = delivery
  const list: [string, string][] = [
    ['vm', vm],
    ['path', pathName(delivery.path)],
    ['verify', delivery.verify],
    ...(delivery.observed ? [['observed by', observerName(delivery.observed)] as [string, string]] : []),
  ]
  if (outcome === 'unverified')
    list.push(['delivery', `unverified: ${reason ?? 'nobody observed it'} (${sent} events sent)`])
  else {
    const account = [`${sent} events sent`, `${seen} seen`]
    if (outcome === 'damaged') account.push(`${lost} lost`, `${duplicated} duplicated`, `${reordered} reordered`)
    if (stuck.length > 0) account.push(`still down: ${stuck.join(', ')}`)
    if (delivery.repeats) account.push(`${delivery.repeats} repeated by the guest`)
    list.push(['delivery', `${outcome}: ${account.join(', ')}`])
  }
  if (delivery.pointer) {
    const { unit, asked, reached, error } = delivery.pointer
    const place = ({ x, y }: { x: number; y: number }) => `${Number(x.toFixed(4))}, ${Number(y.toFixed(4))}`
    list.push(['pointer', `${place(reached)} of ${place(asked)} ${unit}, ${Number(error.toFixed(4))} off`])
  }
  if (latency) {
    const own = latencyByPath([delivery])[0]
    if (own) list.push([`latency (${latency.level})`, describeLatency(own)])
    if (latency.loop)
      list.push([
        'host to host',
        `p50 ${latency.loop.p50Ms} · p95 ${latency.loop.p95Ms} · max ${latency.loop.maxMs} ms`,
      ])
    if (latency.clock !== undefined) list.push(['guest clock', latency.clock])
  }
  for (const value of delivery.warmupMs ?? []) list.push(['warm-up', `${value.toFixed(2)} ms`])
  for (const [why, samples] of Object.entries(delivery.excluded ?? {})) list.push(['left out', `${samples} (${why})`])
  return list.map(toParameter)
}

/** `agent (kernel)` */
function observerName({ by, level }: NonNullable<DeliveryRecord['observed']>): string {
  return `${by} (${level})`
}

/** What the step's line shows without being opened: the typical latency of what was seen, or that nobody looked. */
export function deliveryTitle(title: string, delivery: DeliveryRecord): string {
  const latency = latencyByPath([delivery])[0]
  const badges: string[] = delivery.outcome === 'delivered' ? [] : [delivery.outcome]
  if (latency) badges.push(`${latency.samples > 1 ? 'p50 ' : ''}${figure(latency.p50, latency.boundMs)}`)
  return [title, ...badges].join(' · ')
}

/** `2.60 ± 0.35 ms`; limits where only those are known. */
function figure({ lowMs, highMs }: { lowMs: number; highMs: number }, boundMs: number): string {
  const value = lowMs === highMs ? highMs.toFixed(2) : `${lowMs.toFixed(2)}–${highMs.toFixed(2)}`
  return `${value} ± ${boundMs.toFixed(2)} ms`
}

function toParameter([name, value]: [string, string]): Parameter {
  return { name, value, excluded: true }
}
