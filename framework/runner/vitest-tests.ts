/** Facts about a test that Vitest does not tell directly. */
import type { TestCase, TestSuite } from 'vitest/node'
import type { ErrorRecord } from '../evidence/events.ts'
import { SKIP_MARK } from './context.ts'
import { frameAround } from './vitest-errors.ts'

/** What Vitest notes at tests that wait or run while a run is cancelled, also by "bail". */
export const CANCELLED = 'The test run was aborted by the user.'

/** Why a test was skipped whose body did not say so itself. */
export function skipReason(testCase: TestCase): string {
  if (testCase.options.mode === 'todo') return 'marked as todo'
  return isMarked(testCase) ? 'marked as skip' : 'not selected'
}

/** Where a test begins. */
export function placeOf(testCase: TestCase): Pick<ErrorRecord, 'location' | 'codeFrame'> {
  if (!testCase.location) return {}
  const { line, column } = testCase.location
  const frame = frameAround(testCase.module.moduleId, line, column)
  return { location: { file: testCase.module.relativeModuleId, line, column }, ...(frame ? { codeFrame: frame } : {}) }
}

/** What the author, or a tool of theirs, noted about the test. */
export function metaOf(testCase: TestCase): Record<string, unknown> {
  const { [SKIP_MARK]: _, ...meta } = testCase.meta() as Record<string, unknown>
  return meta
}

/** Its author marked it, or a suite around it, as skip. */
export function isMarked(testCase: TestCase): boolean {
  return SKIP_MARK in testCase.meta()
}

/** Names of the suites around a test or suite, outermost first. */
export function pathOf(inner: TestCase | TestSuite): string[] {
  const path: string[] = []
  for (let parent = inner.parent; parent.type === 'suite'; parent = parent.parent) path.unshift(parent.name)
  return path
}
