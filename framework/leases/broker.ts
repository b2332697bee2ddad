import {
  AtpError,
  configError,
  connectError,
  interruptedError,
  logger,
  messageOf,
  stateError,
  timeoutError,
  withDeadline,
  type CallOptions,
} from '../core/index.ts'
import type { HostDescription, Lease, LeasedVm, LeaseRequest, VmProvider } from './api.ts'
import { Checkpoints } from './checkpoints.ts'
import { Fleet, STANDBY_RUN } from './fleet.ts'
import type { Journal } from './journal.ts'
import { LeaseBook, type LeaseEntry, type Session } from './lease-book.ts'
import { Scheduler, type GrantedVm, type Slot } from './scheduler.ts'
import type { BrokerStatus } from './status.ts'
import { statusOf } from './status.ts'
import { sweep, sweepCheckpoints, type SweepResult, type TaggedVm } from './sweep.ts'
import { Wills } from './wills.ts'

export interface BrokerOptions {
  provider: VmProvider
  journal: Journal
  /** Standbys an earlier broker was asked for. */
  standbys?: Record<string, number>
  /** Called when nobody needs the broker: no client, lease, VM or wanted standby. */
  onIdle?: () => void
  /** VMs made at the same time on one host. Default 2. */
  createsPerHost?: number
  /** Default 180000. */
  createTimeoutMs?: number
  /** How long an owner tag stays valid without renewal. Default 24 hours. */
  tagLifeMs?: number
}

const CLOSE_TIMEOUT_MS = 60_000
const FILL_RETRY_MS = 10_000
const log = logger('leases')

/**
 * Hands out VMs: carries out the scheduler's decisions through the fleet and ends leases with the client, run or
 * broker they belong to. Knows no sockets.
 */
