import {
  type Attachment,
  type AttemptView,
  type ErrorRecord,
  type RunEvent,
  RunModel,
  type RunReporter,
  type TestView,
  allEvidence,
  describeLatency,
  isFlaky,
  lastAttempt,
  latencyByPath,
  metricKey,
  statusOf,
  summarise,
  unverifiedOf,
  verdictOfTest,
} from '../framework/evidence/index.ts'
import { errorDetails, errorHeadline } from './error-text.ts'
import { writeReport } from './report-file.ts'
import { type XmlElement, xmlDocument } from './xml.ts'

export interface JunitReporterOptions {
  /** Where the XML is written. */
  outputFile: string
}

/**
 * JUnit XML as CI systems read it: one suite per spec file; `failure` for the product's fault, `error` for all
 * others; earlier attempts as Maven Surefire writes them (`flakyFailure`/`flakyError` on a pass,
 * `rerunFailure`/`rerunError` on a fail); id, verdict, VMs, unverified input and latency as properties.
 */
export class JunitReporter implements RunReporter {
  readonly #model = new RunModel()
  readonly #outputFile: string

  constructor(options: JunitReporterOptions) {
    this.#outputFile = options.outputFile
  }

  onEvent(event: RunEvent): void {
    this.#model.apply(event)
  }

