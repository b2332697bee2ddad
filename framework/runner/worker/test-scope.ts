import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { recordArtifact, type TestContext } from 'vitest'
import { callSite, messageOf, redact, Scope, timeoutError, withDeadline, type CallSite } from '../../core/index.ts'
import { redactDeep, toErrorRecord } from '../../evidence/index.ts'
import { ALLURE_MESSAGES_TYPE, type TestScopedEvent } from '../../evidence/events.ts'
import type { InputDefaults } from '../../input/api.ts'
import { ReferenceImages } from '../../screen/index.ts'
import { EVENT_ARTIFACT, type AtpContext } from '../context.ts'
import type { AgentWish } from './verification.ts'

type Task = TestContext['task']

/** A resource that can show what happened to it, asked while it still exists. */
export interface EvidenceSource {
  /** Prefix of the attachment names, e.g. the VM's name. */
  name: string
  /** Wanted of every failed test and of no other. Absent: as the configuration's `evidence` says. */
  ofFailure?: boolean
  collect(
    attach: (name: string, contentType: string, content: string | Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<void>
}

/** An `expect(live)`: what it waits for, and where it stands in the spec. */
export interface PendingExpectation {
  what: string
  site: CallSite
}

const currentStep = new AsyncLocalStorage<string>()

/** The step whose work is running. */
export const runningStep = (): string | undefined => currentStep.getStore()

const EVIDENCE_TIMEOUT_MS = 10_000
const EXTENSIONS: Record<string, string> = {
  'image/png': '.png',
  'text/plain': '.txt',
  'application/json': '.json',
  'application/jsonl': '.jsonl',
}

/**
 * One attempt of one test: owns its resources, records its events, keeps its evidence.
 *
 * Closed from `onTestFinished`, the only hook of Vitest that runs after every way a test can end.
 */
export class TestScope extends Scope {
  readonly attempt: number
  readonly context: AtpContext
  /** All fixtures are there, the body has begun. */
  setUpDone = false
  /** What input is sent with that does not say. */
  inputDefaults: InputDefaults = {}
  /** What the test says of the verifier agents of its VMs. */
  agentWish: AgentWish = {}
  /** What the author's own `allure.*` calls said, for the report. */
  readonly allureMessages: unknown[] = []
  readonly #lost = Promise.withResolvers<never>()
  readonly #task: Task
  readonly #evidence: EvidenceSource[] = []
  readonly #pendingExpectations = new Map<Promise<unknown>, PendingExpectation>()
  #sent: Promise<unknown> = Promise.resolve()
  #steps = 0
  #files = 0

  constructor(task: Task, signal: AbortSignal, context: AtpContext) {
    super(task.fullName, { signal, teardownTimeoutMs: context.timeouts.teardown })
    this.#task = task
    this.context = context
    // Only a body that runs looks at it.
    this.#lost.promise.catch(() => {})
    this.attempt = (task.result?.retryCount ?? 0) + 1
  }

  /** Rejects when what the test stands on is gone: its body need not run on. */
  get lost(): Promise<never> {
    return this.#lost.promise
  }

  /** Ends the body with this error, unless it is over. */
  lose(error: Error): void {
    this.#lost.reject(error)
  }

  /** The expected pictures of this spec file. */
  get images(): ReferenceImages {
    return new ReferenceImages(this.#task.file.filepath, this.context.updateScreens)
  }

  /** Name of the test for leases and messages. */
  get holder(): string {
    return this.#task.fullName
  }

  /** Records an event of this attempt. Ordered; delivered at the latest when the test has finished. */
  record(event: TestScopedEvent): void {
    const step = 'step' in event && event.step !== undefined ? event.step : currentStep.getStore()
    const complete = { ...redactDeep(event), ...(step === undefined ? {} : { step }), attempt: this.attempt }
    this.#sent = this.#sent
      .then(() => recordArtifact(this.#task, { type: EVENT_ARTIFACT, event: complete } as never))
      .catch((error: unknown) => {
        // Without its events the report would be wrong: say so where somebody sees it.
        process.stderr.write(`atp: an event of "${this.name}" was lost: ${messageOf(error)}\n`)
      })
  }

  /**
   * Runs `body` as a step of the report. Steps nest by call.
   *
   * @throws `ATP_STEP_TIMEOUT` after `timeoutMs` (default: the configuration's), and what `body` throws.
   */
  async step<T>(
    title: string,
    body: () => Promise<T> | T,
    options: { kind?: string; timeoutMs?: number } = {},
  ): Promise<T> {
    this.assertOpen(`step "${title}"`)
    const id = String(++this.#steps)
    const parent = currentStep.getStore()
    const started = performance.now()
    this.record({
      type: 'step.start',
      time: Date.now(),
      step: id,
      ...(parent ? { parent } : {}),
      title,
      kind: options.kind ?? 'step',
    })
    const end = (status: 'passed' | 'failed' | 'broken', error?: unknown) =>
      this.record({
        type: 'step.end',
        time: Date.now(),
        step: id,
        status,
        durationMs: performance.now() - started,
        ...(error === undefined ? {} : { error: toErrorRecord(error) }),
      })
    const site = callSite(this.step)
    const timeoutMs = options.timeoutMs ?? this.context.timeouts.step
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(site.mark(stepTimeout(title, timeoutMs))), timeoutMs)
    try {
      const signal = AbortSignal.any([this.signal, limit.signal])
      const result = await withDeadline(`step "${title}"`, { signal }, () => currentStep.run(id, async () => body()))
      end('passed')
      return result
    } catch (thrown) {
      const error = limit.signal.aborted ? (limit.signal.reason as Error) : thrown
      end(toErrorRecord(error).verdict === 'product' ? 'failed' : 'broken', error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Runs the work of a step that somebody else records; what happens inside belongs to it. */
  inStep<T>(step: string, work: () => Promise<T>): Promise<T> {
    return currentStep.run(step, work)
  }

  /** Attaches text or bytes to the running step, or to the test. Bytes are stored as a file, whose path is returned. */
  attach(name: string, contentType: string, content: string | Uint8Array): string | undefined {
    const event = { type: 'attachment' as const, time: Date.now(), name, contentType }
    if (typeof content === 'string') {
      this.record({ ...event, text: redact(content) })
      return undefined
    }
    const dir = join(this.context.evidenceDir, this.#task.id)
    mkdirSync(dir, { recursive: true })
    const base = `${this.attempt}-${++this.#files}-${name.replaceAll(/[^\p{L}\p{N}._-]+/gu, '_')}`
    const path = join(dir, `${base}${EXTENSIONS[contentType] ?? ''}`)
    writeFileSync(path, content)
    this.record({ ...event, path })
    return path
  }

  addEvidence(source: EvidenceSource): void {
    this.#evidence.push(source)
  }

  /** Remembers an `await expect(live)` so that one nobody awaited fails the test instead of passing unseen. */
  trackExpectation<T>(expectation: PendingExpectation, promise: Promise<T>): Promise<T> {
    this.#pendingExpectations.set(promise, expectation)
    const forget = () => this.#pendingExpectations.delete(promise)
    promise.then(forget, forget)
    return promise
  }

  /** Live expectations still under way. */
  get unawaited(): PendingExpectation[] {
    return [...this.#pendingExpectations.values()]
  }

  /** The end of the attempt: evidence while the VMs still exist, then teardown, then the last events. */
  async finish(): Promise<void> {
    const failed = this.#task.result?.state === 'fail'
    if (!this.setUpDone) this.#explainSetUp()
    const mode = this.context.evidence
    const wanted = mode === 'on' || (mode === 'on-failure' && failed)
    await this.#collectEvidence(({ ofFailure }) => (ofFailure ? failed : wanted))
    for (const error of await this.close()) this.attach('teardown failed', 'text/plain', error.message)
    if (this.allureMessages.length > 0)
      this.attach('allure calls', ALLURE_MESSAGES_TYPE, JSON.stringify(this.allureMessages))
    await this.#sent
  }

  /** Vitest counts set-up and body against one limit, the sum of both, and names that. */
  #explainSetUp(): void {
    const error = this.#task.result?.errors?.find(({ message }) => message.startsWith('Test timed out in '))
    if (!error) return
    const { lease, setup } = this.context.timeouts
    const { name, message, code, branch, verdict } = timeoutError(
      'ATP_SETUP_TIMEOUT',
      `the fixtures of the test were not set up in time (lease ${lease} ms, set-up ${setup} ms)`,
      { remedy: 'find the fixture that hangs, or allow more: timeouts.setup in the configuration' },
    )
    Object.assign(error, { name, message, code, branch, verdict, stack: `${name}: ${message}`, stacks: [] })
  }

  async #collectEvidence(wanted: (source: EvidenceSource) => boolean): Promise<void> {
    await Promise.all(
      this.#evidence.filter(wanted).map(async (source) => {
        const attach = (name: string, contentType: string, content: string | Uint8Array) =>
          this.attach(`${source.name} ${name}`, contentType, content)
        try {
          await withDeadline(`evidence of ${source.name}`, { timeoutMs: EVIDENCE_TIMEOUT_MS }, (signal) =>
            source.collect(attach, signal),
          )
        } catch (error) {
          attach('evidence missing', 'text/plain', messageOf(error))
        }
      }),
    )
  }
}

function stepTimeout(title: string, timeoutMs: number): Error {
  return timeoutError('ATP_STEP_TIMEOUT', `step "${title}" did not finish within ${timeoutMs} ms`, {
    context: { timeoutMs },
    remedy: 'give the step a longer { timeoutMs }',
    verdict: 'product',
  })
}
