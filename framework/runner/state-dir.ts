import { join } from 'node:path'
import { labPaths } from '../../lab/paths.ts'

/** Directory of the broker's socket, journal and log: one broker, and so one view of the hosts, per user. */
export function stateDir(): string {
  return join(labPaths().home, 'broker')
}
