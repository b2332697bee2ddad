import { randomBytes, randomUUID } from 'node:crypto'
import { interrupted, isAtpError, logger, messageOf, type CallOptions } from '../../framework/core/index.ts'
import type { OpenEvent, OperateType } from './event-log.ts'
import { refuse, Refusal } from './refusal.ts'
import { HOST_STATUS, POOL_STATUS, VM_STATUS, type VmRow, type VmStatus } from './rows.ts'
import type { PlatformGround } from './ground.ts'
import type { WorldState, WorldVm } from './world.ts'

const log = logger('lab')

export type Verb = 'start' | 'close' | 'reboot' | 'suspend' | 'resume' | 'sleep' | 'wakeup'

const { off, running, suspended, asleep, busy } = VM_STATUS
const MOVES: Record<Verb, { from: readonly VmStatus[]; to: VmStatus }> = {
  start: { from: [off], to: running },
  close: { from: [running], to: off },
  reboot: { from: [running], to: running },
  suspend: { from: [running], to: suspended },
  resume: { from: [suspended], to: running },
  sleep: { from: [running], to: asleep },
  wakeup: { from: [asleep], to: running },
}
/** Force ends whatever the VM does, also an operation that never would. */
const FORCED_FROM: readonly VmStatus[] = [running, suspended, asleep, busy]
const STATUS_TEXT: Record<VmStatus, string> = { 0: 'off', 1: 'running', 2: 'suspended', 3: 'asleep', 5: 'busy' }
const STATUS_OF: Record<WorldState, VmStatus> = { off, running, suspended, asleep }
const WORK_TIMEOUT_MS = 300_000

/** VNC takes 8 characters. */
const newTicket = () => randomBytes(6).toString('base64url')

export interface VerbOptions {
  /** `close`: cut the power. */
  force?: boolean
  /** `start`: on this host. */
  hostId?: string
}

/** What a VM is made like; the rest is the platform's to choose. */
type NewVm = Omit<VmRow, 'id' | 'hostId' | 'libvirtName' | 'status' | 'createTime' | 'updateTime'>

interface Job {
  stop: AbortController
  /** Never rejects. */
  done: Promise<void>
}

/** The VMs of the world, as the platform's states allow: at most one operation at a time for each, busy meanwhile. */
export class Machines {
  readonly #state: PlatformGround
  readonly #jobs = new Map<string, Job>()
  readonly #loose = new Set<Promise<void>>()
  readonly #closing = new AbortController()

  constructor(state: PlatformGround) {
    this.#state = state
  }

  /** What the world needs to know of a VM. */
  worldVm(row: VmRow): WorldVm {
    const disks = this.#state.volumes
      .all()
      .filter((volume) => volume.domainId === row.id)
      .map(({ id, size }) => ({ id, sizeGb: size }))
    return {
      id: row.id,
      name: row.libvirtName,
      hostId: row.hostId,
      profile: row.profile,
      memoryMiB: row.memory,
      cpus: row.cpu,
      disks,
      serialPorts: row.serials.length,
    }
  }

