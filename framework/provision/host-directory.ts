import { configError, nearest } from '../core/index.ts'
import { hostInfo, type HostInfo, type TransportManager } from '../hosts/index.ts'
import { parseLibvirtUri } from '../protocols/libvirt/index.ts'
import type { HostVO } from '../vdi/index.ts'
import type { ConfiguredHost, HostRules } from './api.ts'

/** Which hypervisor host each of the platform's hosts is. */
export class HostDirectory {
  readonly #rules: HostRules
  readonly #manager: TransportManager

  constructor(rules: HostRules, manager: TransportManager) {
    this.#rules = rules
    this.#manager = manager
  }

  /**
   * The host for the transport manager, which knows it from now on.
   *
   * @throws as {@link reachOf} and `TransportManager.addHost`
   */
  hostOf(host: HostVO): HostInfo {
    const settings = reachOf(host, this.#rules).settings()
    const known = this.#manager.hosts().find(({ id, uri }) => id === settings.id && uri === settings.uri)
    if (!known) this.#manager.addHost(settings)
    return known ?? settings
  }
}

/**
 * How a host of the platform is reached.
 *
 * @throws `ATP_PROVISION_HOST_AMBIGUOUS`, `ATP_PROVISION_HOST_UNKNOWN`
 */
export function reachOf(host: HostVO, { hosts, configured, hostUri }: HostRules): ConfiguredHost {
  const names = [host.id, host.name, host.ip]
  const key = names.find((name) => Object.hasOwn(hosts, name))
  if (key !== undefined) return named(hosts[key] as string, key, configured)
  const byId = configured.filter(({ id }) => names.includes(id))
  const found = byId.length > 0 ? byId : configured.filter(({ uri }) => leadsTo(uri, [host.name, host.ip]))
  const [first, ...more] = found
  if (!first) {
    const info = { id: host.name, uri: filled(hostUri, host) }
    return { ...info, settings: () => hostInfo(info) }
  }
  if (more.length === 0) return first
  const ids = found.map(({ id }) => id)
  throw configError(
    'ATP_PROVISION_HOST_AMBIGUOUS',
    `the platform's host "${host.name}" (${host.ip}) may be any of ${ids.join(', ')}`,
    { context: { host: host.name, ids }, remedy: `say which: vdi.hosts: { '${host.name}': '${ids[0]}' }` },
  )
}

function named(id: string, key: string, configured: readonly ConfiguredHost[]): ConfiguredHost {
  const host = configured.find((one) => one.id === id)
  if (host) return host
  const ids = configured.map((one) => one.id)
  const guess = nearest(id, ids)
  throw configError('ATP_PROVISION_HOST_UNKNOWN', `vdi.hosts leads from "${key}" to "${id}", which is no host`, {
    context: { host: key, id },
    remedy: guess ? `did you mean "${guess}"?` : `known: ${ids.join(', ') || 'none'}`,
  })
}

function filled(pattern: string, { id, name, ip }: HostVO): string {
  const values: Record<string, string> = { '{id}': id, '{name}': name, '{ip}': ip.includes(':') ? `[${ip}]` : ip }
  return pattern.replaceAll(/\{(?:id|name|ip)\}/g, (key) => values[key] as string)
}

function leadsTo(uri: string, names: readonly string[]): boolean {
  try {
    const { host } = parseLibvirtUri(uri, { allow: ['no_verify', 'netcat', 'command'] })
    return host !== undefined && names.includes(host)
  } catch {
    // Whoever uses it is told why it cannot be used.
    return false
  }
}
