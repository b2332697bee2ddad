import type { Secret } from '../../core/index.ts'
import { workerRuntime } from './runtime.ts'

/**
 * A secret of the configuration: opaque, shown as `•••` in logs and reports, revealed only where it is typed or sent.
 *
 * @throws `ATP_SECRET_UNKNOWN`, `ATP_SECRET_MISSING`.
 */
export function secret(name: string): Secret {
  return workerRuntime().secret(name)
}