  /** @throws `ATP_REPORT_WRITE` */
  async close(): Promise<void> {
    await writeReport(this.#outputFile, junitXml(this.#model))
  }
}

/** The XML document of a run. */
export function junitXml(model: RunModel): string {
  const files = Map.groupBy(model.tests.values(), ({ file }) => file)
  const suites = [...files].map(([file, tests]) => suiteOf(file, tests))
  const outside = model.end?.errors ?? []
  if (outside.length > 0) suites.push(outsideOfTests(outside))
  const summary = summarise(model)
  return xmlDocument({
    name: 'testsuites',
    attributes: {
      name: model.run?.run ?? 'atp',
      ...countsOf([...model.tests.values()], outside.length),
      time: seconds(summary.durationMs),
      timestamp: model.run ? timestamp(model.run.time) : undefined,
    },
    children: suites,
  })
}

function suiteOf(file: string, tests: TestView[]): XmlElement {
  const first = Math.min(...tests.map((test) => test.attempts[0]?.startTime ?? Infinity))
  return {
    name: 'testsuite',
    attributes: {
      name: file || '(unknown file)',
      ...countsOf(tests, 0),
      time: seconds(tests.reduce((sum, test) => sum + durationOf(test), 0)),
      timestamp: timestamp(first),
      file: file || undefined,
    },
    children: tests.map(caseOf),
  }
}

function outsideOfTests(errors: ErrorRecord[]): XmlElement {
  return {
    name: 'testsuite',
    attributes: {
      name: 'outside of tests',
      tests: errors.length,
      failures: 0,
      errors: errors.length,
      skipped: 0,
      time: '0.000',
    },
    children: errors.map((error, index) => ({
      name: 'testcase',
      attributes: { classname: 'run', name: `error ${index + 1}`, time: '0.000' },
      children: [problem('error', [error], error.verdict)],
    })),
  }
}

/** A pending test of known fault (its worker died) is an error; one that bail or a signal kept from running is skipped. */
function outcomeOf(attempt: AttemptView): 'passed' | 'failure' | 'error' | 'skipped' {
  const status = statusOf(attempt)
  if (status === 'passed' || status === 'skipped') return status
  if (status === 'failed') return 'failure'
  return status === 'broken' || attempt.end === undefined || attempt.end.verdict ? 'error' : 'skipped'
}

function countsOf(tests: TestView[], moreErrors: number): Record<string, number> {
  const outcomes = tests.map((test) => outcomeOf(lastAttempt(test)))
  const count = (outcome: string) => outcomes.filter((candidate) => candidate === outcome).length
  return {
    tests: tests.length + moreErrors,
    failures: count('failure'),
    errors: count('error') + moreErrors,
    skipped: count('skipped'),
  }
}

function caseOf(test: TestView): XmlElement {
  const last = lastAttempt(test)
  const outcome = outcomeOf(last)
  const earlier = test.attempts.slice(0, -1)
  const prefix = outcome === 'passed' ? 'flaky' : 'rerun'
  const children: XmlElement[] = [{ name: 'properties', children: propertiesOf(test) }]
  if (outcome === 'skipped') {
    children.push({ name: 'skipped', attributes: { message: last.end?.reason ?? 'no reason was given' } })
  } else if (outcome !== 'passed') {
    children.push(problem(outcome, errorsOf(last), verdictOfTest(test)))
  }
  for (const attempt of earlier) {
    const kind = outcomeOf(attempt) === 'failure' ? 'Failure' : 'Error'
    children.push(rerun(`${prefix}${kind}`, attempt))
  }
  const output = allEvidence(last).attachments.map(attachmentLine).join('\n')
  if (output) children.push({ name: 'system-out', children: [output] })
  return {
    name: 'testcase',
    attributes: {
      classname: [test.file, ...test.path].filter(Boolean).join(' › ') || test.test,
      name: test.name,
      time: seconds(durationOf(test)),
      file: test.file || undefined,
      line: test.line,
    },
    children,
  }
}

function propertiesOf(test: TestView): XmlElement[] {
  const last = lastAttempt(test)
  const evidence = allEvidence(last)
  const properties: [string, string][] = [['id', test.id ?? test.test]]
  const verdict = verdictOfTest(test)
  if (verdict) properties.push(['verdict', verdict])
  const unverified = unverifiedOf(test)
  if (unverified > 0) properties.push(['unverified', String(unverified)])
  if (isFlaky(test)) properties.push(['flaky', 'true'])
  if (test.attempts.length > 1) properties.push(['attempts', String(test.attempts.length)])
  for (const tag of test.tags) properties.push(['tag', tag])
  for (const vm of last.vms) properties.push(['vm', `${vm.name}@${vm.host}`])
  for (const latency of latencyByPath(evidence.inputs.map(({ delivery }) => delivery))) {
    properties.push([metricKey(latency, 'p95'), String(latency.p95.highMs)], ['latency', describeLatency(latency)])
  }
  for (const { key, value, unit } of evidence.metrics) properties.push([key, `${value} ${unit}`])
  return properties.map(([name, value]) => ({ name: 'property', attributes: { name, value } }))
}

function errorsOf(attempt: AttemptView): ErrorRecord[] {
  const errors = attempt.end?.errors ?? []
  if (errors.length > 0) return errors
  const message = attempt.end ? (attempt.end.reason ?? 'failed without an error') : 'the run ended before this test did'
  return [{ message, verdict: attempt.end?.verdict ?? 'framework' }]
}

function problem(name: string, errors: ErrorRecord[], verdict: string | undefined): XmlElement {
  const [first] = errors
  return {
    name,
    attributes: { message: errors.map(errorHeadline).join('\n'), type: first?.code ?? first?.name ?? verdict },
    children: [errors.map(errorDetails).join('\n\n')],
  }
}

function rerun(name: string, attempt: AttemptView): XmlElement {
  const errors = errorsOf(attempt)
  const { attributes } = problem(name, errors, attempt.end?.verdict)
  return {
    name,
    ...(attributes ? { attributes } : {}),
    children: [{ name: 'stackTrace', children: [errors.map(errorDetails).join('\n\n')] }],
  }
}

/** Files in the form Jenkins and GitLab pick up; short texts as they are. */
function attachmentLine({ name, path, contentType }: Attachment): string {
  return path === undefined ? `${name} (${contentType})` : `[[ATTACHMENT|${path}]]`
}

function durationOf(test: TestView): number {
  return test.attempts.reduce((sum, { end }) => sum + (end?.durationMs ?? 0), 0)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}

/** ISO 8601 without the zone, as the JUnit schema asks; UTC. */
function timestamp(time: number): string | undefined {
  return Number.isFinite(time) ? new Date(time).toISOString().slice(0, 19) : undefined
}
