import {
  configError,
  isAtpError,
  messageOf,
  pollUntil,
  remoteError,
  withDeadline,
  type CallOptions,
  type Secret,
} from '../../core/index.ts'
import type { DesktopVm, Vm } from '../../desktop/index.ts'
import { destroyPool, destroyVm } from '../../provision/index.ts'
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
import type { DomainVO, EndUserSession, FREEZE_TYPE, StorageVolumeVO, VdiClient, VmState } from '../../vdi/index.ts'
import type { WorkerPlatform } from './platform.ts'
import type { TestScope } from './test-scope.ts'

const BY_NAME = new Intl.Collator('en', { numeric: true })
const FREEZE_WORDS: Record<FreezeType, keyof typeof FREEZE_TYPE> = {
  each_boot: 'eachBoot',
  daily: 'daily',
  weekly: 'weekly',
  monthly: 'monthly',
}

/** How long the platform may take to show a change of disks that it answered success to. */
const READ_BACK_MS = 30_000
/** Operations that make something, or nothing when they are refused. */
const CREATIONS = ['deskPools.create', 'domains.create', 'models.clone']
/** An empty machine of which nobody said more. */
const EMPTY_MACHINE = {
  autoJoinDomain: 0,
  bootloader: 'bios',
  graphicsCardNum: 1,
  mainBoard: 'pc',
  sockets: 1,
  threads: 1,
  vgpuType: 'qxl',
} as const

/** What steps use of the worker's platform. */
export type VdiDesktops = Pick<WorkerPlatform, 'client' | 'template' | 'ownedPool' | 'ownedVm' | 'open'>

