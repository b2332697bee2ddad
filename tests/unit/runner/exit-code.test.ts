import { describe, expect, it } from 'vitest'
import { configError, unsupportedError } from '../../../framework/core/index.ts'
import type { RunTally } from '../../../framework/runner/adapter.ts'
import { exitCodeOf, isUsageError } from '../../../framework/runner/exit-code.ts'

const none: RunTally = {
  counts: { passed: 0, failed: 0, broken: 0, skipped: 0, pending: 0 },
  flaky: 0,
  unverified: 0,
  verdicts: { product: 0, infrastructure: 0, spec: 0, framework: 0 },
  loadErrors: 0,
  errors: [],
}
const passed: RunTally = { ...none, counts: { ...none.counts, passed: 1 } }
const product = { ...none.verdicts, product: 1 }

describe('the exit code of a run', () => {
  it.each<[string, RunTally, number]>([
    ['all passed', passed, 0],
    ['all skipped', { ...none, counts: { ...none.counts, skipped: 1 } }, 0],
    ['nothing found', none, 2],
    ['one failed', { ...passed, verdicts: product }, 1],
    ['one never ran', { ...passed, counts: { ...passed.counts, pending: 1 } }, 1],
    ['an error outside of tests', { ...passed, errors: [{ message: 'x', verdict: 'spec' }] }, 1],
    ['infrastructure over failed', { ...passed, verdicts: { ...product, infrastructure: 1 } }, 3],
    [
      'infrastructure outside of tests',
      { ...passed, verdicts: product, errors: [{ message: 'x', verdict: 'infrastructure' }] },
      3,
    ],
    [
      'a file that cannot be loaded, over all',
      { ...passed, loadErrors: 1, verdicts: { ...product, infrastructure: 1 } },
      2,
    ],
  ])('%s', (_what, tally, code) => {
    expect(exitCodeOf(tally)).toBe(code)
    expect(exitCodeOf(tally, { signal: 'SIGINT' })).toBe(130)
    expect(exitCodeOf(tally, { signal: 'SIGTERM' })).toBe(143)
  })

  it('is 0 for nothing found where that is allowed, and 1 for a missed quality gate', () => {
    expect(exitCodeOf(none, { passWithNoTests: true })).toBe(0)
    expect(exitCodeOf(passed, { qualityGateFailed: true })).toBe(1)
  })
})

describe('usage', () => {
  it('is what the user wrote, not what the machine lacks', () => {
    expect(isUsageError(configError('ATP_X', 'x'))).toBe(true)
    expect(isUsageError(unsupportedError('ATP_X', 'no ssh'))).toBe(true)
    expect(isUsageError(unsupportedError('ATP_X', 'disk full', { verdict: 'infrastructure' }))).toBe(false)
    expect(isUsageError(new Error('x'))).toBe(false)
  })
})
