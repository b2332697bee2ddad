/** Both worlds as the tests use them: the stand-in in memory, and hosts that list what its machines are. */
import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { remoteError } from '../../../framework/core/index.ts'
import { type HostConnection, TransportManager } from '../../../framework/hosts/index.ts'
import type { Domain, DomainState } from '../../../framework/protocols/libvirt/index.ts'
import { type HostRules, Locator } from '../../../framework/provision/index.ts'
import { VdiClient, type VdiExchange } from '../../../framework/vdi/index.ts'
import { MemoryWorld, type PlatformBehaviour, startPlatform } from '../../../lab/platform/index.ts'
import type { WorldVm } from '../../../lab/platform/world.ts'
import { FakeConnection } from '../hosts/fake-connection.ts'

const STATES: Record<string, DomainState> = {
  off: 'shutoff',
  running: 'running',
  suspended: 'paused',
  asleep: 'shutoff',
}

/** A domain as a host lists it. */
export interface Listed extends Domain {
  state: DomainState
}

/** A world that also tells on which host each machine is. */
class ListedWorld extends MemoryWorld {
  readonly hostOf = new Map<string, string>()
  /** Machines that stay when the platform removes them. */
  readonly keeps = new Set<string>()
  /** What the making of a machine waits for. */
  making: Promise<void> | undefined

  override async create(vm: WorldVm): Promise<void> {
    this.hostOf.set(vm.id, vm.hostId)
    await this.making
    await super.create(vm)
  }

  override async remove(vm: WorldVm): Promise<void> {
    if (!this.keeps.has(vm.id)) this.hostOf.delete(vm.id)
    await super.remove(vm)
  }
}

/** Starts both worlds, which end with the test. */
export async function worlds(behaviour: Partial<PlatformBehaviour> = {}) {
  const world = new ListedWorld()
  const platform = await startPlatform({ world, behaviour: { busyMs: 10, ...behaviour } })
  const seen: VdiExchange[] = []
  const client = new VdiClient({
    observe: (exchange) => void seen.push(exchange),
    baseUrl: platform.url,
    username: platform.adminUser,
    password: platform.adminPassword,
    validation: 'strict',
    pace: { firstMs: 5, longestMs: 50 },
  })
  /** Changes what a host lists. */
  const edits: ((domains: Listed[], host: string) => Listed[])[] = []
  const listing = (hostName: string): Listed[] => {
    const hostId = platform.hosts.find(({ name }) => name === hostName)?.id
    const own = world.list().filter(({ id }) => world.hostOf.get(id) === hostId)
    const domains = own.map(({ id, name, state }): Listed => {
      return {
        uuid: id,
        name,
        id: state === 'running' || state === 'suspended' ? 7 : -1,
        state: STATES[state] as DomainState,
      }
    })
    return edits.reduce((list, edit) => edit(list, hostName), domains)
  }
  const manager = new TransportManager({
    create: ({ id }) => {
      const fake = new FakeConnection(id)
      queueMicrotask(() => fake.arrive())
      const libvirt = {
        listDomains: async () => listing(id),
        getState: async ({ uuid, name }: Domain) => {
          const domain = listing(id).find((one) => one.uuid === uuid)
          if (domain) return domain
          throw remoteError('ATP_LIBVIRT_NO_DOMAIN', `there is no VM "${name}"`)
        },
      }
      return Object.assign(fake, { client: async () => libvirt }) as unknown as HostConnection
    },
  })
  const rules: HostRules = { hosts: {}, configured: [], hostUri: 'qemu+tcp://{ip}/system' }
  onTestFinished(async () => {
    await manager.close()
    await client.close()
    await platform.close()
  })
  const locator = new Locator({ client, manager, rules })
  return { world, platform, client, manager, rules, locator, edits, seen }
}

export type Worlds = Awaited<ReturnType<typeof worlds>>

/** What both worlds have, to be the same before and after. */
export async function contents({ world, client }: Worlds): Promise<unknown> {
  return {
    machines: world.list(),
    vms: (await client.domains.listAll()).map(({ name }) => name),
    pools: (await client.deskPools.listAll()).map(({ name }) => name),
  }
}

/** A domain that no platform knows. */
export function stranger(name: string): Listed {
  return { uuid: randomUUID(), name, id: -1, state: 'shutoff' }
}