export class Broker {
  readonly #options: BrokerOptions
  readonly #scheduler: Scheduler
  readonly #fleet: Fleet
  readonly #book = new LeaseBook()
  /** What is cleaned up for clients that vanish, besides their VMs. */
  readonly wills = new Wills(() => this.#checkIdle())
  /** Machines that runs keep the state of. */
  readonly checkpoints: Checkpoints
  readonly #startedAtMs = Date.now()
  readonly #closing = new AbortController()
  #swept: SweepResult
  #standbys: Record<string, number>
  #tickets = 0

  private constructor(options: BrokerOptions, hosts: HostDescription[], fleet: Fleet, swept: SweepResult) {
    const { provider } = options
    this.#options = options
    this.checkpoints = new Checkpoints(provider)
    this.#fleet = fleet
    this.#swept = swept
    this.#scheduler = new Scheduler({
      hosts,
      nameOf: (index) => provider.nameOf(index),
      ...(provider.profiles && { profiles: provider.profiles }),
      recycles: provider.recycle !== undefined,
    })
    this.#standbys = options.standbys ?? {}
    this.#scheduler.setStandbys(this.#standbys)
  }

  /**
   * Starts the provider's hosts and removes what earlier brokers left.
   *
   * @throws what the provider throws.
   */
  static async start(options: BrokerOptions, { signal }: CallOptions = {}): Promise<Broker> {
    const { provider, journal } = options
    const hosts = await provider.hosts(signal && { signal })
    const left = await sweep(provider, { journal, knows: () => false })
    await sweepCheckpoints(provider, () => false)
    for (const { name } of left.removed) journal.note({ event: 'destroyed', name })
    const tagged = new Set(left.failed.map((vm) => vm.name))
    for (const name of journal.vms.keys()) if (!tagged.has(name)) journal.note({ event: 'destroyed', name })
    const fleet = new Fleet({
      provider,
      journal,
      createsPerHost: options.createsPerHost ?? 2,
      createTimeoutMs: options.createTimeoutMs ?? 180_000,
      tagLifeMs: options.tagLifeMs ?? 24 * 3_600_000,
    })
    const broker = new Broker(options, hosts, fleet, left)
    for (const vm of left.failed) broker.#inherit(vm)
    broker.#pump()
    return broker
  }

  get hosts(): HostDescription[] {
    return [...this.#scheduler.hosts.values()]
  }

  /** No client, lease, VM or wanted standby. */
  get idle(): boolean {
    return this.#book.sessions.size === 0 && this.unused
  }

  /** No lease, will, VM or wanted standby. */
  get unused(): boolean {
    const { size } = this.#fleet.vms
    return (
      this.#book.empty &&
      this.wills.empty &&
      this.checkpoints.empty &&
      size === 0 &&
      Object.keys(this.#standbys).length === 0
    )
  }

  join(session: Session): void {
    this.#book.join(session)
  }

  /** A client's connection is gone: so are its leases, and with a run's owner all leases of the run. */
  leave(session: Session): void {
    if (!this.#book.sessions.has(session)) return
    const wholeRun = session.kind === 'run' && !session.ended
    if (wholeRun) this.#book.endRun(session.run)
    for (const entry of this.#book.of(
      ({ session: owner }) => owner === session || (wholeRun && owner.run === session.run),
    )) {
      this.#finish(entry, wholeRun ? 'its run is gone' : 'its client is gone', gone(entry, 'its run is gone'))
    }
    this.wills.execute((owner) => owner === session || (wholeRun && owner.run === session.run))
    this.checkpoints.leave(session)
    this.#book.leave(session)
    const runIsOver = wholeRun || ![...this.#book.sessions].some(({ run }) => run === session.run)
    if (runIsOver) void this.#forget(session.run)
    this.#checkIdle()
  }

  /**
   * Grants VMs.
   *
   * @throws `ATP_LEASE_REQUEST`, `ATP_LEASE_IMPOSSIBLE`, `ATP_LEASE_TIMEOUT`, `ATP_LEASE_CREATE`, `ATP_LEASE_REVOKED`,
   * `ATP_LEASE_RUN_OVER`, `ATP_BROKER_CLOSING`.
   */
  lease(session: Session, call: number, request: LeaseRequest, timeoutMs?: number): Promise<Lease> {
    return new Promise((resolve, reject) => {
      if (this.#closing.signal.aborted) throw closing()
      if (this.#book.isOver(session.run)) {
        throw interruptedError(
          'ATP_LEASE_RUN_OVER',
          `${request.holder} asks for VMs, but the run ${session.run} is over`,
        )
      }
      const ticket = ++this.#tickets
      const vms = Array.isArray(request.vms) ? this.checkpoints.resolve(session.run, request.vms) : request.vms
      this.#scheduler.submit(ticket, { ...request, vms })
      const entry: LeaseEntry = {
        id: `lease-${this.#startedAtMs.toString(36)}-${ticket}`,
        ticket,
        session,
        call,
        request,
        sinceMs: performance.now(),
        abort: new AbortController(),
        state: 'waiting',
        timer: undefined,
        granted: [],
        making: new Map(),
        vms: [],
        resolve,
        reject,
      }
      if (timeoutMs !== undefined && Number.isFinite(timeoutMs)) {
        entry.timer = setTimeout(() => this.#finish(entry, 'timed out', this.#tooLate(entry, timeoutMs)), timeoutMs)
      }
      this.#book.add(entry)
      this.#pump()
      if (entry.state === 'waiting') this.#announce(entry, 'waiting', this.#scheduler.reasonOf(ticket))
    })
  }

  /** Ends the lease of a call, in whatever state it is. Unknown calls are over already. */
  cancel(session: Session, call: number): void {
    for (const entry of this.#book.of((one) => one.session === session && one.call === call)) {
      this.#finish(
        entry,
        'cancelled',
        interruptedError('ATP_INTERRUPTED', `${entry.request.holder} gave up its request`),
      )
    }
  }

  /** Gives a lease back. Its VMs are destroyed in the background. Unknown leases are over already. */
  release(session: Session, lease: string): void {
    for (const entry of this.#book.of((one) => one.id === lease && one.session.run === session.run)) {
      this.#finish(entry, 'released', gone(entry, 'it was released'))
    }
  }

  /**
   * Saves the VM of a lease as the checkpoint of a claim. The VM is gone then; the lease stays the client's.
   *
   * @returns its size in bytes.
   * @throws `ATP_CHECKPOINT_MISSING`, `ATP_LEASE_VM_GONE`, what the provider throws.
   */
  async keep(session: Session, claim: number, lease: string): Promise<number> {
    const [entry] = this.#book.of((one) => one.id === lease && one.session === session && one.state === 'held')
    const [vm, ...more] = entry?.granted ?? []
    const slot = vm?.slot
    if (!slot || more.length > 0) {
      throw stateError('ATP_CHECKPOINT_MISSING', `the lease ${lease} is not one of a single VM`)
    }
    return this.checkpoints.keep(session, claim, async (store, id) => {
      // Whatever becomes of it, it is no VM that anybody can use again.
      slot.checkpoint = id
      return this.#fleet.save(slot.name, store, id)
    })
  }

  /**
   * Takes away what a run still holds; resolves when none of its VMs exist any more.
   *
   * @returns how many VMs, and other things with a last will, the run had not given back itself.
   */
  async drain(run: string, options: CallOptions = {}): Promise<number> {
    let leaked = this.wills.execute((session) => session.run === run)
    for (const entry of this.#book.of(({ session }) => session.run === run)) {
      leaked += entry.state === 'waiting' ? 0 : entry.granted.filter((vm) => vm.slot).length
      this.#finish(entry, 'its run is drained', gone(entry, 'its run is drained'))
    }
    await this.#fleet.whenNone((vm) => vm.owner.run === run, options)
    await this.#forget(run)
    await this.wills.settled((one) => one === run)
    const left = await this.#sweep((vm) => vm.owner.run === run)
    return leaked + left.removed.length + left.failed.length
  }

  /** Removes tagged VMs nobody answers for, including what the broker's start removed and nobody asked for yet. */
  async sweep(): Promise<SweepResult> {
    const now = await this.#sweep()
    await sweepCheckpoints(this.#options.provider, (id) => this.checkpoints.knows(id))
    const atStart = this.#swept
    this.#swept = { removed: [], failed: [] }
    // What failed is being tried again; some of it may have worked meanwhile.
    const failed = [...atStart.failed, ...now.failed].filter((vm) => this.#fleet.knows(vm))
    return { removed: [...atStart.removed, ...now.removed], failed }
  }

  /**
   * How many standbys of each profile to keep on each host; `{}` for none.
   *
   * @throws `ATP_LEASE_STANDBYS` for unknown profiles and bad numbers.
   */
  setStandbys(perHost: Record<string, number>): void {
    const { profiles } = this.#options.provider
    for (const [profile, count] of Object.entries(perHost)) {
      const known = !profiles || profiles.includes(profile)
      if (!known || !Number.isSafeInteger(count) || count < 0) {
        throw configError(
          'ATP_LEASE_STANDBYS',
          `${JSON.stringify(count)} standbys of the profile "${profile}" cannot be kept`,
          {
            remedy: `use whole numbers${profiles ? ` of the profiles ${profiles.join(', ')}` : ''}`,
          },
        )
      }
    }
    this.#standbys = Object.fromEntries(Object.entries(perHost).filter(([, count]) => count > 0))
    this.#scheduler.setStandbys(this.#standbys)
    this.#trim()
    this.#pump()
    this.#checkIdle()
  }

  get standbys(): Readonly<Record<string, number>> {
    return this.#standbys
  }

  status(): BrokerStatus {
    return statusOf({
      scheduler: this.#scheduler,
      fleet: this.#fleet,
      book: this.#book,
      standbys: this.#standbys,
      startedAtMs: this.#startedAtMs,
    })
  }

  /** Ends all leases and destroys every VM, standbys included. Returns the names of those that could not be destroyed. */
  async close(): Promise<string[]> {
    this.#closing.abort(closing())
    for (const entry of this.#book.entries) this.#finish(entry, 'the broker ends', closing())
    this.#scheduler.setStandbys({})
    this.#trim()
    this.wills.execute(() => true)
    await withDeadline('destroying all VMs', { timeoutMs: CLOSE_TIMEOUT_MS }, async (signal) => {
      await this.#fleet.whenNone(() => true, { signal })
      await this.checkpoints.forget()
      await this.wills.settled(() => true)
    }).catch((error: unknown) => log.error(messageOf(error)))
    this.#fleet.close()
    await this.#options.provider.close()
    return [...this.#fleet.vms.keys()]
  }

  async #forget(run: string): Promise<void> {
    await this.checkpoints.forget(run)
    this.#checkIdle()
  }

  #pump(): void {
    if (this.#closing.signal.aborted) return
    const plan = this.#scheduler.plan()
    for (const slot of plan.evict) this.#track(this.#destroy(slot))
    for (const slot of plan.fill) this.#track(this.#fill(slot))
    for (const { ticket, vms } of plan.grants) {
      const entry = this.#book.byTicket(ticket)
      if (entry) this.#track(this.#carryOut(entry, vms))
    }
  }

  async #carryOut(entry: LeaseEntry, granted: readonly GrantedVm[]): Promise<void> {
    entry.state = 'making'
    entry.granted = granted
    for (const vm of granted) if (vm.slot) entry.making.set(vm.name, this.#prepare(entry, vm, vm.slot))
    try {
      await Promise.all(entry.making.values())
      if (entry.state !== 'making') return
      entry.vms = granted.map((vm) => this.#leased(vm))
    } catch (error) {
      return this.#finish(entry, 'a VM could not be made', error)
    }
    clearTimeout(entry.timer)
    entry.state = 'held'
    this.#options.journal.note({
      event: 'leased',
      lease: entry.id,
      run: entry.session.run,
      holder: entry.request.holder,
      vms: entry.vms.map((vm) => vm.name),
      locks: entry.request.locks ?? [],
    })
    entry.resolve({ id: entry.id, vms: entry.vms, waitMs: waitOf(entry) })
    this.#announce(entry, 'granted')
  }

  /** Makes one VM of a lease ready: hands out the standby, or makes a VM, on another host if the first one fails. */
  async #prepare(entry: LeaseEntry, vm: GrantedVm, slot: Slot): Promise<void> {
    const owner = { run: entry.session.run, lease: entry.id }
    const { signal } = entry.abort
    if (vm.standby) {
      try {
        return await this.#fleet.hand(vm.name, owner)
      } catch (error) {
        log.warn(`the standby ${vm.name} is replaced: ${messageOf(error)}`)
        await this.#fleet.destroy(vm.name, this.#closing.signal)
        vm.standby = false
      }
    }
    try {
      await this.#fleet.make(slot, owner, signal)
    } catch (error) {
      const other = signal.aborted ? undefined : this.#scheduler.relocate(slot)
      if (other === undefined) throw error
      log.warn(`${messageOf(error)}; trying on ${other}`)
      await this.#fleet.make(slot, owner, signal)
    }
  }

  #leased(vm: GrantedVm): LeasedVm {
    const host = vm.slot?.host ?? vm.host
    return {
      name: vm.name,
      uuid: this.#fleet.vms.get(vm.slot ? vm.name : '')?.uuid ?? '',
      host: { id: host, uri: this.#scheduler.hosts.get(host)?.uri ?? '' },
      ownership: vm.ownership,
      ...(vm.profile === undefined ? {} : { profile: vm.profile }),
      standby: vm.standby,
    }
  }

  #finish(entry: LeaseEntry, reason: string, error: unknown): void {
    if (entry.state === 'over') return
    const held = entry.state === 'held'
    entry.state = 'over'
    clearTimeout(entry.timer)
    this.#book.delete(entry)
    entry.abort.abort(error)
    const reusable = held && !this.#closing.signal.aborted
    for (const slot of this.#scheduler.end(entry.ticket)) {
      // Decided at once, so that nobody makes a VM instead of waiting for this one.
      const recycles = reusable && this.#scheduler.recycle(slot)
      this.#track(recycles ? this.#recycle(slot) : this.#retire(slot, entry.making.get(slot.name)))
    }
    entry.reject(error)
    if (held) {
      this.#options.journal.note({ event: 'released', lease: entry.id, reason })
      this.#announce(entry, reason === 'released' || reason === 'cancelled' ? 'released' : 'revoked', reason)
    }
    this.#pump()
  }

  /** Destroys a lease's VM, after its making if that is under way. */
  async #retire(slot: Slot, making: Promise<void> | undefined): Promise<void> {
    await making?.catch(() => {})
    await this.#destroy(slot)
  }

  /** Turns a lease's VM into a standby. */
  async #recycle(slot: Slot): Promise<void> {
    try {
      await this.#fleet.recycle(slot.name)
    } catch (error) {
      log.warn(`${slot.name} could not be reset and is destroyed: ${messageOf(error)}`)
      return this.#destroy(slot)
    }
    this.#readyStandby(slot)
  }

  async #fill(slot: Slot): Promise<void> {
    try {
      await this.#fleet.make(slot, { run: STANDBY_RUN, lease: '' }, this.#closing.signal)
    } catch (error) {
      this.#scheduler.gone(slot)
      this.#scheduler.pauseFilling(slot.host)
      setTimeout(() => {
        this.#scheduler.resumeFilling(slot.host)
        this.#pump()
      }, FILL_RETRY_MS).unref()
      log.warn(`no standby: ${messageOf(error)}`)
      this.#pump()
      return this.#checkIdle()
    }
    this.#readyStandby(slot)
  }

  #readyStandby(slot: Slot): void {
    this.#scheduler.ready(slot)
    this.#trim()
    this.#pump()
  }

  /** Destroys the standbys nobody wants any more. */
  #trim(): void {
    for (const slot of this.#scheduler.surplus()) this.#track(this.#destroy(slot))
  }

  async #destroy(slot: Slot): Promise<void> {
    this.#scheduler.dying(slot)
    await this.#fleet.destroy(slot.name)
    this.#scheduler.gone(slot)
    this.#pump()
    this.#checkIdle()
  }

  async #sweep(only?: (vm: TaggedVm) => boolean): Promise<SweepResult> {
    // A VM may be destroyed between the listing and the check; it was ours all the same.
    const before = new Map([...this.#fleet.vms].map(([name, vm]) => [name, { ...vm }]))
    const knows = (vm: TaggedVm) => before.get(vm.name)?.uuid === vm.uuid || this.#fleet.knows(vm)
    const result = await sweep(this.#options.provider, { knows, ...(only && { only }) })
    for (const vm of result.failed) this.#inherit(vm)
    return result
  }

  #inherit(vm: TaggedVm): void {
    if (this.#fleet.vms.has(vm.name)) return
    this.#fleet.inherit(vm)
    this.#track(this.#destroy(this.#scheduler.inherit(vm)))
  }

  #announce(entry: LeaseEntry, state: 'waiting' | 'granted' | 'released' | 'revoked', reason?: string): void {
    const { session, request, id, vms } = entry
    const hosts = this.hosts.map(({ id: host, capacity }) => ({
      id: host,
      leased: this.#scheduler.load(host).leased,
      capacity,
    }))
    const notice = {
      state,
      run: session.run,
      lease: id,
      holder: request.holder,
      vms,
      waitMs: waitOf(entry),
      hosts,
      ...(reason === undefined ? {} : { reason }),
    }
    for (const other of this.#book.sessions) {
      if (other === session) other.notify({ ...notice, call: entry.call })
      else if (other.subscribed && other.run === session.run) other.notify(notice)
    }
  }

  #tooLate(entry: LeaseEntry, timeoutMs: number): AtpError {
    const making = entry.granted.map((vm) => `${vm.name} on ${vm.slot?.host ?? vm.host}`).join(', ')
    const why = this.#scheduler.reasonOf(entry.ticket) ?? `waits for ${making} to be made`
    return timeoutError('ATP_LEASE_TIMEOUT', `${entry.request.holder} got no VM within ${timeoutMs} ms: it ${why}`, {
      context: { timeoutMs, waiting: why },
      retryable: true,
      remedy: 'allow more time for leases, run fewer tests at once, or see who holds the VMs with `atp lab status`',
    })
  }

  #checkIdle(): void {
    if (this.idle && !this.#closing.signal.aborted) this.#options.onIdle?.()
  }

  /** A background task. Its errors are defects; they must not end the process that owns all VMs. */
  #track(task: Promise<void>): void {
    task.catch((error: unknown) =>
      log.error(`a task of the broker failed: ${error instanceof Error ? error.stack : String(error)}`),
    )
  }
}

function waitOf(entry: LeaseEntry): number {
  return Math.round(performance.now() - entry.sinceMs)
}

function gone(entry: LeaseEntry, why: string): AtpError {
  return interruptedError('ATP_LEASE_REVOKED', `the lease of ${entry.request.holder} is over: ${why}`)
}

function closing(): AtpError {
  return connectError('ATP_BROKER_CLOSING', 'the lease broker is ending', {
    retryable: true,
    remedy: 'start the run again',
  })
}
