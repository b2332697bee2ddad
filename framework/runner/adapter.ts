import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { TestArtifact, TestError, UserConsoleLog } from 'vitest'
import type { Reporter, TestCase, TestModule, TestSpecification } from 'vitest/node'
import { redact, type ErrorBranch, type Verdict } from '../core/index.ts'
import { codeFrame } from '../evidence/index.ts'
import {
  RUN_EVENTS_VERSION,
  type ErrorRecord,
  type RunEvent,
  type SourceLocation,
  type TestStatus,
} from '../evidence/events.ts'
import { EVENT_ARTIFACT } from './context.ts'

/** Counts that decide the exit code. */
export interface RunTally {
  counts: Record<TestStatus, number>
  flaky: number
  unverified: number
  /** Verdicts of tests whose last attempt failed, and that no known issue excuses. */
  verdicts: Record<Verdict, number>
  /** Spec files that could not be loaded. */
  loadErrors: number
  errors: ErrorRecord[]
}

interface Attempt {
  number: number
  startedAt: number
  unverified: number
  ended: boolean
  failed: boolean
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
/** An event without the fields the run adds itself. */
export type NewEvent = DistributiveOmit<RunEvent, 'v' | 'time'> & { time?: number }

/**
 * Translates what Vitest reports into run events. The only reader of Vitest's reporter interface: everything
 * else in the framework reads run events.
 */
export class VitestAdapter implements Reporter {
  readonly #emit: (event: RunEvent) => void
  readonly #root: string
  readonly #attempts = new Map<string, Attempt[]>()
  /** Attempts made before the current run of a file: its worker died and the file runs again. */
  readonly #earlier = new Map<string, number>()
  readonly #last = new Map<string, { status: TestStatus; verdict: Verdict | undefined; flaky: boolean; unverified: number; known: boolean }>()
  /** Ids by Vitest's own, which are positions in the file. */
  readonly #ids = new Map<string, string>()
  #errors: ErrorRecord[] = []
  readonly #loadErrors = new Set<string>()

  constructor(root: string, emit: (event: RunEvent) => void) {
    this.#root = root
    this.#emit = emit
  }

  tally(): RunTally {
    const counts: Record<TestStatus, number> = { passed: 0, failed: 0, broken: 0, skipped: 0, pending: 0 }
    const verdicts: Record<Verdict, number> = { product: 0, infrastructure: 0, spec: 0, framework: 0 }
    let flaky = 0
    let unverified = 0
    for (const test of this.#last.values()) {
      counts[test.status]++
      if (test.flaky) flaky++
      if (test.status === 'passed' && test.unverified > 0) unverified++
      if (test.verdict && !test.known) verdicts[test.verdict]++
    }
    return { counts, flaky, unverified, verdicts, loadErrors: this.#loadErrors.size, errors: this.#errors }
  }

  send(event: NewEvent): void {
    this.#emit({ v: RUN_EVENTS_VERSION, time: Date.now(), ...event } as RunEvent)
  }

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    this.#errors = []
    const files = [...new Set(specifications.map((spec) => this.#relative(spec.moduleId)))]
    for (const file of files) this.#loadErrors.delete(file)
    this.send({ type: 'run.plan', files, tests: 0 })
  }

  onTestModuleCollected(module: TestModule): void {
    this.send({ type: 'run.plan', files: [module.relativeModuleId], tests: [...module.children.allTests()].length })
  }

  onTestCaseReady(testCase: TestCase): void {
    if (testCase.options.mode !== 'run') return
    this.#start(testCase, this.#before(testCase) + 1)
  }

  onTestCaseArtifactRecord(testCase: TestCase, artifact: TestArtifact): void {
    const carried = artifact as unknown as { type: string; event: RunEvent & { attempt: number } }
    if (carried.type !== EVENT_ARTIFACT) return
    const number = this.#before(testCase) + carried.event.attempt
    const attempt = this.#attemptsOf(testCase).find((one) => one.number === number) ?? this.#retry(testCase, number)
    if (carried.event.type === 'input' && carried.event.delivery.outcome === 'unverified') attempt.unverified++
    this.#emit({ ...carried.event, v: RUN_EVENTS_VERSION, test: this.#idOf(testCase), attempt: number } as RunEvent)
  }

  onTestCaseResult(testCase: TestCase): void {
    const result = testCase.result()
    const attempts = this.#attemptsOf(testCase)
    if (result.state === 'skipped' || result.state === 'pending') {
      if (!attempts.some((attempt) => !attempt.ended)) this.#start(testCase, this.#before(testCase) + 1)
      const reason = (result.state === 'skipped' && result.note) || skipReason(testCase)
      return this.#end(testCase, 'skipped', [], { reason })
    }
    const tries = testCase.attempts()
    tries.forEach((one, index) => {
      const number = this.#before(testCase) + index + 1
      if (attempts.find((attempt) => attempt.number === number)?.ended) return
      if (!attempts.some((attempt) => attempt.number === number)) this.#start(testCase, number)
      const last = index === tries.length - 1
      const errors = (one.errors ?? []).map((error) => this.errorRecord(error))
      this.#end(testCase, statusOf(errors, last ? result.state === 'passed' : one.state === 'passed'), errors, {
        durationMs: one.duration,
        willRetry: !last,
        flaky: last && result.state === 'passed' && attempts.some((attempt) => attempt.failed),
      })
    })
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = module.errors()
    if (errors.length === 0) return
    this.#loadErrors.add(module.relativeModuleId)
    const records = errors.map((error) => this.errorRecord(error))
    for (const record of records) {
      if (!record.code && record.verdict === 'product') record.verdict = 'spec'
    }
    const test = `${module.relativeModuleId} > (load)`
    const location = { file: module.relativeModuleId, line: 1, column: 1 }
    const common = { test, attempt: 1 }
    this.send({ ...common, type: 'test.start', name: 'the spec file could not be loaded', path: [], location: records[0]?.location ?? location, tags: [], meta: {}, worker: '' })
    this.send({ ...common, type: 'test.end', status: 'broken', durationMs: 0, errors: records, verdict: records[0]?.verdict ?? 'spec', unverified: 0, willRetry: false })
    this.#last.set(test, { status: 'broken', verdict: undefined, flaky: false, unverified: 0, known: false })
  }

  /** Tests of a module that started or waited when their worker process died. Ends the running ones as broken. */
  crashed(module: TestModule, willRetry: boolean): boolean {
    let any = false
    for (const testCase of module.children.allTests()) {
      const attempts = this.#attemptsOf(testCase)
      if (testCase.result().state !== 'pending') {
        if (willRetry) this.#earlier.set(this.#idOf(testCase), attempts.length)
        continue
      }
      any = true
      const running = attempts.find((attempt) => !attempt.ended)
      if (!running && willRetry) continue
      if (!running) this.#start(testCase, 1)
      const message = running
        ? 'the worker process died while this test ran'
        : 'the worker process died before this test could run'
      this.#end(
        testCase,
        running ? 'broken' : 'pending',
        running ? [{ message, code: 'ATP_WORKER_DIED', branch: 'internal', verdict: 'framework' }] : [],
        { reason: message, willRetry },
      )
      if (willRetry) this.#earlier.set(this.#idOf(testCase), attempts.length)
    }
    return any
  }

