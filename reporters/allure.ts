import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { Status } from 'allure-js-commons'
import type { RuntimeMessage } from 'allure-js-commons/sdk'
import { FileSystemWriter, ReporterRuntime } from 'allure-js-commons/sdk/reporter'
import { configError, messageOf, redact } from '../framework/core/index.ts'
import {
  ALLURE_MESSAGES_TYPE,
  type Attachment,
  type AttemptView,
  type DeliveryRecord,
  type Evidence,
  type RunEvent,
  RunModel,
  type RunReporter,
  type StepView,
  type TestView,
} from '../framework/evidence/index.ts'
import { attachmentContent, clearResults, isText } from './allure-files.ts'
import { runMetrics } from './allure-metrics.ts'
import { type AllureReport, type MetricLimit, generateReport } from './allure-report.ts'
import { allureResult, allureStepStatus, deliveryParameters, deliveryTitle } from './allure-result.ts'
import { errorDetails, errorHeadline } from './error-text.ts'
import { latencyFiles } from './latency-files.ts'
import { writeReport } from './report-file.ts'

export interface AllureReporterOptions {
  /** Directory of the results. An earlier run's results in it are removed when the run starts. */
  resultsDir: string
  /** Directory of the HTML report, replaced when the run is over. Without it only results are written. */
  reportDir?: string
  /** File that carries results and metrics from run to run, for trends. */
  historyPath?: string
  /** Title of the report. Default `OCloudView ATP`. */
  name?: string
  /** Limits on metrics; a run that breaks one, or never measured it, fails the gate. */
  qualityGate?: readonly MetricLimit[]
  /** Where known issues that are no URLs are found: `https://tracker.example/%s`. */
  issueUrl?: string
}

/**
 * Allure results: one per attempt, written as the attempt ends, with its own steps, evidence, input accounts
 * and latency; at the end the run's metrics and the report.
 */
export class AllureReporter implements RunReporter {
  readonly #model = new RunModel()
  readonly #options: AllureReporterOptions
  readonly #runtime: ReporterRuntime
  readonly #written = new WeakSet<AttemptView>()
  #failure: unknown
  #report: AllureReport | undefined

  constructor(options: AllureReporterOptions) {
    this.#options = { ...options, resultsDir: resolve(options.resultsDir) }
    this.#runtime = new ReporterRuntime({ writer: new FileSystemWriter({ resultsDir: this.#options.resultsDir }) })
  }

  /** The report and its gate, once {@link AllureReporter.close} has made it. */
  get report(): AllureReport | undefined {
    return this.#report
  }

