import { randomBytes } from 'node:crypto'
import type { RelayAddress } from '../metrics/relay-client.ts'

/** A place of its own for one run: a name in Linux' abstract namespace, which leaves nothing behind. */
export function newRelayAddress(): RelayAddress {
  return { path: `\0atp-metrics-${randomBytes(12).toString('hex')}`, key: randomBytes(32).toString('base64url') }
}
