import { AsyncLocalStorage } from 'node:async_hooks'
import { inject, TestRunner, type TestAPI, type TestContext, type TestOptions } from 'vitest'
import { configError, timeoutError } from '../../core/index.ts'
import { SKIP_MARK } from '../context.ts'
import type { TestScope } from './test-scope.ts'

type Handler = (context: TestContext) => unknown

interface Suite {
  mode: string
  suite?: Suite
}
interface Task {
  mode: string
  location?: { line: number; column: number }
  meta: Record<string, unknown>
}
interface Collector {
  file: { filepath: string }
  suite: Suite | undefined
  tasks: Task[]
  test: { fn: (this: unknown, ...args: unknown[]) => void }
}

const scopes = new AsyncLocalStorage<TestScope>()

/** The scope of the test whose body is running, also with concurrent tests. */
export function runningScope(): TestScope | undefined {
  return scopes.getStore()
}

/** Runs what belongs to a test before its body: live expectations know whose they are. */
export function inScope<T>(scope: TestScope, work: () => Promise<T>): Promise<T> {
  return scopes.run(scope, work)
}

/** The time left over for Vitest itself when all budgets of a test are used up. */
const MARGIN_MS = 2_000

/**
 * The `test` function all fixtures build on. It differs from Vitest's in one thing: the time limit of a test
 * bounds its body only. Waiting for a VM and setting up fixtures have budgets of their own, so that a busy lab
 * does not fail tests (Vitest counts all of it against one limit).
 */
export function createBaseTest(): TestAPI {
  return TestRunner.createTaskCollector(function (
    this: Record<string, unknown>,
    name: string,
    optionsOrFn?: TestOptions | Handler,
    timeoutOrFn?: number | Handler,
  ) {
    const options: TestOptions = typeof optionsOrFn === 'object' ? { ...optionsOrFn } : {}
    const handler =
      typeof optionsOrFn === 'function' ? optionsOrFn : typeof timeoutOrFn === 'function' ? timeoutOrFn : undefined
    if (typeof timeoutOrFn === 'number') options.timeout = timeoutOrFn
    const bodyMs = bodyTimeout(options)
    const { lease, setup } = inject('atp').timeouts
    options.timeout = lease + setup + bodyMs + MARGIN_MS
    // Vitest's own implementation of `test` does the rest: names, modes, tags, retries.
    const collector = TestRunner.getCurrentSuite() as unknown as Collector
    const place = callingPlace(collector.file.filepath)
    collector.test.fn.call(this, name, options, handler && withBodyBudget(handler, bodyMs, place))
    // Vitest looks only ten frames up; every fixture of the chain adds some, and the spec is further away.
    const task = collector.tasks.at(-1)
    if (task && place) task.location ??= { line: place.line, column: place.column }
    // Filters, too, make a test skipped; later nobody could tell.
    if (task && isMarkedSkipped(task, collector.suite)) task.meta[SKIP_MARK] = true
  } as never) as unknown as TestAPI
}

function isMarkedSkipped(task: Task, suite: Suite | undefined): boolean {
  if (task.mode === 'skip') return true
  for (let outer = suite; outer; outer = outer.suite) if (outer.mode === 'skip') return true
  return false
}

interface Place {
  file: string
  line: number
  column: number
}

const DEEPEST_CALL = 100

/** Where in a file the running code was called from. */
function callingPlace(file: string): Place | undefined {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = DEEPEST_CALL
  const { stack = '' } = new Error()
  Error.stackTraceLimit = limit
  for (const line of stack.split('\n')) {
    const match = /^ +at (?:.*\()?(?:file:\/\/)?(.+):(\d+):(\d+)\)?$/.exec(line)
    if (match?.[1] && decodeURI(match[1]) === file) return { file, line: Number(match[2]), column: Number(match[3]) }
  }
  return undefined
}

/** The body's limit: the test's own, else the shortest of its tags', else the suite's, else the configuration's. */
function bodyTimeout(options: TestOptions): number {
  if (options.timeout !== undefined) return options.timeout
  const suite = TestRunner.getCurrentSuite()
  const names = new Set([options.tags ?? [], suite.suite?.tags ?? suite.file.tags ?? []].flat() as string[])
  const { tags, timeouts } = inject('atp')
  const ofTags = tags
    .filter((tag) => names.has(tag.name) && tag.timeout !== undefined)
    .map((tag) => tag.timeout as number)
  if (ofTags.length > 0) return Math.min(...ofTags)
  const ofSuite = typeof suite.options === 'object' ? suite.options.timeout : undefined
  return ofSuite ?? timeouts.test
}

function withBodyBudget(handler: Handler, timeoutMs: number, place: Place | undefined): Handler {
  const bounded = async (context: TestContext): Promise<void> => {
    let timer: NodeJS.Timeout | undefined
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = timeoutError('ATP_TEST_TIMEOUT', `the test body did not finish within ${timeoutMs} ms`, {
          remedy: 'give the test a longer { timeout }, or find the step that hangs in the report',
          verdict: 'product',
        })
        // A timer's stack says nothing; the reader wants to see the test.
        if (place) error.stack = `${error.name}: ${error.message}\n    at ${place.file}:${place.line}:${place.column}`
        reject(error)
      }, timeoutMs)
    })
    const { scope } = context as TestContext & { scope: TestScope }
    scope.setUpDone = true
    try {
      await Promise.race([scopes.run(scope, async () => handler(context)), expired, scope.lost])
    } finally {
      clearTimeout(timer)
    }
    const [unawaited] = scope.unawaited
    if (unawaited !== undefined) {
      const error = configError('ATP_EXPECT_NOT_AWAITED', `the test ended while it still expected ${unawaited.what}`, {
        remedy: 'write "await" before expect(…) of a live object',
      })
      throw unawaited.site.mark(error)
    }
  }
  // Vitest finds the fixtures a test uses in the source text of its function, or in marks that `test.for` left.
  for (const mark of Object.getOwnPropertySymbols(handler)) {
    Object.defineProperty(bounded, mark, Object.getOwnPropertyDescriptor(handler, mark) as PropertyDescriptor)
  }
  bounded.toString = () => handler.toString()
  return bounded
}
