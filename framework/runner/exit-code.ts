import { isAtpError } from '../core/index.ts'
import type { RunTally } from './adapter.ts'

/**
 * Exit codes of `atp test`. Where several apply the earlier in this list wins:
 * 130/143 interrupted, 2 usage or configuration, 3 infrastructure broken, 1 tests failed, 0 passed.
 */
export const EXIT = { passed: 0, failed: 1, usage: 2, infrastructure: 3, sigint: 130, sigterm: 143 } as const

/** What the user wrote is wrong, or asks for something that cannot be had here. */
export function isUsageError(error: unknown): boolean {
  return isAtpError(error) && (error.branch === 'config' || error.branch === 'unsupported') && error.verdict === 'spec'
}

/** The exit code that a finished run deserves. */
export function exitCodeOf(
  tally: RunTally,
  options: { signal?: 'SIGINT' | 'SIGTERM'; qualityGateFailed?: boolean; passWithNoTests?: boolean } = {},
): number {
  if (options.signal) return options.signal === 'SIGINT' ? EXIT.sigint : EXIT.sigterm
  const { counts, verdicts, loadErrors, errors } = tally
  const ran = counts.passed + counts.failed + counts.broken
  const any = ran + counts.skipped + counts.pending
  if (loadErrors > 0 || (any === 0 && !options.passWithNoTests)) return EXIT.usage
  if (verdicts.infrastructure > 0 || errors.some((error) => error.verdict === 'infrastructure'))
    return EXIT.infrastructure
  const failed = verdicts.product + verdicts.spec + verdicts.framework
  // Tests that never ran because of "bail" follow a failure; without one they mean that something went wrong.
  if (failed > 0 || errors.length > 0 || counts.pending > 0 || options.qualityGateFailed) return EXIT.failed
  return EXIT.passed
}