/** The platform for the steps of one test. */
export class VdiSteps implements VdiService {
  readonly #platform: VdiDesktops
  readonly #scope: TestScope
  readonly #open = new Map<string, Promise<DesktopVm>>()
  /** Sessions of end users that go on, the newest last. */
  readonly #sessions: { user: string; session: EndUserSession }[] = []

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
      const bounds = withSignal(call, signal)
      try {
        const order = { name, type: 0, amount: count, modelId, domainPrefix: name } as const
        const { eventId } = await deskPools.create(order, bounds)
        const { pool } = await deskPools.waitForPool(name, count, { ...bounds, events: [eventId] })
        return pool
      } catch (error) {
        await undo(error, `desk pool "${name}"`, () =>
          destroyPool({ client: this.#client, pool: { name }, mayAppear: true }),
        )
        throw error
      }
    })
  }

  async createVm(
    { name, template, cpu, memoryMb }: { name: string; template?: string; cpu?: number; memoryMb?: number },
    call: CallOptions,
  ): Promise<PlatformVm> {
    const { domains, models } = this.#client
    const model = template === undefined ? undefined : await chosenTemplate(this.#client, template, call)
    const before = await domains.listAll({ keyword: name }, call)
    if (before.some((vm) => vm.name === name)) {
      throw configError('ATP_PROVISION_VM_EXISTS', `the platform has a VM "${name}" already`, {
        remedy: 'choose another name, or remove that VM',
      })
    }
    return this.#platform.ownedVm(this.#scope, name, async (signal) => {
      const bounds = withSignal(call, signal)
      let made: DomainVO | undefined
      try {
        if (!model) {
          const cores = cpu ?? 1
          const id = await domains.create({ ...EMPTY_MACHINE, name, cores, cpu: cores, memory: memoryMb }, bounds)
          return await this.#settled(id, bounds)
        }
        const event = await models.clone(model.id, { name, amount: 1 }, bounds)
        await this.#client.events.waitFor(event, `VM ${name} to be made`, bounds)
        const now = await domains.listAll({ keyword: name }, bounds)
        made = newOne(now, before, name)
        if (!made) throw remoteError('ATP_VDI_STATE', `the platform says that VM "${name}" was made, but has none`)
        await this.#settled(made.id, bounds)
        const own = { ...(cpu && { cpu }), ...(memoryMb && { memoryMb }) }
        if (cpu || memoryMb) await this.setCpuMemory([made.id], own, bounds)
        return await domains.get(made.id, bounds)
      } catch (error) {
        const vm = made ?? { name }
        await undo(error, `VM "${name}"`, () => destroyVm({ client: this.#client, vm, mayAppear: true }))
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
        await domains.restore(ids, call)
        return this.#shown(ids, 'without a restore point', ({ freeze }) => !freeze, call)
      case 'rebase':
        await domains.rebase(ids, call)
        return this.#shown(ids, 'back at their template', (vm) => !this.#isBusy(vm), call)
      case 'unbind_user':
        await domains.unbindUser(ids, call)
        return this.#shown(ids, 'without a user', ({ userId }) => !userId, call)
      case 'delete':
        await domains.delete(ids, call)
        return domains.waitUntilGone(ids, call)
    }
  }

  async freezeVms(ids: readonly string[], type: FreezeType, call: CallOptions): Promise<void> {
    await this.#client.domains.freeze([...ids], FREEZE_WORDS[type], call)
    await this.#shown(ids, 'with a restore point', ({ freeze }) => Boolean(freeze), call)
  }

  async bindUser(user: string, ids: readonly string[], call: CallOptions): Promise<void> {
    await this.#client.domains.bindUser(user, [...ids], call)
    await this.#shown(ids, `bound to ${user}`, ({ userId }) => userId === user, call)
  }

  async setCpuMemory(
    ids: readonly string[],
    to: { cpu?: number; memoryMb?: number },
    call: CallOptions,
  ): Promise<void> {
    await this.#client.domains.setCpuMemory([...ids], to, call)
    const { cpu, memoryMb } = to
    const fits = (vm: DomainVO) =>
      !this.#isBusy(vm) && (cpu ?? vm.cpu) === vm.cpu && (memoryMb ?? vm.memory) === vm.memory
    await this.#shown(ids, [cpu && `${cpu} CPUs`, memoryMb && `${memoryMb} MB`].filter(Boolean).join(', '), fits, call)
  }

  async addDisk(ids: readonly string[], sizeGb: number, call: CallOptions): Promise<void> {
    const { disks } = this.#client.domains
    const before = await Promise.all(ids.map((id) => disks.list(id, call)))
    await disks.addIndependent([...ids], { sizeGb }, call)
    for (const [index, id] of ids.entries()) {
      const isNew = (disk: { id: string }) => !before[index]?.some((old) => old.id === disk.id)
      await this.#disksShown(id, 'another disk', (now) => now.some(isNew), call)
    }
  }

  async expandDisk(vmId: string, disk: string, addGb: number, call: CallOptions): Promise<void> {
    const { id, size } = await this.#disk(vmId, disk, call)
    await this.#client.domains.disks.expand(vmId, id, addGb, call)
    const wanted = (size ?? 0) + addGb
    const grown = (now: readonly StorageVolumeVO[]) => now.some((one) => one.id === id && one.size === wanted)
    await this.#disksShown(vmId, `disk ${disk} with ${wanted} GB`, grown, call)
  }

  async removeDisk(vmId: string, disk: string, call: CallOptions): Promise<void> {
    const { id } = await this.#disk(vmId, disk, call)
    await this.#client.domains.disks.delete(vmId, id, call)
    await this.#disksShown(vmId, `no disk ${disk}`, (now) => now.every((one) => one.id !== id), call)
  }

  async snapshot(verb: SnapshotVerb, vmId: string, name: string, call: CallOptions): Promise<void> {
    const { snapshots } = this.#client.domains
    if (verb === 'create') {
      const event = await snapshots.create(vmId, name, call)
      await this.#client.events.waitFor(event, `snapshot ${name} to be taken`, call)
      await this.#settled(vmId, call)
      return
    }
    const found: { id: string; name: string }[] = []
    for await (const snapshot of snapshots.list(vmId, name, call)) found.push(snapshot as { id: string; name: string })
    const { id } = one(found, name, 'snapshot')
    if (verb === 'delete') {
      await snapshots.delete(id, call)
      await this.#settled(vmId, call)
      return
    }
    await this.#forget([vmId])
    await snapshots.restore(id, call)
    await this.#settled(vmId, call)
  }

  async userLogin(user: string, password: Secret, call: CallOptions) {
    const session = await this.#client.users.login(user, password, call)
    const open = { user, session }
    this.#sessions.push(open)
    this.#scope.defer(`session of ${user}`, async () => {
      if (this.#sessions.includes(open)) await this.#client.users.logout(session)
    })
    const vms = session.domains.map(({ id, name }) => ({ id, name: name ?? id }))
    return { user: session.userName ?? user, vms }
  }

  async userLogout(user: string | undefined, call: CallOptions): Promise<{ user: string; ended: boolean }> {
    const open = this.#sessions.findLast((one) => user === undefined || one.user === user)
    if (!open) {
      throw configError('ATP_SCENARIO_NO_TARGET', `${user ?? 'no end user'} is ${user ? 'not ' : ''}logged in`, {
        remedy: 'log the user in with vdi.user_login before',
      })
    }
    const ended = await this.#client.users.logout(open.session, call)
    this.#sessions.splice(this.#sessions.indexOf(open), 1)
    return { user: open.user, ended }
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
    let opening = this.#open.get(vm.id)
    if (!opening) {
      // Parallel steps share it: one that ends early must not end it for the others.
      opening = this.#platform.open(this.#scope, vm, this.#scope.signal)
      this.#open.set(vm.id, opening)
      opening.catch(() => this.#open.delete(vm.id))
    }
    return withDeadline(`opening VM ${vm.name}`, { signal: call.signal }, async () => opening)
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

  #isBusy({ status }: DomainVO): boolean {
    return this.#client.assumptions.busyStatuses.includes(status)
  }

  /** Waits while the platform works on a VM. */
  async #settled(id: string, call: CallOptions): Promise<DomainVO> {
    const idle = (vm: DomainVO) => !this.#isBusy(vm)
    return (await this.#client.domains.waitUntil([id], 'busy no longer', idle, call))[0] as DomainVO
  }

  /** The platform answers some changes with success and tells of no event to follow: it is asked for the VMs. */
  async #shown(
    ids: readonly string[],
    how: string,
    holds: (vm: DomainVO) => boolean,
    call: CallOptions,
  ): Promise<void> {
    await this.#client.domains.waitUntil([...ids], how, holds, call)
  }

  /** The same for the disks of a VM. */
  async #disksShown(
    vmId: string,
    what: string,
    holds: (disks: readonly StorageVolumeVO[]) => boolean,
    { signal, timeoutMs = READ_BACK_MS }: CallOptions,
  ): Promise<void> {
    const bounds = { signal, timeoutMs: Math.min(timeoutMs, READ_BACK_MS) }
    await pollUntil(`VM ${vmId} to have ${what}`, bounds, async (stop) =>
      holds(await this.#client.domains.disks.list(vmId, { signal: stop })) ? true : undefined,
    )
    await this.#settled(vmId, { signal, timeoutMs })
  }

  async #disk(vmId: string, disk: string, call: CallOptions): Promise<StorageVolumeVO> {
    const disks = await this.#client.domains.disks.list(vmId, call)
    return one(disks as (StorageVolumeVO & { name: string })[], disk, 'disk')
  }
}

function withSignal(call: CallOptions, signal: AbortSignal): CallOptions {
  return { ...call, signal: call.signal ? AbortSignal.any([call.signal, signal]) : signal }
}

/** Removes what a step made half. What cannot be removed is told by the step's error. */
async function undo(error: unknown, what: string, remove: () => Promise<unknown>): Promise<void> {
  if (wasRefused(error)) return
  try {
    await remove()
  } catch (second) {
    if (!(error instanceof Error)) return
    error.message += `\n  ${what} could not be removed: ${messageOf(second)}`
    if (isAtpError(error)) error.context['cleanUp'] = messageOf(second)
  }
}

/** Nothing was made: there is nothing to wait for. */
function wasRefused(error: unknown): boolean {
  const refused = isAtpError(error, 'ATP_VDI_REFUSED') || isAtpError(error, 'ATP_VDI_REQUEST')
  return refused && CREATIONS.includes(String(error.context['operation']))
}

/** A VM that was not there before. Clones may get a number after the name. */
function newOne(now: readonly DomainVO[], before: readonly DomainVO[], name: string): DomainVO | undefined {
  const added = now.filter((vm) => !before.some(({ id }) => id === vm.id))
  const exact = added.find((vm) => vm.name === name)
  return exact ?? (added.length === 1 && added[0]?.name.startsWith(name) ? added[0] : undefined)
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