  /** Ends tests that never ran as pending. A test without an end would vanish from the reports. */
  unrun(module: TestModule, reason: string): void {
    for (const testCase of module.children.allTests()) {
      if (testCase.result().state !== 'pending' || this.#last.has(this.#idOf(testCase))) continue
      if (!this.#attemptsOf(testCase).some((attempt) => !attempt.ended)) this.#start(testCase, 1)
      this.#end(testCase, 'pending', [], { reason })
    }
  }

  onTestRunEnd(_modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    for (const error of unhandled) this.#errors.push(this.errorRecord(error as TestError))
  }

  onUserConsoleLog(log: UserConsoleLog): void {
    this.send({ type: 'notice', level: log.type === 'stderr' ? 'warning' : 'info', text: redact(log.content.trimEnd()) })
  }

  /** Forgets the files that run again because somebody changed them (watch). */
  forget(files: string[]): void {
    const prefixes = files.map((file) => `${this.#relative(file)} > `)
    for (const map of [this.#last, this.#attempts, this.#earlier]) {
      for (const key of map.keys()) if (prefixes.some((prefix) => key.startsWith(prefix))) map.delete(key)
    }
    for (const [key, id] of this.#ids) if (prefixes.some((prefix) => id.startsWith(prefix))) this.#ids.delete(key)
  }

  /** File and full name; a second test of the same name gets a number, so that neither hides the other. */
  #idOf(testCase: TestCase): string {
    const known = this.#ids.get(testCase.id)
    if (known) return known
    const name = `${testCase.module.relativeModuleId} > ${testCase.fullName}`
    const taken = new Set(this.#ids.values())
    let id = name
    for (let number = 2; taken.has(id); number++) id = `${name} #${number}`
    this.#ids.set(testCase.id, id)
    return id
  }

  #before(testCase: TestCase): number {
    return this.#earlier.get(this.#idOf(testCase)) ?? 0
  }

  #attemptsOf(testCase: TestCase): Attempt[] {
    const id = this.#idOf(testCase)
    let attempts = this.#attempts.get(id)
    if (!attempts) this.#attempts.set(id, (attempts = []))
    return attempts
  }

  #start(testCase: TestCase, number: number): Attempt {
    const attempt: Attempt = { number, startedAt: Date.now(), unverified: 0, ended: false, failed: false }
    this.#attemptsOf(testCase).push(attempt)
    const meta = { ...(testCase.meta() as Record<string, unknown>) }
    const path: string[] = []
    for (let parent = testCase.parent; parent.type === 'suite'; parent = parent.parent) path.unshift(parent.name)
    this.send({
      type: 'test.start',
      test: this.#idOf(testCase),
      attempt: number,
      ...(typeof meta['id'] === 'string' ? { id: meta['id'] } : {}),
      name: testCase.name,
      path,
      location: { file: testCase.module.relativeModuleId, line: testCase.location?.line ?? 1, column: testCase.location?.column ?? 1 },
      tags: [...testCase.tags],
      meta,
      worker: '',
    })
    return attempt
  }

  /** A further attempt announces itself with its first event: the one before is over. */
  #retry(testCase: TestCase, number: number): Attempt {
    const before = testCase.attempts()[number - this.#before(testCase) - 2]
    const errors = (before?.errors ?? []).map((error) => this.errorRecord(error))
    if (this.#attemptsOf(testCase).some((attempt) => attempt.number === number - 1 && !attempt.ended)) {
      this.#end(testCase, statusOf(errors, false), errors, { ...(before ? { durationMs: before.duration } : {}), willRetry: true })
    }
    return this.#start(testCase, number)
  }

  #end(
    testCase: TestCase,
    status: TestStatus,
    errors: ErrorRecord[],
    more: { durationMs?: number; reason?: string; willRetry?: boolean; flaky?: boolean },
  ): void {
    const attempt = this.#attemptsOf(testCase).find((one) => !one.ended)
    if (!attempt) return
    attempt.ended = true
    attempt.failed = status === 'failed' || status === 'broken'
    const verdict = status === 'failed' || status === 'broken' ? (errors[0]?.verdict ?? 'framework') : undefined
    const willRetry = more.willRetry ?? false
    this.send({
      type: 'test.end',
      test: this.#idOf(testCase),
      attempt: attempt.number,
      status,
      durationMs: more.durationMs ?? Date.now() - attempt.startedAt,
      errors,
      ...(verdict ? { verdict } : {}),
      ...(more.reason ? { reason: more.reason } : {}),
      unverified: attempt.unverified,
      willRetry,
      // What the author's own calls of allure.* recorded.
      ...('allureRuntimeMessages' in testCase.meta() ? { meta: { ...testCase.meta() } as Record<string, unknown> } : {}),
      ...(more.flaky ? { flaky: true } : {}),
    })
    if (willRetry) return
    const known = 'knownIssue' in (testCase.meta() as Record<string, unknown>)
    this.#last.set(this.#idOf(testCase), { status, verdict, flaky: more.flaky ?? false, unverified: attempt.unverified, known })
  }

