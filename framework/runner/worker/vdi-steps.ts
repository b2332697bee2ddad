import { configError, pollUntil, remoteError, type CallOptions, type Secret } from '../../core/index.ts'
import type { DesktopVm, Vm } from '../../desktop/index.ts'
import { destroyPool } from '../../provision/index.ts'
import { chosenTemplate } from '../../provision/template.ts'
import type {
  FreezeType,
  PlatformPool,
  PlatformVm,
  PoolVerb,
  SnapshotVerb,
  VdiService,
  VmVerb,
} from '../../scenario/index.ts'
import type { DomainVO, FREEZE_TYPE, VdiClient, VmState } from '../../vdi/index.ts'
import type { WorkerPlatform } from './platform.ts'
import type { TestScope } from './test-scope.ts'

const BY_NAME = new Intl.Collator('en', { numeric: true })
const FREEZE_WORDS: Record<FreezeType, keyof typeof FREEZE_TYPE> = {
  each_boot: 'eachBoot',
  daily: 'daily',
  weekly: 'weekly',
  monthly: 'monthly',
}

/** What steps use of the worker's platform. */
export type VdiDesktops = Pick<WorkerPlatform, 'client' | 'template' | 'ownedPool' | 'open'>

/** The platform for the steps of one test. */
export class VdiSteps implements VdiService {
  readonly #platform: VdiDesktops
  readonly #scope: TestScope
  readonly #open = new Map<string, Promise<DesktopVm>>()

  constructor(platform: VdiDesktops, scope: TestScope) {
    this.#platform = platform
    this.#scope = scope
  }