  /**
   * Begins one of the batch verbs.
   *
   * @returns the id of its event, once the work began or, with instant transitions, is over.
   * @throws Refusal when the VM's state or its surroundings forbid it.
   */
  async apply(verb: Verb, row: VmRow, { force = false, hostId }: VerbOptions = {}): Promise<string> {
    const refused = this.#state.faults.hit('refuse-vm', `domain.${verb}`, row.id)
    if (refused) throw refuse('fault', refused.reason)
    const { to } = MOVES[verb]
    const from = verb === 'close' && force ? FORCED_FROM : MOVES[verb].from
    const inTheMaking = row.status === busy && !this.#jobs.has(row.id)
    if (!from.includes(row.status) || inTheMaking) throw wrongState(verb, row)
    if (verb === 'start') this.#assertMayStart(row, hostId ?? row.hostId)
    if (verb === 'wakeup') this.#assertMayStart(row, row.hostId)
    if (row.status === busy) await this.#cancel(row.id)
    const job = this.work(verb, `domain.${verb}`, row, to, (signal) =>
      this.#act(verb, row, { force, hostId }, { signal }),
    )
    if (this.#state.behaviour.transitions === 'instant') await job.done
    return job.event.id
  }

  /**
   * Begins work on a VM, which is busy meanwhile and in state `to` after it; after a failure in whatever state the
   * world says. The event tells the outcome.
   */
  work(
    kind: OperateType,
    operation: string,
    row: VmRow,
    to: VmStatus,
    act: (signal: AbortSignal) => Promise<void>,
  ): { event: OpenEvent; done: Promise<void> } {
    if (this.#jobs.has(row.id)) throw refuse('wrongState', `"${row.name}" is busy`)
    const event = this.#state.events.begin(kind, { ...row, eventType: row.isModel })
    const stop = new AbortController()
    const done = this.#run(operation, row, stop.signal, this.#state.behaviour.busyMs, act).then(
      () => {
        this.#finish(row, to)
        event.succeed()
      },
      async (error: unknown) => {
        const reason = messageOf(error)
        log.debug('{operation} of {vm}: {reason}', { operation, vm: row.name, reason })
        this.#finish(row, await this.#statusInWorld(row))
        event.fail(reason)
      },
    )
    this.#jobs.set(row.id, { stop, done })
    this.#state.vms.change(row.id, { status: busy })
    return { event, done }
  }

  /**
   * Work the caller waits for.
   *
   * @throws Refusal with the world's reason.
   */
  async doNow(operation: string, row: VmRow, to: VmStatus, act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#jobs.has(row.id)) throw refuse('wrongState', `"${row.name}" is busy`)
    const stop = new AbortController()
    const work = this.#run(operation, row, stop.signal, 0, act)
    const done = work.then(
      () => this.#finish(row, to),
      async () => this.#finish(row, await this.#statusInWorld(row)),
    )
    this.#jobs.set(row.id, { stop, done })
    this.#state.vms.change(row.id, { status: busy })
    try {
      await work
    } catch (error) {
      throw error instanceof Refusal ? error : refuse('failed', messageOf(error))
    } finally {
      await done
    }
  }

  async #run(
    operation: string,
    row: VmRow,
    stop: AbortSignal,
    busyMs: number,
    act: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { faults, clock } = this.#state
    const limit = AbortSignal.timeout(WORK_TIMEOUT_MS)
    const signal = AbortSignal.any([stop, this.#closing.signal, limit])
    const window = clock.wait(busyMs, signal)
    // Whoever fails first is told about; the other must not go unhandled.
    window.catch(() => {})
    const failure = faults.hit('fail', operation, row.id)
    const stuck = faults.hit('stuck', operation, row.id)
    if (stuck) await released(stuck.released, signal, `${operation} of "${row.name}"`)
    if (failure) {
      await window
      throw refuse('fault', failure.reason)
    }
    await act(signal)
    await window
  }

  #finish(row: VmRow, status: VmStatus): void {
    this.#jobs.delete(row.id)
    const on = status === running || status === suspended
    this.#state.vms.change(row.id, {
      status,
      updateTime: this.#state.clock.now(),
      ...(on ? { lastSuccessfulHostId: row.hostId } : { ticket: undefined }),
    })
  }

  async #statusInWorld(row: VmRow): Promise<VmStatus> {
    try {
      return STATUS_OF[await this.#state.world.state(this.worldVm(row))]
    } catch (error) {
      log.warn('the state of {vm} cannot be read: {reason}', { vm: row.name, reason: messageOf(error) })
      return off
    }
  }

  async #cancel(id: string): Promise<void> {
    const job = this.#jobs.get(id)
    job?.stop.abort(interrupted('the operation'))
    await job?.done
  }

  #assertMayStart(row: VmRow, hostId: string): void {
    const { pools, domains } = this.#where()
    const host = this.#state.host(hostId)
    if (host.status !== HOST_STATUS.enabled) {
      throw refuse(
        'wrongState',
        `host ${host.name} is ${host.status === HOST_STATUS.maintenance ? 'in maintenance' : 'not enabled'}`,
      )
    }
    const pool = row.desktopPoolId === undefined ? undefined : pools.get(row.desktopPoolId)
    if (pool?.enabled === 0) throw refuse('wrongState', `desk pool "${pool.name}" is disabled`)
    if (pool?.status === POOL_STATUS.archived) throw refuse('wrongState', `desk pool "${pool.name}" is archived`)
    const load = domains.filter((vm) => vm.hostId === hostId && vm.id !== row.id && isOn(vm)).length
    if (load >= host.domainLimit) throw refuse('full', `host ${host.name} runs ${load} VMs, which is its limit`)
  }

  #where() {
    return { pools: this.#state.pools, domains: this.#state.domains() }
  }

  async #act(verb: Verb, row: VmRow, { force, hostId }: VerbOptions, options: CallOptions): Promise<void> {
    const { world, vms } = this.#state
    if (verb === 'start') {
      if (hostId !== undefined && hostId !== row.hostId) await this.#move(row, hostId, options)
      const ticket = newTicket()
      vms.change(row.id, { ticket })
      return await world.start(this.worldVm(row), ticket, options)
    }
    const vm = this.worldVm(row)
    if (verb === 'close') return force ? await world.powerOff(vm) : await world.shutDown(vm, options)
    if (verb === 'reboot') return await world.reboot(vm, options)
    if (verb === 'suspend') return await world.suspend(vm, options)
    if (verb === 'resume') return await world.resume(vm, options)
    if (verb === 'sleep') return await world.sleep(vm, options)
    return await world.wake(vm, options)
  }

  async #move(row: VmRow, hostId: string, options: CallOptions): Promise<void> {
    if (this.#state.snapshots.all().some((snapshot) => snapshot.domainId === row.id)) {
      throw refuse('wrongState', `"${row.name}" has snapshots, which cannot change the host`)
    }
    await this.remake(row, { hostId }, options)
  }

  /**
   * Makes the machine of a VM that is off anew, with some things changed. Where that fails it is there again as it was.
   */
  async remake(row: VmRow, changes: Partial<VmRow>, options: CallOptions): Promise<void> {
    const { vms, world } = this.#state
    const before = Object.fromEntries(Object.keys(changes).map((name) => [name, row[name as keyof VmRow]]))
    await world.remove(this.worldVm(row))
    vms.change(row.id, changes)
    try {
      await world.create(this.worldVm(row), options)
    } catch (error) {
      vms.change(row.id, before)
      await world.create(this.worldVm(row))
      throw error
    }
  }

  /** Puts a snapshot back; the VM is in the state the snapshot was made in. */
  restoreSnapshot(row: VmRow, snapshot: string, to: VmStatus): Promise<void> {
    const ticket = row.ticket ?? newTicket()
    return this.doNow('snapshot.restore', row, to, async (signal) => {
      this.#state.vms.change(row.id, { ticket })
      await this.#state.world.restoreSnapshot(this.worldVm(row), snapshot, ticket, { signal })
    })
  }

  /** The enabled host with the fewest VMs. @throws Refusal when there is none. */
  place(): string {
    const hosts = this.#state.hosts.all().filter((host) => host.status === HOST_STATUS.enabled)
    const load = new Map(hosts.map((host) => [host.id, 0]))
    for (const vm of this.#state.domains()) if (load.has(vm.hostId)) load.set(vm.hostId, (load.get(vm.hostId) ?? 0) + 1)
    const [first] = [...load].toSorted(([, a], [, b]) => a - b)
    if (!first) throw refuse('wrongState', 'no host is enabled: all are in maintenance or offline')
    return first[0]
  }

  /**
   * Makes a VM, off. Nothing is left of it when this rejects.
   *
   * @throws Refusal `nameTaken`, also when a VM of somebody else on the host has the name.
   */
  make(like: NewVm, id = randomUUID(), options: CallOptions = {}): Promise<VmRow> {
    const made = this.#make(like, id, options)
    void this.keep(
      made.then(
        () => {},
        () => {},
      ),
    )
    return made
  }

  async #make(like: NewVm, id: string, options: CallOptions): Promise<VmRow> {
    const { vms, world, clock, behaviour } = this.#state
    assertName(like.name)
    if (vms.all().some((row) => row.name === like.name && row.isModel === 0)) {
      throw refuse('nameTaken', `there is a VM "${like.name}" already`)
    }
    const now = clock.now()
    const libvirtName = behaviour.libvirtNames === 'same' ? like.name : `ocl-${id.slice(0, 8)}`
    const row = vms.add({
      ...like,
      id,
      libvirtName,
      hostId: this.place(),
      status: busy,
      createTime: now,
      updateTime: now,
    })
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closing.signal]) : this.#closing.signal
    try {
      await world.create(this.worldVm(row), { signal })
    } catch (error) {
      vms.delete(id)
      if (isAtpError(error, 'ATP_LAB_PLATFORM_NAME')) throw refuse('nameTaken', messageOf(error))
      throw error
    }
    vms.change(id, { status: off })
    return row
  }

  /**
   * Removes a VM or template that is off, with its snapshots; its volumes become free.
   *
   * @throws Refusal with the world's reason; the VM is still there then.
   */
  async remove(row: VmRow): Promise<void> {
    const { vms, world, snapshots, volumes } = this.#state
    await this.doNow('domain.delete', row, off, async () => {
      // Templates of the hosts are no machines.
      if (row.libvirtName !== '') await world.remove(this.worldVm(row))
      for (const { id, domainId } of snapshots.all()) if (domainId === row.id) snapshots.delete(id)
      for (const { id, domainId } of volumes.all()) if (domainId === row.id) volumes.change(id, { domainId: undefined })
      vms.delete(row.id)
    })
  }

  /** Re-reads a VM's state from the world, unless it is busy. */
  async sync(row: VmRow): Promise<void> {
    if (this.#jobs.has(row.id)) return
    const status = STATUS_OF[await this.#state.world.state(this.worldVm(row))]
    if (status !== row.status) this.#finish(row, status)
  }

  /** Work beside any single VM that {@link close} must wait for. It must not reject. */
  keep(work: Promise<void>): Promise<void> {
    this.#loose.add(work)
    void work.finally(() => this.#loose.delete(work))
    return work
  }

  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /** After a start: VMs of the database exist in the world, in the states they have there; others of ours do not. */
  async adopt(options: CallOptions): Promise<void> {
    const { vms, world, hosts } = this.#state
    const rows = vms
      .all()
      .filter((row) => row.libvirtName !== '' && hosts.get(row.hostId)?.status !== HOST_STATUS.offline)
    await world.removeOthers(rows.map((row) => this.worldVm(row)))
    for (const row of rows) {
      await world.create(this.worldVm(row), options)
      this.#finish(row, STATUS_OF[await world.state(this.worldVm(row), options)])
    }
    // A killed process may have left pools in the middle of a switch.
    for (const pool of this.#state.pools.all()) {
      if (pool.status === POOL_STATUS.switching) this.#state.pools.change(pool.id, { status: POOL_STATUS.idle })
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(interrupted('the platform'))
    await Promise.all([...this.#jobs.values()].map((job) => job.done))
    await Promise.all(this.#loose)
    const rows = this.#state.vms.all().filter((row) => row.libvirtName !== '')
    const failures = await Promise.allSettled(rows.map((row) => this.#state.world.remove(this.worldVm(row))))
    for (const row of rows) this.#state.vms.change(row.id, { status: off, ticket: undefined })
    // Machines are gone, and what they kept with them.
    for (const { id } of this.#state.snapshots.all()) this.#state.snapshots.delete(id)
    const failed = failures.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
  }
}

function isOn(row: VmRow): boolean {
  return row.status === running || row.status === suspended || row.status === busy
}

function wrongState(verb: Verb, row: VmRow): Refusal {
  return refuse('wrongState', `"${row.name}" is ${STATUS_TEXT[row.status]}, which does not allow to ${verb} it`)
}

const LONGEST_NAME = 60

/** libvirt and the folders of the hosts have the name, too. */
export function assertName(name: string): void {
  const flaw = [...name].some((character) => character === '/' || (character.codePointAt(0) as number) < 32)
  if (name === '' || name.trim() !== name || name.startsWith('.') || flaw || name.length > LONGEST_NAME) {
    throw refuse(
      'invalidValue',
      `"${name}" is no name: 1 to ${LONGEST_NAME} characters, no "/", no leading dot, no outer blanks`,
    )
  }
}

/** Resolves when the fault is removed. */
function released(removed: AbortSignal, stop: AbortSignal, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stop.aborted) return reject(interrupted(what, stop))
    if (removed.aborted) return resolve()
    removed.addEventListener('abort', () => resolve(), { once: true })
    stop.addEventListener('abort', () => reject(interrupted(what, stop)), { once: true })
  })
}
