import { isDeepStrictEqual } from 'node:util'
import { parseLibvirtUri } from '../protocols/libvirt/uri.ts'
import type { HostInfo } from './access.ts'
import { poolSettings, type PoolSettings } from './connection-pool-settings.ts'
import type { HostConnectionOptions } from './host-connection.ts'
import { hostInfo } from './host-info.ts'

/** How each connection to a host is kept. */
export type ConnectionSettings = Omit<HostConnectionOptions, keyof CallBounds | 'observe' | 'openTransport'>
type CallBounds = Pick<HostConnectionOptions, 'signal' | 'timeoutMs'>

/** A host and how its connections are kept. A bare `HostInfo` is one. */
export interface HostSettings extends HostInfo {
  readonly pool?: PoolSettings
  readonly connection?: ConnectionSettings
}

/**
 * The settings as values that never change.
 *
 * @throws `ATP_HOST_INVALID`, `ATP_LIBVIRT_URI`, `ATP_POOL_SETTINGS`.
 */
export function checkedHost({ pool, connection, ...host }: HostSettings): HostSettings {
  const info = hostInfo(host)
  parseLibvirtUri(info.uri, { allow: info.access?.allow })
  poolSettings(pool)
  return Object.freeze({
    ...info,
    ...(pool === undefined ? {} : { pool: Object.freeze({ ...pool }) }),
    ...(connection === undefined ? {} : { connection: Object.freeze({ ...connection }) }),
  })
}

/** Whether both are reached and kept in the same way, whatever their labels are. */
export function sameHost(a: HostSettings, b: HostSettings): boolean {
  return isDeepStrictEqual(comparable(a), comparable(b))
}

function comparable({ access, labels: _labels, ...rest }: HostSettings): unknown {
  const { sasl, ...others } = access ?? {}
  // A setting that is there but undefined is the same as none; secrets show their value to nobody else.
  const plain: unknown = JSON.parse(JSON.stringify([rest, others]))
  return [plain, sasl?.user, sasl?.password.reveal()]
}
