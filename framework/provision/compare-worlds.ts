import { type CallOptions, isAtpError } from '../core/index.ts'
import type { DomainState } from '../protocols/libvirt/index.ts'
import { type DomainVO, type HostVO, VM_STATUS, vmStatusText } from '../vdi/index.ts'
import type { WorldComparison, WorldDifference } from './api.ts'
import { DomainIndex, type PlacedDomain, placeText } from './domain-match.ts'
import { Locator, type LocatorOptions } from './locator.ts'

interface SeenDomain extends PlacedDomain {
  state: DomainState
}

/**
 * Compares the platform's VMs with the domains of its hypervisors. The two cannot be read at the same moment, so only
 * differences that two looks show are told.
 *
 * @throws what the client throws, and as `Locator.domainsOn`: a host that cannot be asked leaves the question open
 */
export async function compareWorlds(options: LocatorOptions & CallOptions): Promise<WorldComparison> {
  const locator = new Locator(options)
  const first = await look(options, locator)
  if (first.differences.length === 0) return first
  const second = await look(options, locator)
  const known = new Set(first.differences.map(textOf))
  return { ...second, differences: second.differences.filter((difference) => known.has(textOf(difference))) }
}

async function look(
  { client, manager, signal, timeoutMs }: LocatorOptions & CallOptions,
  locator: Locator,
): Promise<WorldComparison> {
  const bounds = { signal, timeoutMs }
  const [hosts, listed, models] = await Promise.all([
    client.hosts.listAll({}, bounds),
    client.domains.listAll({}, bounds),
    client.models.listAll({}, bounds),
  ])
  const perHost = hosts.map(async (host) => withStates(await locator.domainsOn(host, bounds), manager, bounds))
  const domains = (await Promise.all(perHost)).flat()
  const index = new DomainIndex(domains)
  const vms = listed.filter(({ isModel }) => isModel !== 1)
  const templates = [...models, ...listed.filter(({ isModel }) => isModel === 1)]
  const { busyStatuses } = client.assumptions
  const claimed = new Set<PlacedDomain>(templates.flatMap((template) => candidates(template, index)))
  const differences = vms.flatMap((vm): WorldDifference[] => {
    const found = candidates(vm, index)
    for (const domain of found) claimed.add(domain)
    return differencesOf(vm, found, hosts, client.assumptions)
  })
  const unknown = domains
    .filter((domain) => !claimed.has(domain))
    .map(({ domain, platformHost, state }): WorldDifference => ({
      kind: 'missing-on-platform',
      vm: domain.name,
      id: domain.uuid,
      host: platformHost.name,
      platform: 'no VM',
      libvirt: state,
    }))
  return {
    hosts: hosts.length,
    vms: vms.length,
    domains: domains.length,
    busy: vms.filter(({ status }) => busyStatuses.includes(status)).length,
    differences: [...differences, ...unknown],
  }
}

async function withStates(
  placed: readonly PlacedDomain[],
  manager: LocatorOptions['manager'],
  bounds: CallOptions,
): Promise<SeenDomain[]> {
  const seen = placed.map(async (one): Promise<SeenDomain[]> => {
    const { domain, host } = one
    if (domain.id === -1) return [{ ...one, state: 'shutoff' }]
    try {
      const { state } = await manager.executeOnHost(
        host.id,
        async (connection, stop) =>
          (await connection.client('control', { signal: stop })).getState(domain, { signal: stop }),
        { ...bounds, idempotent: true },
      )
      return [{ ...one, state }]
    } catch (error) {
      if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return []
      throw error
    }
  })
  return (await Promise.all(seen)).flat()
}

/** On other hosts than its own a name proves nothing. */
function candidates(vm: DomainVO, index: DomainIndex<SeenDomain>): SeenDomain[] {
  const withId = index.withId(vm)
  return index
    .matches(vm)
    .filter((domain) => withId.includes(domain) || !vm.hostId || domain.platformHost.id === vm.hostId)
}

function differencesOf(
  vm: DomainVO,
  found: readonly SeenDomain[],
  hosts: readonly HostVO[],
  assumptions: Parameters<typeof vmStatusText>[1] & { busyStatuses: readonly number[] },
): WorldDifference[] {
  const host = hosts.find(({ id }) => id === vm.hostId)?.name
  const status = vmStatusText(vm.status, assumptions)
  const subject = { vm: vm.name, id: vm.id, host, platform: status }
  const [domain, ...more] = found
  if (!domain) return [{ ...subject, kind: 'missing-in-libvirt', libvirt: 'no domain' }]
  if (more.length > 0) return [{ ...subject, kind: 'ambiguous', libvirt: found.map(placeText).join(', ') }]
  const { state, platformHost } = domain
  const elsewhere: WorldDifference[] =
    vm.hostId && platformHost.id !== vm.hostId
      ? [{ ...subject, kind: 'wrong-host', platform: `on ${host ?? vm.hostId}`, libvirt: `on ${platformHost.name}` }]
      : []
  const fits = assumptions.busyStatuses.includes(vm.status) || statesOf(vm.status, assumptions).includes(state)
  return fits ? elsewhere : [...elsewhere, { ...subject, kind: 'state', libvirt: state }]
}

/** What libvirt may say of a VM with this status. */
function statesOf(status: number, { hibernatedStatus }: { hibernatedStatus: number }): readonly DomainState[] {
  switch (status) {
    case VM_STATUS.off:
      return ['shutoff', 'crashed']
    case VM_STATUS.running:
      return ['running', 'blocked', 'shutdown']
    case VM_STATUS.suspended:
      return ['paused', 'suspended']
    case hibernatedStatus:
      return ['shutoff']
    default:
      return []
  }
}

function textOf({ kind, id, platform, libvirt }: WorldDifference): string {
  return [kind, id, platform, libvirt].join('\n')
}