  get #client(): VdiClient {
    return this.#platform.client
  }

  async createPool(
    { name, count, template }: { name: string; count: number; template?: string },
    call: CallOptions,
  ): Promise<PlatformPool> {
    const { deskPools } = this.#client
    const { id: modelId } = await chosenTemplate(this.#client, template ?? this.#platform.template, call)
    // Before the last will: it is about a pool of ours only.
    if (await deskPools.find(name, call)) {
      throw configError('ATP_PROVISION_POOL_EXISTS', `the platform has a desk pool "${name}" already`, {
        remedy: 'choose another name, or remove that pool',
      })
    }
    return this.#platform.ownedPool(this.#scope, name, async (signal) => {
      const bounds = { ...call, signal: call.signal ? AbortSignal.any([call.signal, signal]) : signal }
      try {
        const order = { name, type: 0, amount: count, modelId, domainPrefix: name } as const
        const { eventId } = await deskPools.create(order, bounds)
        const { pool } = await deskPools.waitForPool(name, count, { ...bounds, events: [eventId] })
        return pool
      } catch (error) {
        await this.#undo(name, error)
        throw error
      }
    })
  }

  async pool(idOrName: string, call: CallOptions): Promise<PlatformPool> {
    const pools = await this.#client.deskPools.listAll({}, call)
    return one(pools, idOrName, 'desk pool')
  }

  async poolVms(poolId: string, call: CallOptions): Promise<PlatformVm[]> {
    return byName(await this.#client.deskPools.domains(poolId, call))
  }

  async changePool(verb: PoolVerb, poolId: string, call: CallOptions): Promise<void> {
    const { deskPools } = this.#client
    if (verb !== 'delete') return deskPools[verb](poolId, call)
    await this.#forget((await deskPools.domains(poolId, call)).map(({ id }) => id))
    await destroyPool({ ...call, client: this.#client, pool: { id: poolId } })
  }

  async switchTemplate(poolId: string, template: string, call: CallOptions): Promise<void> {
    const { id } = await chosenTemplate(this.#client, template, call)
    const event = await this.#client.deskPools.switchModel(poolId, id, call)
    await this.#client.deskPools.waitForModel(poolId, id, { ...call, events: [event] })
  }

  async vm(idOrName: string, call: CallOptions): Promise<PlatformVm> {
    return this.#find(idOrName, call)
  }

  async changeVms(verb: VmVerb, all: readonly string[], call: CallOptions): Promise<void> {
    const { domains } = this.#client
    const ids = [...all]
    const until = async (work: Promise<{ events: string[] }>, state: VmState, afterChange = false) => {
      const { events } = await work
      await domains.waitForStatus(ids, state, { ...call, events, afterChange })
    }
    // What is open to a machine that ends says nothing of the next one.
    if (!['suspend', 'resume', 'unbind_user'].includes(verb)) await this.#forget(ids)
    switch (verb) {
      case 'start':
        return until(domains.start(ids, call), 'running')
      case 'shutdown':
        return until(domains.close(ids, call), 'off')
      case 'force_shutdown':
        return until(domains.close(ids, { ...call, force: true }), 'off')
      case 'reboot':
        return until(domains.reboot(ids, call), 'running', true)
      case 'suspend':
        return until(domains.suspend(ids, call), 'suspended')
      case 'resume':
        return until(domains.resume(ids, call), 'running')
      case 'sleep':
        return until(domains.sleep(ids, call), 'hibernated')
      case 'wake':
        return until(domains.wakeup(ids, call), 'running')
      case 'unfreeze':
        return domains.restore(ids, call)
      case 'rebase':
        return domains.rebase(ids, call)
      case 'unbind_user':
        return domains.unbindUser(ids, call)
      case 'delete':
        return domains.delete(ids, call)
    }
  }

  async freezeVms(ids: readonly string[], type: FreezeType, call: CallOptions): Promise<void> {
    await this.#client.domains.freeze([...ids], FREEZE_WORDS[type], call)
  }

  async bindUser(user: string, ids: readonly string[], call: CallOptions): Promise<void> {
    await this.#client.domains.bindUser(user, [...ids], call)
  }

  setCpuMemory(ids: readonly string[], to: { cpu?: number; memoryMb?: number }, call: CallOptions): Promise<void> {
    return this.#client.domains.setCpuMemory([...ids], to, call)
  }

  addDisk(ids: readonly string[], sizeGb: number, call: CallOptions): Promise<void> {
    return this.#client.domains.disks.addIndependent([...ids], { sizeGb }, call)
  }

  async expandDisk(vmId: string, disk: string, addGb: number, call: CallOptions): Promise<void> {
    await this.#client.domains.disks.expand(vmId, await this.#diskId(vmId, disk, call), addGb, call)
  }

  async removeDisk(vmId: string, disk: string, call: CallOptions): Promise<void> {
    await this.#client.domains.disks.delete(vmId, await this.#diskId(vmId, disk, call), call)
  }

  async snapshot(verb: SnapshotVerb, vmId: string, name: string, call: CallOptions): Promise<void> {
    const { snapshots } = this.#client.domains
    if (verb === 'create') return this.#eventOver(await snapshots.create(vmId, name, call), `snapshot ${name}`, call)
    const found: { id: string; name: string }[] = []
    for await (const snapshot of snapshots.list(vmId, name, call)) found.push(snapshot as { id: string; name: string })
    const { id } = one(found, name, 'snapshot')
    if (verb === 'delete') return snapshots.delete(id, call)
    await this.#forget([vmId])
    await snapshots.restore(id, call)
    await this.#settled(vmId, call)
  }

  async userLogin(user: string, password: Secret, call: CallOptions) {
    const { userName, domains } = await this.#client.users.login(user, password, call)
    const vms = domains.map(({ id, name }) => ({ id, name: name ?? id }))
    return { user: userName ?? user, vms }
  }

  async userVms(user: string, call: CallOptions): Promise<PlatformVm[]> {
    const found: DomainVO[] = []
    for await (const vm of this.#client.users.domains(user, call)) found.push(vm)
    return byName(found)
  }

  async host(key: string, call: CallOptions): Promise<Record<string, unknown>> {
    const hosts = await this.#client.hosts.listAll({}, call)
    const byAddress = hosts.filter(({ ip }) => ip === key)
    const { id } = byAddress.length === 1 ? (byAddress[0] as { id: string }) : one(hosts, key, 'host')
    return { ...(await this.#client.hosts.get(id, call)) }
  }

  async open(idOrName: string, call: CallOptions): Promise<Vm> {
    const vm = await this.#find(idOrName, call)
    const known = this.#open.get(vm.id)
    if (known) return known
    const opening = this.#platform.open(this.#scope, vm, call.signal ?? this.#scope.signal)
    this.#open.set(vm.id, opening)
    opening.catch(() => this.#open.delete(vm.id))
    return opening
  }

  async #find(idOrName: string, call: CallOptions): Promise<DomainVO> {
    return one(await this.#client.domains.listAll({}, call), idOrName, 'VM')
  }

  /** Closes what is open to these VMs. */
  async #forget(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const open = this.#open.get(id)
      this.#open.delete(id)
      await open?.then((vm) => vm.close()).catch(() => {})
    }
  }

  async #undo(name: string, error: unknown): Promise<void> {
    try {
      await destroyPool({ client: this.#client, pool: { name }, mayAppear: true })
    } catch (second) {
      if (error instanceof Error) error.message += `\n  desk pool "${name}" could not be removed: ${String(second)}`
      if (error instanceof Error && 'context' in error)
        Object.assign(error.context as object, { cleanUp: String(second) })
    }
  }

  async #diskId(vmId: string, disk: string, call: CallOptions): Promise<string> {
    const disks = await this.#client.domains.disks.list(vmId, call)
    return one(disks as { id: string; name: string }[], disk, 'disk').id
  }

  async #eventOver(id: string, what: string, call: CallOptions): Promise<void> {
    const { events } = this.#client
    const event = await pollUntil(`${what} to be made`, call, async (signal) => {
      const found = await events.get(id, { signal })
      return events.verdict(found) === 'unfinished' ? undefined : found
    })
    if (events.verdict(event) === 'succeeded') return
    throw remoteError('ATP_VDI_STATE', `${what}: ${event.errorReason ?? 'its event says that it failed'}`, {
      context: { events: [id] },
    })
  }

  /** Waits while the platform works on a VM. */
  async #settled(id: string, call: CallOptions): Promise<void> {
    const { busyStatuses } = this.#client.assumptions
    await pollUntil(`VM ${id} to be busy no longer`, call, async (signal) =>
      busyStatuses.includes((await this.#client.domains.get(id, { signal })).status) ? undefined : true,
    )
  }
}

/** The one of an id, else the one of a name. */
function one<T extends { id: string; name: string }>(all: readonly T[], idOrName: string, what: string): T {
  const byId = all.filter(({ id }) => id === idOrName)
  const found = byId.length > 0 ? byId : all.filter(({ name }) => name === idOrName)
  const [first, ...more] = found
  if (first && more.length === 0) return first
  const context = { [what]: idOrName, ids: found.map(({ id }) => id) }
  throw first
    ? remoteError('ATP_VDI_AMBIGUOUS', `${found.length} have the name of ${what} "${idOrName}"`, {
        context,
        remedy: `name it by its id: ${context.ids.join(', ')}`,
      })
    : remoteError('ATP_VDI_NOT_FOUND', `there is no ${what} "${idOrName}" on the platform`, { context })
}

function byName(vms: readonly DomainVO[]): PlatformVm[] {
  return vms.toSorted((a, b) => BY_NAME.compare(a.name, b.name))
}
