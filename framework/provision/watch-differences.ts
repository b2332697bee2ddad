import { type CallOptions, sleep } from '../core/index.ts'
import type { WorldComparison } from './api.ts'
import { compareWorlds } from './compare-worlds.ts'
import type { LocatorOptions } from './locator.ts'

const INTERVAL_MS = 5000

/**
 * Follows both worlds: tells how they compare at once, and again whenever their differences have changed. Ends when
 * its reader stops, or with `ATP_INTERRUPTED` when the signal aborts. `timeoutMs` bounds each comparison's calls.
 *
 * @throws as {@link compareWorlds}
 */
export async function* watchDifferences({
  intervalMs = INTERVAL_MS,
  ...options
}: LocatorOptions & CallOptions & { intervalMs?: number }): AsyncGenerator<WorldComparison, never, undefined> {
  for (let last: string | undefined; ; await sleep(intervalMs, options.signal)) {
    const comparison = await compareWorlds(options)
    const differences = JSON.stringify(comparison.differences)
    if (differences === last) continue
    last = differences
    yield comparison
  }
}
