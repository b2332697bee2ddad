import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { TestError } from 'vitest'
import { redact, type ErrorBranch, type Verdict } from '../core/index.ts'
import type { ErrorRecord, SourceLocation, TestStatus } from '../evidence/events.ts'
import { codeFrame } from '../evidence/index.ts'

/** An error as Vitest serialised it, as a record of ours; places are relative to `root`. */
export function errorRecordOf(error: TestError, root: string): ErrorRecord {
  const own = error as unknown as Record<string, unknown>
  const code = typeof own['code'] === 'string' && own['code'].startsWith('ATP_') ? own['code'] : undefined
  const frame = error.stacks?.[0]
  const location: SourceLocation | undefined = frame && {
    file: relative(root, frame.file) || frame.file,
    line: frame.line,
    column: frame.column,
  }
  const around = frame && frameAround(frame.file, frame.line, frame.column)
  return {
    message: redact(error.message ?? String(error)),
    ...(error.name ? { name: error.name } : {}),
    ...(code ? { code, branch: own['branch'] as ErrorBranch } : {}),
    verdict: code ? (own['verdict'] as Verdict) : verdictOfForeign(error),
    ...(code && own['context'] ? { context: own['context'] as Record<string, unknown> } : {}),
    ...(error.stack ? { stack: redact(error.stack) } : {}),
    ...(location ? { location } : {}),
    ...(around ? { codeFrame: around } : {}),
    ...(error.expected === undefined ? {} : { expected: redact(String(error.expected)) }),
    ...(error.actual === undefined ? {} : { actual: redact(String(error.actual)) }),
    ...(error.cause ? { cause: errorRecordOf(error.cause, root) } : {}),
  }
}

/** Assertions speak about the product; any other error that is not ours comes from the spec's own code. */
function verdictOfForeign(error: TestError): Verdict {
  // Matchers of "expect.extend" throw plain errors with a context.
  const asserts = error.name === 'AssertionError' || '__vitest_error_context__' in error
  if (asserts || error.diff !== undefined || error.expected !== undefined) return 'product'
  if (/^(Test|Hook) timed out in /.test(error.message ?? '')) return 'infrastructure'
  return 'spec'
}

/** `failed` when the product is at fault, `broken` for every other reason. */
export function statusOf(errors: ErrorRecord[], passed: boolean): TestStatus {
  if (passed) return 'passed'
  return (errors[0]?.verdict ?? 'product') === 'product' ? 'failed' : 'broken'
}

/** The lines around a place, if its file can be read. */
export function frameAround(file: string, line: number, column: number): string | undefined {
  try {
    return codeFrame(readFileSync(file, 'utf8'), line, column)
  } catch {
    // The file is gone or virtual: the place itself must do.
    return undefined
  }
}
