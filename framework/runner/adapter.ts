import { relative } from 'node:path'
import type { TestArtifact, TestError, UserConsoleLog } from 'vitest'
import type { Reporter, TestCase, TestModule, TestSpecification, TestSuite } from 'vitest/node'
import { redact, type Verdict } from '../core/index.ts'
import { RUN_EVENTS_VERSION, type ErrorRecord, type RunEvent, type TestStatus } from '../evidence/events.ts'
import { EVENT_ARTIFACT } from './context.ts'
import { errorRecordOf, statusOf } from './vitest-errors.ts'
import { CANCELLED, isMarked, metaOf, pathOf, placeOf, skipReason } from './vitest-tests.ts'

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

/** Whether a run was asked for this test. */
export type Selection = (test: { fullName: string; file: string; line: number | undefined; tags: string[] }) => boolean

/** How Vitest's message on the death of a worker process begins. */
const WORKER_DIED = '[vitest-pool]: Worker '

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
  readonly #last = new Map<
    string,
    { status: TestStatus; verdict: Verdict | undefined; flaky: boolean; unverified: number; known: boolean }
  >()
  /** Ids by Vitest's own, which are positions in the file. */
  readonly #ids = new Map<string, string>()
  /** How each test was meant when its file was read, by Vitest's id. Later, hooks and cancelling make tests skipped. */
  readonly #modes = new Map<string, string>()
  /** Files of the run that nobody has read yet. */
  readonly #uncollected = new Map<string, TestSpecification>()
  readonly #finished = new Set<string>()
  #errors: ErrorRecord[] = []
  readonly #loadErrors = new Set<string>()
  readonly #isSelected: Selection | undefined

  /** @param isSelected when a run leaves out tests by name, tag or line: which it wants. The others are not reported. */
  constructor(root: string, emit: (event: RunEvent) => void, isSelected?: Selection) {
    this.#root = root
    this.#emit = emit
    this.#isSelected = isSelected
  }

  /** Called whenever Vitest has run all it was asked to; in watch mode again and again. */
  afterRun: (() => void) | undefined

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

  /** Nothing ran, and nothing was left unrun. */
  get isEmpty(): boolean {
    return this.#last.size === 0
  }

  /** Files of the run that were to be read and were not. */
  get unread(): TestSpecification[] {
    return [...this.#uncollected.values()]
  }

  send(event: NewEvent): void {
    this.#emit({ v: RUN_EVENTS_VERSION, time: Date.now(), ...event } as RunEvent)
  }

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    // Files of workers that died run again; what else went wrong stays.
    this.#errors = this.#errors.filter((error) => !error.message.startsWith(WORKER_DIED))
    const files = [...new Set(specifications.map((spec) => this.#relative(spec.moduleId)))]
    for (const file of files) {
      this.#loadErrors.delete(file)
      this.#finished.delete(file)
    }
    this.send({ type: 'run.plan', files, tests: 0 })
  }

  /** The files that are going to run. Those nobody gets to read are reported as unrun. */
  plan(specifications: ReadonlyArray<TestSpecification>): void {
    for (const spec of specifications) this.#uncollected.set(this.#relative(spec.moduleId), spec)
  }

  onTestModuleCollected(module: TestModule): void {
    this.#uncollected.delete(module.relativeModuleId)
    for (const testCase of module.children.allTests()) this.#modes.set(testCase.id, testCase.options.mode)
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
      if (this.#isLeftOut(testCase)) return
      // Its suite, or the end of the run, tells why.
      if (this.#isCutShort(testCase)) return
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
      const errors = (one.errors ?? []).map((error) => this.#errorRecord(error))
      this.#end(testCase, statusOf(errors, last ? result.state === 'passed' : one.state === 'passed'), errors, {
        durationMs: one.duration,
        willRetry: !last,
        flaky: last && result.state === 'passed' && attempts.some((attempt) => attempt.failed),
      })
    })
  }

  onTestSuiteResult(suite: TestSuite): void {
    this.#reportHooks(suite, suite.module.relativeModuleId, [...pathOf(suite), suite.name])
  }

  onTestModuleEnd(module: TestModule): void {
    const file = module.relativeModuleId
    this.#uncollected.delete(file)
    this.#finished.add(file)
    // A file whose tests were ready to run was loaded: what failed is a hook around all of them.
    const loaded = [...module.children.allTests()].some((test) => this.#modes.get(test.id) === 'run')
    if (loaded) return this.#reportHooks(module, file, [])
    const errors = module.errors().map((error) => this.#errorRecord(error))
    if (errors.length === 0) return
    for (const error of errors) if (!error.code && error.verdict === 'product') error.verdict = 'spec'
    this.#loadErrors.add(file)
    const noTestThere = errors.find((error) => error.message.startsWith('No test found in '))
    if (noTestThere) delete noTestThere.stack
    this.#reportOutside(
      `${file} > (load)`,
      file,
      noTestThere ? 'the line holds no test' : 'the spec file could not be loaded',
      [],
      'broken',
      errors,
    )
    this.#last.set(`${file} > (load)`, {
      status: 'broken',
      verdict: undefined,
      flaky: false,
      unverified: 0,
      known: false,
    })
  }

  /** A failed `beforeAll` breaks the tests it was for; a failed `afterAll` is reported beside them. */
  #reportHooks(suite: TestSuite | TestModule, file: string, path: string[]): void {
    if (suite.errors().length === 0) return
    const errors = suite.errors().map((error) => this.#errorRecord(error))
    const cut = [...suite.children.allTests()].filter((test) => this.#isCutShort(test))
    for (const testCase of cut) if (!this.#last.has(this.#idOf(testCase))) this.#endBroken(testCase, errors)
    if (cut.length > 0) return
    const test = [file, ...path, '(hooks)'].join(' > ')
    const status = statusOf(errors, false)
    this.#reportOutside(
      test,
      file,
      path.length > 0 ? 'a hook of the suite failed' : 'a hook of the file failed',
      path,
      status,
      errors,
    )
    this.#last.set(test, { status, verdict: errors[0]?.verdict ?? 'spec', flaky: false, unverified: 0, known: false })
  }

  /** What happened beside the tests, as an entry of its own. */
  #reportOutside(
    test: string,
    file: string,
    name: string,
    path: string[],
    status: TestStatus,
    errors: ErrorRecord[],
    reason?: string,
  ): void {
    const location = errors[0]?.location ?? { file, line: 1, column: 1 }
    const common = { test, attempt: 1 }
    this.send({ ...common, type: 'test.start', name, path, location, tags: [], meta: {} })
    const verdict = errors[0]?.verdict
    this.send({
      ...common,
      type: 'test.end',
      status,
      durationMs: 0,
      errors,
      ...(verdict ? { verdict } : {}),
      ...(reason ? { reason } : {}),
      unverified: 0,
      willRetry: false,
    })
  }

  #endBroken(testCase: TestCase, errors: ErrorRecord[]): void {
    if (!this.#attemptsOf(testCase).some((attempt) => !attempt.ended)) this.#start(testCase, this.#before(testCase) + 1)
    this.#end(testCase, statusOf(errors, false), errors, {})
  }

  /** Skipped although it was to run, and not by its own body: a hook before it failed, or the run stopped. */
  #isCutShort(testCase: TestCase): boolean {
    const result = testCase.result()
    if (result.state === 'pending') return true
    return (
      result.state === 'skipped' &&
      (!result.note || result.note === CANCELLED) &&
      this.#modes.get(testCase.id) === 'run'
    )
  }

  /** A filter left it out; its author did not. */
  #isLeftOut(testCase: TestCase): boolean {
    if (!this.#isSelected || this.#modes.get(testCase.id) !== 'skip') return false
    return (
      !isMarked(testCase) ||
      !this.#isSelected({
        fullName: testCase.fullName,
        file: testCase.module.relativeModuleId,
        line: testCase.location?.line,
        tags: testCase.tags,
      })
    )
  }

  /**
   * Ends the tests that ran when the worker process of their file died as broken; without another try also those that
   * waited. Whether there are any.
   */
  crashed(module: TestModule, willRetry: boolean): boolean {
    if (this.#finished.has(module.relativeModuleId)) return false
    let any = false
    const tests = [...module.children.allTests()]
    const waiting = tests.filter((testCase) => testCase.result().state === 'pending')
    const anyRunning = waiting.some((testCase) => this.#attemptsOf(testCase).some((attempt) => !attempt.ended))
    // A worker that dies at the first instruction of a test takes the news of its start along.
    const suspect = anyRunning || willRetry ? undefined : waiting[0]
    for (const testCase of tests) {
      const attempts = this.#attemptsOf(testCase)
      if (testCase.result().state !== 'pending') {
        if (willRetry) this.#earlier.set(this.#idOf(testCase), attempts.length)
        continue
      }
      any = true
      const started = attempts.some((attempt) => !attempt.ended)
      if (!started && willRetry) continue
      if (!started) this.#start(testCase, this.#before(testCase) + 1)
      const running = started || testCase === suspect
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
  unrun(modules: TestModule[], reason: string): void {
    for (const testCase of modules.flatMap((module) => [...module.children.allTests()])) {
      const { state } = testCase.result()
      // Cancelling turns waiting tests into skipped ones without a word.
      if (
        (state !== 'pending' && state !== 'skipped') ||
        this.#last.has(this.#idOf(testCase)) ||
        this.#isLeftOut(testCase)
      )
        continue
      if (!this.#attemptsOf(testCase).some((attempt) => !attempt.ended)) this.#start(testCase, 1)
      this.#end(testCase, 'pending', [], { reason })
    }
    for (const file of this.#uncollected.keys()) {
      const test = `${file} > (all tests)`
      this.#reportOutside(test, file, 'the tests of this file', [], 'pending', [], reason)
      this.#last.set(test, { status: 'pending', verdict: undefined, flaky: false, unverified: 0, known: false })
    }
    this.#uncollected.clear()
  }

  onTestRunEnd(_modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    for (const error of unhandled) this.#errors.push(this.#errorRecord(error as TestError))
    this.afterRun?.()
  }

  onUserConsoleLog(log: UserConsoleLog): void {
    this.send({
      type: 'notice',
      level: log.type === 'stderr' ? 'warning' : 'info',
      text: redact(log.content.trimEnd()),
    })
  }

  /** Forgets the files that run again because somebody changed them (watch). */
  forget(files: string[]): void {
    this.#errors = []
    this.send({ type: 'run.plan', files: files.map((file) => this.#relative(file)), tests: 0, again: true })
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
    const known = this.#attemptsOf(testCase).find((one) => one.number === number)
    if (known) return known
    const attempt: Attempt = { number, startedAt: Date.now(), unverified: 0, ended: false, failed: false }
    this.#attemptsOf(testCase).push(attempt)
    const meta = metaOf(testCase)
    this.send({
      type: 'test.start',
      test: this.#idOf(testCase),
      attempt: number,
      ...(typeof meta['id'] === 'string' ? { id: meta['id'] } : {}),
      name: testCase.name,
      path: pathOf(testCase),
      location: {
        file: testCase.module.relativeModuleId,
        line: testCase.location?.line ?? 1,
        column: testCase.location?.column ?? 1,
      },
      tags: [...testCase.tags],
      meta,
    })
    return attempt
  }

  /** A further attempt announces itself with its first event: the one before is over. */
  #retry(testCase: TestCase, number: number): Attempt {
    const before = testCase.attempts()[number - this.#before(testCase) - 2]
    const errors = (before?.errors ?? []).map((error) => this.#errorRecord(error))
    if (this.#attemptsOf(testCase).some((attempt) => attempt.number === number - 1 && !attempt.ended)) {
      this.#end(testCase, statusOf(errors, false), errors, {
        ...(before ? { durationMs: before.duration } : {}),
        willRetry: true,
      })
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
    // An error from before the body, such as no VM to be had, has no line of its own.
    const [first] = errors
    if (first && !first.location && first.branch !== 'internal') Object.assign(first, placeOf(testCase))
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
      ...('allureRuntimeMessages' in testCase.meta() ? { meta: metaOf(testCase) } : {}),
      ...(more.flaky ? { flaky: true } : {}),
    })
    if (willRetry) return
    const known = 'knownIssue' in (testCase.meta() as Record<string, unknown>)
    this.#last.set(this.#idOf(testCase), {
      status,
      verdict,
      flaky: more.flaky ?? false,
      unverified: attempt.unverified,
      known,
    })
  }

  #errorRecord(error: TestError): ErrorRecord {
    return errorRecordOf(error, this.#root)
  }

  #relative(file: string): string {
    return relative(this.#root, file) || file
  }
}