  /** Never throws: what could not be written makes `close` reject. */
  onEvent(raw: RunEvent): void {
    try {
      const event = this.#model.apply(raw)
      if (event.type === 'run.start') clearResults(this.#options.resultsDir)
      if (event.type !== 'test.end') return
      const test = this.#model.tests.get(event.test)
      const attempt = this.#model.attempt(event.test, event.attempt)
      if (test && attempt) this.#write(test, attempt)
    } catch (error) {
      this.#failure ??= error
    }
  }

  /** @throws `ATP_REPORT_WRITE`, `ATP_ALLURE_REPORT` */
  async close(): Promise<void> {
    const { resultsDir, reportDir, historyPath, name = 'OCloudView ATP', qualityGate = [] } = this.#options
    const metrics = runMetrics(this.#model)
    try {
      for (const test of this.#model.tests.values()) {
        for (const attempt of test.attempts) if (!this.#written.has(attempt)) this.#write(test, attempt)
      }
      this.#writeRun()
      if (this.#failure) throw this.#failure
    } catch (cause) {
      throw configError(
        'ATP_REPORT_WRITE',
        `Allure results could not be written to ${resultsDir}: ${messageOf(cause)}`,
        {
          cause,
          context: { resultsDir },
          remedy: 'make the directory writable or name another under "report" in the configuration',
        },
      )
    }
    if (metrics.samples.length > 0) {
      await writeReport(resolve(resultsDir, `${randomUUID()}-perf.json`), JSON.stringify(metrics.samples))
    }
    if (reportDir === undefined) return
    this.#report = await generateReport({
      resultsDir,
      reportDir,
      name,
      metrics,
      qualityGate,
      ...(historyPath === undefined ? {} : { historyPath }),
    })
  }

  #writeRun(): void {
    const { run, end } = this.#model
    this.#runtime.writer.writeEnvironmentInfo({
      ...run?.versions,
      ...Object.fromEntries(
        (run?.hosts ?? []).map(({ id, uri, capacity }) => [`host ${id}`, `capacity ${capacity} · ${uri}`]),
      ),
      ...(run ? { run: run.run } : {}),
    })
    const errors = (end?.errors ?? []).map((error) => ({ message: errorHeadline(error), trace: errorDetails(error) }))
    if (end && end.leaked > 0) errors.push({ message: `leaked VMs that had to be swept: ${end.leaked}`, trace: '' })
    this.#runtime.applyGlobalRuntimeMessages([
      ...errors.map((data) => ({ type: 'global_error' as const, data })),
      ...latencyFiles(this.#model).map(({ text, ...file }) => ({
        type: 'global_attachment_content' as const,
        data: { ...file, content: Buffer.from(text).toString('base64'), encoding: 'base64' as const },
      })),
    ])
  }

  #write(test: TestView, attempt: AttemptView): void {
    this.#written.add(attempt)
    const root = this.#runtime.startTest(allureResult(test, attempt, this.#options.issueUrl))
    this.#writeEvidence(root, null, attempt, attempt.steps)
    for (const message of authorsMessages(attempt)) {
      try {
        this.#runtime.applyRuntimeMessages(root, [message])
      } catch (error) {
        // One attachment whose file is gone must not cost the other results.
        this.#attach(root, null, {
          name: 'an allure call of the spec failed',
          contentType: 'text/plain',
          text: messageOf(error),
        })
      }
    }
    // A spec that was cut off leaves steps of its own open.
    for (let open = this.#runtime.currentStep(root); open; open = this.#runtime.currentStep(root)) {
      this.#runtime.updateStep(open, (step) => (step.status = Status.BROKEN))
      this.#runtime.stopStep(open, { stop: endOf(attempt) })
    }
    this.#runtime.updateTest(root, (result) => result.steps.sort((a, b) => (a.start ?? 0) - (b.start ?? 0)))
    this.#runtime.stopTest(root, { stop: endOf(attempt) })
    this.#runtime.writeTest(root)
  }

  /** Steps and input actions in the order they began, then attachments. */
  #writeEvidence(root: string, parent: string | null, evidence: Evidence, steps: StepView[], ownAction?: string): void {
    const entries = [
      ...steps.map((step) => ({ start: step.start.time, write: () => this.#writeStep(root, parent, step) })),
      ...evidence.inputs
        .filter(({ delivery }) => delivery.action !== ownAction)
        .map(({ time, vm, delivery }) => {
          const start = time - delivery.durationMs
          return { start, write: () => this.#writeInput(root, parent, vm, delivery, start) }
        }),
    ]
    for (const { write } of entries.sort((a, b) => a.start - b.start)) write()
    for (const attachment of evidence.attachments) {
      if (attachment.contentType !== ALLURE_MESSAGES_TYPE) this.#attach(root, parent, attachment)
    }
  }

  #writeStep(root: string, parent: string | null, step: StepView): void {
    const { start, end } = step
    // A step that is one input action carries that action's account itself.
    const own =
      step.inputs.length === 1 ? step.inputs.find(({ delivery }) => delivery.action === start.kind) : undefined
    const error = end?.error
    const uuid = this.#runtime.startStep(root, parent, {
      name: own ? deliveryTitle(start.title, own.delivery) : start.title,
      start: start.time,
      status: allureStepStatus(end?.status),
      statusDetails: error
        ? { message: errorHeadline(error), trace: errorDetails(error) }
        : end
          ? {}
          : { message: 'the test ended before this step did' },
      parameters: [
        ...(end?.note ? [{ name: 'result', value: end.note }] : []),
        ...(own ? deliveryParameters(own.vm, own.delivery) : []),
      ],
    })
    if (uuid === undefined) return
    this.#writeEvidence(root, uuid, step, step.children, own?.delivery.action)
    if (own) this.#attachDifferences(root, uuid, own.delivery)
    this.#runtime.stopStep(uuid, { stop: start.time + (end?.durationMs ?? 0) })
  }

  #writeInput(root: string, parent: string | null, vm: string, delivery: DeliveryRecord, start: number): void {
    const failed = delivery.outcome === 'damaged' && delivery.verify === 'require'
    const uuid = this.#runtime.startStep(root, parent, {
      name: deliveryTitle(`${delivery.action} ${JSON.stringify(delivery.input)}`, delivery),
      start,
      status: failed ? Status.FAILED : Status.PASSED,
      parameters: deliveryParameters(vm, delivery),
    })
    if (uuid === undefined) return
    this.#attachDifferences(root, uuid, delivery)
    this.#runtime.stopStep(uuid, { stop: start + delivery.durationMs })
  }

  #attachDifferences(root: string, step: string, { differences }: DeliveryRecord): void {
    if (differences.length === 0) return
    this.#attach(root, step, { name: 'differences', contentType: 'text/plain', text: differences.join('\n') })
  }

  #attach(
    root: string,
    step: string | null,
    attachment: Pick<Attachment, 'name' | 'contentType' | 'text' | 'path'>,
  ): void {
    const { contentType, bytes } = attachmentContent(attachment)
    this.#runtime.writeAttachment(root, step, attachment.name, bytes, { contentType })
  }
}

function endOf({ startTime, end }: AttemptView): number {
  return startTime + (end?.durationMs ?? 0)
}

/**
 * What the author's own `allure.*` calls left behind, from the attempt's end or from an attachment of that type.
 * Steps that allure-vitest makes of every `expect` are left out: they bury the author's.
 */
function authorsMessages(attempt: AttemptView): RuntimeMessage[] {
  const fromMeta = attempt.end?.meta?.['allureRuntimeMessages']
  const texts = attempt.attachments.filter(({ contentType }) => contentType === ALLURE_MESSAGES_TYPE)
  const messages = [fromMeta, ...texts.map(({ text }) => JSON.parse(text ?? '[]') as unknown)].flatMap((list) =>
    Array.isArray(list) ? (list as RuntimeMessage[]) : [],
  )
  return messages.filter((message) => !('__allureVitestMatcher' in message)).map(redactContent)
}

/** Attachments of `allure.*` calls travel in base64, where redaction of the event reaches only some secrets. */
function redactContent(message: RuntimeMessage): RuntimeMessage {
  if (message.type !== 'attachment_content' && message.type !== 'global_attachment_content') return message
  const { content, encoding, contentType } = message.data
  // A mask in the middle of base64 leaves no readable rest.
  const damaged = encoding === 'base64' && /[^A-Za-z0-9+/=_-]/.test(content)
  if (!damaged && !isText(contentType)) return message
  const text = damaged
    ? 'This attachment held a secret and was left out.'
    : redact(Buffer.from(content, encoding).toString('utf8'))
  return { ...message, data: { ...message.data, content: Buffer.from(text).toString(encoding) } } as RuntimeMessage
}
