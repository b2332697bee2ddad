import type { ResolvedConfig, ResolvedHost } from '../config/index.ts'
import { hostInfo } from '../hosts/index.ts'
import { uriWithoutSecrets } from '../protocols/libvirt/index.ts'
import { hostInfoOf, uriOf } from '../runner/configured-hosts.ts'
import { labPaths } from '../../lab/index.ts'
import { daemonPid, knownHosts } from '../../lab/hosts.ts'
import type { CheckedHost } from './host-check/check-host.ts'

/** A host as the commands see it, wherever it comes from. */
export interface KnownHost extends CheckedHost {
  capacity: number | undefined
  labels: string[]
  /** For the lab's hosts: whether their daemon runs. */
  up: boolean | undefined
}

/** Making a connection to a host of the lab. */
const LAB_CONNECT_TIMEOUT_MS = 30_000

/** A configured host, also one whose address cannot be used: to examine it says why. */
export function configuredHost(host: ResolvedHost): CheckedHost {
  return {
    id: host.id,
    uri: shownUri(host),
    origin: host.place,
    info: () => hostInfoOf(host),
    connectTimeoutMs: host.connection.connectTimeoutMs,
  }
}

/** Nobody has checked it yet. */
function shownUri(host: ResolvedHost): string {
  try {
    return uriWithoutSecrets(uriOf(host))
  } catch {
    return uriWithoutSecrets(`qemu+ssh://${host.host}/system`)
  }
}

/** Those of the configuration and the hosts file, in their order; then, where it is on, those of the lab. */
export async function allHosts(config: ResolvedConfig): Promise<KnownHost[]> {
  const configured = config.hosts.map((host): KnownHost => ({
    ...configuredHost(host),
    capacity: host.capacity,
    labels: host.labels,
    up: undefined,
  }))
  const lab = config.lab === undefined ? [] : await knownHosts(labPaths())
  const ofLab = lab.map(async (host): Promise<KnownHost> => ({
    id: host.id,
    uri: host.uri,
    origin: 'lab',
    info: () => hostInfo({ id: host.id, uri: host.uri }),
    connectTimeoutMs: LAB_CONNECT_TIMEOUT_MS,
    capacity: undefined,
    labels: [],
    up: (await daemonPid(host)) !== undefined,
  }))
  return [...configured, ...(await Promise.all(ofLab))]
}