  /** An error as Vitest serialised it, as a record of ours. */
  errorRecord(error: TestError): ErrorRecord {
    const own = error as unknown as Record<string, unknown>
    const code = typeof own['code'] === 'string' && own['code'].startsWith('ATP_') ? own['code'] : undefined
    const frame = error.stacks?.[0]
    const location: SourceLocation | undefined =
      frame && { file: this.#relative(frame.file), line: frame.line, column: frame.column }
    const codeFrame = frame && frameAround(frame.file, frame.line, frame.column)
    return {
      message: redact(error.message ?? String(error)),
      ...(error.name ? { name: error.name } : {}),
      ...(code ? { code, branch: own['branch'] as ErrorBranch } : {}),
      verdict: code ? (own['verdict'] as Verdict) : verdictOfForeign(error),
      ...(code && own['context'] ? { context: own['context'] as Record<string, unknown> } : {}),
      ...(error.stack ? { stack: redact(error.stack) } : {}),
      ...(location ? { location } : {}),
      ...(codeFrame ? { codeFrame } : {}),
      ...(error.expected === undefined ? {} : { expected: redact(String(error.expected)) }),
      ...(error.actual === undefined ? {} : { actual: redact(String(error.actual)) }),
      ...(error.cause ? { cause: this.errorRecord(error.cause) } : {}),
    }
  }

  #relative(file: string): string {
    return relative(this.#root, file) || file
  }
}

function skipReason(testCase: TestCase): string {
  if (testCase.options.mode === 'todo') return 'marked as todo'
  return testCase.options.mode === 'skip' ? 'marked as skip' : 'not selected'
}

/** Assertions speak about the product; any other error that is not ours comes from the spec's own code. */
function verdictOfForeign(error: TestError): Verdict {
  if (error.name === 'AssertionError' || error.diff !== undefined || error.expected !== undefined) return 'product'
  if (/^(Test|Hook) timed out in /.test(error.message ?? '')) return 'infrastructure'
  return 'spec'
}

function statusOf(errors: ErrorRecord[], passed: boolean): TestStatus {
  if (passed) return 'passed'
  return (errors[0]?.verdict ?? 'product') === 'product' ? 'failed' : 'broken'
}

function frameAround(file: string, line: number, column: number): string | undefined {
  try {
    return codeFrame(readFileSync(file, 'utf8'), line, column)
  } catch {
    // The file is gone or virtual: the place itself must do.
    return undefined
  }
}
