import { type CallOptions, remoteError } from '../core/index.ts'
import type { TransportManager } from '../hosts/index.ts'
import type { DomainVO, HostVO, VdiClient } from '../vdi/index.ts'
import type { HostRules, LocatedVm, VmLocator } from './api.ts'
import { DomainIndex, type PlacedDomain, placeText } from './domain-match.ts'
import { HostDirectory } from './host-directory.ts'

/** What a locator works with. All of it stays the caller's to close. */
export interface LocatorOptions {
  client: VdiClient
  manager: TransportManager
  rules: HostRules
}

/** Finds VMs of a platform on their hypervisors: see {@link VmLocator}. */
export class Locator implements VmLocator {
  readonly #client: VdiClient
  readonly #manager: TransportManager
  readonly #directory: HostDirectory

  constructor({ client, manager, rules }: LocatorOptions) {
    this.#client = client
    this.#manager = manager
    this.#directory = new HostDirectory(rules, manager)
  }

  async locate(vm: DomainVO, options?: CallOptions): Promise<LocatedVm> {
    return (await this.locateAll([vm], options))[0] as LocatedVm
  }

  async locateAll(vms: readonly DomainVO[], options?: CallOptions): Promise<LocatedVm[]> {
    const { places, placed } = await this.#domainsOf(vms, options)
    const domains = new DomainIndex(placed)
    return vms.map((vm, index) => {
      const hosts = places[index] as HostVO[]
      const found = domains.matches(vm).filter(({ platformHost }) => hosts.includes(platformHost))
      const [first, ...more] = found
      if (first && more.length === 0) return { vm, ...first }
      const context = { vm: vm.name, id: vm.id, hosts: hosts.map(({ name }) => name) }
      throw first
        ? remoteError(
            'ATP_PROVISION_VM_AMBIGUOUS',
            `VM "${vm.name}" may be any of ${found.map(placeText).join(', ')}`,
            {
              context,
              remedy: "rename or remove the domain that is not the platform's",
            },
          )
        : remoteError('ATP_PROVISION_VM_MISSING', `no domain of VM "${vm.name}" (${vm.id}) on ${hostNames(hosts)}`, {
            context,
            remedy: 'see what differs with "npx atp vdi verify"',
          })
    })
  }

  async remaining(vms: readonly DomainVO[], options?: CallOptions): Promise<string[]> {
    const { placed } = await this.#domainsOf(vms, options)
    const domains = new DomainIndex(placed)
    return [...new Set(vms.flatMap((vm) => domains.matches(vm)))].map(placeText)
  }

  /** Every domain of a host of the platform. @throws as {@link VmLocator.locate} */
  async domainsOn(platformHost: HostVO, options?: CallOptions): Promise<PlacedDomain[]> {
    const host = this.#directory.hostOf(platformHost)
    const domains = await this.#manager.executeOnHost(
      host.id,
      async (connection, signal) => (await connection.client('control', { signal })).listDomains({ signal }),
      { ...options, idempotent: true },
    )
    return domains.map((domain) => ({ domain, platformHost, host }))
  }

  /** For each VM the hosts it may be on, and all domains of these hosts. */
  async #domainsOf(vms: readonly DomainVO[], options?: CallOptions) {
    const all = await this.#client.hosts.listAll({}, options)
    const places = vms.map((vm): HostVO[] => {
      if (!vm.hostId) return all
      const own = all.find(({ id }) => id === vm.hostId)
      if (own) return [own]
      throw remoteError(
        'ATP_PROVISION_HOST_MISSING',
        `VM "${vm.name}" is on host ${vm.hostName || vm.hostId}, which the platform does not list`,
        { context: { vm: vm.name, id: vm.id, hostId: vm.hostId } },
      )
    })
    const asked = await Promise.all([...new Set(places.flat())].map((host) => this.domainsOn(host, options)))
    return { places, placed: asked.flat() }
  }
}

function hostNames(hosts: readonly HostVO[]): string {
  return `host${hosts.length === 1 ? '' : 's'} ${hosts.map(({ name }) => name).join(', ')}`
}
