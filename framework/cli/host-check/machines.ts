import { isIP } from 'node:net'
import pLimit from 'p-limit'
import type { CallOptions } from '../../core/index.ts'
import { parseDomainXml, type Domain, type DomainXml, type LibvirtClient } from '../../protocols/libvirt/index.ts'
import { connectTcp } from '../../transport/index.ts'
import type { Finding } from '../finding.ts'
import { withoutRemedy } from './explain.ts'

/** A running VM and what its XML says. */
export interface Machine {
  domain: Domain
  xml: DomainXml
}

const AGENT_CHANNEL = 'org.qemu.guest_agent.0'
const AGENT_TIMEOUT_MS = 3_000
const PORT_TIMEOUT_MS = 3_000
/** As many calls as one connection has under way at a time. */
const AT_ONCE = 4
const NAMES_SHOWN = 5

/** The running VMs. One that ends meanwhile is left out. */
export async function readMachines(
  client: LibvirtClient,
  bounds: CallOptions,
): Promise<{ total: number; machines: Machine[] }> {
  const domains = await client.listDomains(bounds)
  const limit = pLimit(AT_ONCE)
  const read = domains
    .filter(({ id }) => id >= 0)
    .map((domain) =>
      limit(async (): Promise<Machine[]> => {
        try {
          return [{ domain, xml: parseDomainXml(await client.getXml(domain, bounds)) }]
        } catch (error) {
          if ((error as { code?: string }).code === 'ATP_LIBVIRT_NO_DOMAIN') return []
          throw error
        }
      }),
    )
  return { total: domains.length, machines: (await Promise.all(read)).flat() }
}

/** Whether the agents in the guests answer. */
export async function examineAgents(
  client: LibvirtClient,
  machines: readonly Machine[],
  bounds: CallOptions,
): Promise<{ answering: number; findings: Finding[] }> {
  const what = 'guest agents'
  if (machines.length === 0) return { answering: 0, findings: [{ state: 'ok', what, detail: 'no VM runs' }] }
  const without: string[] = []
  const silent: string[] = []
  const answering: string[] = []
  const limit = pLimit(AT_ONCE)
  await Promise.all(
    machines.map(({ domain, xml }) =>
      limit(async () => {
        const channel = xml.channels.find(({ name }) => name === AGENT_CHANNEL)
        if (!channel) return without.push(domain.name)
        if (channel.state !== 'connected') return silent.push(domain.name)
        try {
          await client.agentCommand(domain, '{"execute":"guest-ping"}', { ...bounds, timeoutMs: AGENT_TIMEOUT_MS })
          return answering.push(domain.name)
        } catch {
          return silent.push(domain.name)
        }
      }),
    ),
  )
  const findings: Finding[] =
    answering.length > 0
      ? [{ state: 'ok', what, detail: `${answering.length} of ${machines.length} running VMs answer` }]
      : []
  if (silent.length > 0) {
    findings.push({
      state: 'warn',
      what,
      detail: `no answer from ${named(silent)}`,
      remedy: 'install and start qemu-guest-agent in the guest; one that is still booting answers later',
    })
  }
  if (without.length > 0) {
    findings.push({
      state: 'warn',
      what,
      detail: `no channel in ${named(without)}`,
      remedy: `add <channel type='unix'><target type='virtio' name='${AGENT_CHANNEL}'/></channel> to the VM's XML`,
    })
  }
  return { answering: answering.length, findings }
}

interface Place {
  vm: string
  host: string
  port: number
  /** `port` or `tls-port` */
  kind: string
}

/**
 * Whether SPICE servers can be reached from here.
 *
 * @param hostAddress Where the hypervisor is, seen from here; servers that listen everywhere are reached there.
 * @param local The hypervisor is this machine.
 */
export async function examineSpice(
  machines: readonly Machine[],
  { hostAddress, local }: { hostAddress: string; local: boolean },
  bounds: CallOptions,
): Promise<Finding[]> {
  const what = 'SPICE'
  const hidden: string[] = []
  const places: Place[] = []
  for (const { domain, xml } of machines) {
    for (const { listen, port, tlsPort } of xml.graphics.filter(({ type }) => type === 'spice')) {
      const host = reachedAt(listen, hostAddress, local)
      if (host === undefined || (port === undefined && tlsPort === undefined)) hidden.push(domain.name)
      else {
        if (port !== undefined) places.push({ vm: domain.name, host, port, kind: 'port' })
        if (tlsPort !== undefined) places.push({ vm: domain.name, host, port: tlsPort, kind: 'tls-port' })
      }
    }
  }
  const limit = pLimit(AT_ONCE)
  const tried = await Promise.all(
    places.map((place) =>
      limit(async () => {
        try {
          const stream = await connectTcp(place, { ...bounds, timeoutMs: PORT_TIMEOUT_MS })
          stream.destroy()
          return { place }
        } catch (error) {
          return { place, error: error as unknown }
        }
      }),
    ),
  )
  const reached = tried.filter(({ error }) => error === undefined)
  const failed = tried.filter(({ error }) => error !== undefined)
  const findings: Finding[] = []
  if (tried.length + hidden.length === 0)
    findings.push({ state: 'ok', what, detail: 'no running VM has a SPICE screen' })
  if (reached.length > 0) {
    const list = reached.map(({ place: { vm, host, port, kind } }) => `${vm} ${authority(host, port)} (${kind})`)
    findings.push({ state: 'ok', what, detail: `reachable: ${named(list)}` })
  }
  if (failed.length > 0) {
    const list = failed.map(({ place: { vm, host, port } }) => `${vm} ${authority(host, port)}`)
    findings.push({
      state: 'warn',
      what,
      detail: `not reachable: ${named(list)}: ${withoutRemedy(failed[0]?.error)}`,
      remedy: 'open these ports in the host’s firewall',
    })
  }
  if (hidden.length > 0) {
    findings.push({
      state: 'warn',
      what,
      detail: `listens only on the host itself, or on no port: ${named(hidden)}`,
      remedy:
        "let it listen where this machine gets to: <listen type='address' address='0.0.0.0'/>, with a password or TLS",
    })
  }
  return findings
}

/** Where a server that listens there is reached from here; undefined for one that listens elsewhere only. */
function reachedAt(listen: string | undefined, hostAddress: string, local: boolean): string | undefined {
  if (listen === undefined) return undefined
  if (listen === '0.0.0.0' || listen === '::') return hostAddress
  if (listen === 'localhost' || listen === '::1' || listen.startsWith('127.')) return local ? listen : undefined
  return listen
}

function authority(host: string, port: number): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

function named(list: readonly string[]): string {
  const shown = list.slice(0, NAMES_SHOWN).join(', ')
  return list.length > NAMES_SHOWN ? `${shown} and ${list.length - NAMES_SHOWN} more` : shown
}
