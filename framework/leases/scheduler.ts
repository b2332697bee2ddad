/**
 * Decides who gets which VM. Pure and synchronous: no clock, no I/O; the broker carries the decisions out.
 *
 * Rules
 * - Requests are served in the order they came. A later one may overtake only where it takes nothing an earlier
 *   one waits for: a waiting request keeps its names and locks for itself, and once nothing but room is missing
 *   it closes all its hosts to later requests. So nobody starves.
 * - All VMs and locks of a request are granted together or not at all, so requests cannot deadlock.
 * - A VM takes room on its host until it is gone, its destruction included: its memory is in use until then.
 * - A ready standby of the right profile comes first, then one that is just being recycled (the request waits for
 *   it: a reset takes less time than making a VM), then a new VM on the host with the largest free share.
 * - Idle standbys that are in the way are evicted.
 */
import type { HostDescription, LeaseRequest, Ownership } from './api.ts'
import { assign } from './assignment.ts'
import { toDemand, type Demand, type WantedVm } from './demand.ts'

/**
 * `leased` from the grant on, also while the VM is being made; `filling`: a standby being made; `recycling`: being
 * reset to become a standby; `dying`: being destroyed.
 */
export type SlotState = 'leased' | 'standby' | 'filling' | 'recycling' | 'dying'

/** One VM as the scheduler sees it: a name in use and room taken on a host. */
export interface Slot {
  readonly name: string
  host: string
  readonly profile: string | undefined
  state: SlotState
  /** Came out of the standbys. */
  pooled: boolean
  /** Ticket of the lease that holds it. */
  ticket?: number
  /** Hosts it may be made on. */
  eligible: readonly string[]
}

/** One VM of a grant, in the order of the request. Attached VMs have no slot. */
export interface GrantedVm {
  name: string
  host: string
  profile: string | undefined
  ownership: Ownership
  /** A standby is handed out; otherwise the VM is to be made. */
  standby: boolean
  slot: Slot | undefined
}

/** What the broker has to do now. The scheduler's own state is already that of afterwards. */
export interface Plan {
  grants: { ticket: number; vms: GrantedVm[] }[]
  /** Idle standbys to destroy. */
  evict: Slot[]
  /** Standbys to make. */
  fill: Slot[]
}

export interface SchedulerOptions {
  hosts: readonly HostDescription[]
  /** Names a new VM may get; the lowest free index is used. */
  nameOf: (index: number) => string
  /** Profiles that exist, the default one first. Undefined: any name is accepted. */
  profiles?: readonly string[]
  /** Whether released VMs can be reset to standbys. */
  recycles?: boolean
}

/** Slots per state on one host. */
export type HostLoad = Record<SlotState, number>

interface Reserved {
  names: Set<string>
  locks: Set<string>
  /** Hosts an earlier request waits for room on. */
  hosts: Set<string>
  /** Slots being recycled that an earlier request waits for. */
  slots: Set<Slot>
}
interface Refusal {
  reason: string
  /** VMs that found no room; 0 when something else is missing. */
  shortage: number
  /** Standbys that must go because a name is needed for another profile or host. */
  evict: Slot[]
}

const READYING: readonly SlotState[] = ['standby', 'filling', 'recycling']

export class Scheduler {
  readonly hosts: ReadonlyMap<string, HostDescription>
  readonly #options: SchedulerOptions
  readonly #slots = new Map<string, Slot>()
  readonly #locks = new Map<string, number>()
  readonly #waiting = new Map<number, { demand: Demand; reason: string }>()
  /** VMs granted so far per host: breaks ties between equally free hosts. */
  readonly #served = new Map<string, number>()
  readonly #unfilled = new Set<string>()
  #standbys: Readonly<Record<string, number>> = {}

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.hosts = new Map(options.hosts.map((host) => [host.id, host]))
  }

  get slots(): Iterable<Slot> {
    return this.#slots.values()
  }
  /** Held locks with the tickets that hold them. */
  get locks(): ReadonlyMap<string, number> {
    return this.#locks
  }
  /** Waiting tickets in their order. */
  get waiting(): number[] {
    return [...this.#waiting.keys()]
  }

  /**
   * Queues a request; {@link plan} decides about it. Tickets must rise.
   *
   * @throws `ATP_LEASE_REQUEST`, `ATP_LEASE_IMPOSSIBLE`: see {@link toDemand}.
   */
  submit(ticket: number, request: LeaseRequest): void {
    this.#waiting.set(ticket, { demand: toDemand(request, this.#options), reason: 'not looked at yet' })
  }

  /** What a waiting request waits for, readable; undefined when it does not wait. */
  reasonOf(ticket: number): string | undefined {
    return this.#waiting.get(ticket)?.reason
  }

  /** How many standbys of each profile to keep ready on each host, as far as there is room. */
  setStandbys(perHost: Readonly<Record<string, number>>): void {
    this.#standbys = perHost
  }

  load(host: string): HostLoad {
    const load: HostLoad = { leased: 0, standby: 0, filling: 0, recycling: 0, dying: 0 }
    for (const slot of this.#slots.values()) if (slot.host === host) load[slot.state]++
    return load
  }

  /** Decides everything that can be decided now. Call it after every change. */
  plan(): Plan {
    const plan: Plan = { grants: [], evict: [], fill: [] }
    const reserved: Reserved = { names: new Set(), locks: new Set(), hosts: new Set(), slots: new Set() }
    for (const [ticket, entry] of this.#waiting) {
      const answer = this.#place(entry.demand, reserved)
      if (Array.isArray(answer)) {
        this.#waiting.delete(ticket)
        plan.grants.push({ ticket, vms: this.#grant(ticket, entry.demand, answer) })
        continue
      }
      entry.reason = answer.reason
      plan.evict.push(...answer.evict)
      if (answer.shortage > 0) {
        plan.evict.push(...this.#makeRoom(entry.demand, answer.shortage, reserved))
        for (const vm of entry.demand.vms) for (const host of vm.hosts) reserved.hosts.add(host)
      }
      for (const slot of plan.evict) slot.state = 'dying'
      for (const vm of entry.demand.vms) if (vm.name !== undefined) reserved.names.add(vm.name)
      for (const lock of entry.demand.locks) reserved.locks.add(lock)
    }
    plan.fill = this.#fill(reserved)
    return plan
  }

  /**
   * Ends a request in whatever state: a waiting one is forgotten, a granted one gives its locks back at once and
   * its VMs become `dying`. Returns those VMs; each must end in {@link gone} or {@link recycled}.
   */
  end(ticket: number): Slot[] {
    this.#waiting.delete(ticket)
    for (const [lock, holder] of this.#locks) if (holder === ticket) this.#locks.delete(lock)
    const slots = [...this.#slots.values()].filter((slot) => slot.ticket === ticket)
    for (const slot of slots) {
      slot.state = 'dying'
      delete slot.ticket
    }
    return slots
  }

  /** Another host with room for a VM whose making failed, or undefined. The VM keeps its name. */
  relocate(slot: Slot): string | undefined {
    const failed = slot.host
    const host = this.#byPreference(slot.eligible).find((id) => id !== failed && this.#room(id) > 0)
    if (host !== undefined) slot.host = host
    return host
  }

  /** Whether a `dying` VM is wanted as a standby. If so it is `recycling` from now on. */
  recycle(slot: Slot): boolean {
    const wanted = slot.profile === undefined ? 0 : (this.#standbys[slot.profile] ?? 0)
    if (!this.#options.recycles || slot.state !== 'dying' || this.#readying(slot.host, slot.profile) >= wanted)
      return false
    slot.state = 'recycling'
    return true
  }

  /** A `filling` or `recycling` VM is ready. */
  ready(slot: Slot): void {
    slot.state = 'standby'
    slot.pooled = true
  }

  /** Idle standbys beyond what is wanted. */
  surplus(): Slot[] {
    const kept = new Map<string, number>()
    return [...this.#slots.values()].filter((slot) => {
      if (slot.state !== 'standby') return false
      const kind = `${slot.host} ${slot.profile}`
      kept.set(kind, (kept.get(kind) ?? 0) + 1)
      return (kept.get(kind) as number) > (this.#standbys[slot.profile ?? ''] ?? 0)
    })
  }

  /** Makes no standbys on a host until {@link resumeFilling}: the last attempt failed. */
  pauseFilling(host: string): void {
    this.#unfilled.add(host)
  }
  resumeFilling(host: string): void {
    this.#unfilled.delete(host)
  }

  /** A VM is being destroyed. */
  dying(slot: Slot): void {
    slot.state = 'dying'
  }

  /** A VM is gone: name and room are free. */
  gone(slot: Slot): void {
    if (this.#slots.get(slot.name) === slot) this.#slots.delete(slot.name)
  }

  /** Accounts for a VM of an earlier broker that could not be destroyed yet. */
  inherit(vm: { name: string; host: string }): Slot {
    const slot: Slot = { ...vm, profile: undefined, state: 'dying', pooled: false, eligible: [vm.host] }
    this.#slots.set(vm.name, slot)
    return slot
  }

  #room(host: string): number {
    let used = 0
    for (const slot of this.#slots.values()) if (slot.host === host) used++
    return (this.hosts.get(host)?.capacity ?? 0) - used
  }

  #readying(host: string, profile: string | undefined): number {
    let count = 0
    for (const slot of this.#slots.values()) {
      if (slot.host === host && slot.profile === profile && READYING.includes(slot.state)) count++
    }
    return count
  }

  /** Largest free share first; standbys count as free. Ties go to the host that served least. */
  #byPreference(hosts: readonly string[], taken: ReadonlyMap<string, number> = new Map()): string[] {
    const share = (id: string) => {
      const load = this.load(id)
      const capacity = this.hosts.get(id)?.capacity || 1
      return (capacity - load.leased - load.dying - (taken.get(id) ?? 0)) / capacity
    }
    const served = (id: string) => (this.#served.get(id) ?? 0) + (taken.get(id) ?? 0)
    return [...hosts].sort((a, b) => share(b) - share(a) || served(a) - served(b))
  }

  /** The slot or host for each VM of the demand, in its order, or why it has to wait. Changes nothing but `reserved.slots`. */
  #place(demand: Demand, reserved: Reserved): (Slot | string)[] | Refusal {
    const lock = demand.locks.find((name) => this.#locks.has(name) || reserved.locks.has(name))
    if (lock !== undefined) return { reason: `waits for ${lock}`, shortage: 0, evict: [] }

    const open = (vm: WantedVm) => vm.hosts.filter((host) => !reserved.hosts.has(host))
    const places: (Slot | string | undefined)[] = demand.vms.map(() => undefined)
    const taken = new Map<string, number>()
    const take = (index: number, slot: Slot) => {
      places[index] = slot
      taken.set(slot.host, (taken.get(slot.host) ?? 0) + 1)
    }

    for (const [index, vm] of demand.vms.entries()) {
      if (vm.name === undefined) continue
      const slot = this.#slots.get(vm.name)
      if (reserved.names.has(vm.name) || (slot && slot.state !== 'standby')) {
        return {
          reason: `waits for ${vm.name}, which is ${slot?.state ?? 'promised to an earlier request'}`,
          shortage: 0,
          evict: [],
        }
      }
      if (!slot) continue
      if (slot.profile !== vm.profile || !vm.hosts.includes(slot.host)) {
        return { reason: `waits for ${vm.name}, a standby of another kind`, shortage: 0, evict: [slot] }
      }
      if (open(vm).includes(slot.host)) take(index, slot)
    }

    // The pickiest VMs choose first, so that an undemanding one does not take the only standby another could use.
    const order = [...demand.vms.keys()].sort((a, b) => open(demand.vms[a]!).length - open(demand.vms[b]!).length)
    const suits = (slot: Slot, vm: WantedVm) =>
      slot.profile === vm.profile && open(vm).includes(slot.host) && !reserved.names.has(slot.name)
    for (const index of order) {
      const vm = demand.vms[index]!
      if (places[index] !== undefined || vm.name !== undefined) continue
      const standbys = [...this.#slots.values()].filter(
        (slot) => slot.state === 'standby' && suits(slot, vm) && !places.includes(slot),
      )
      const host = this.#byPreference([...new Set(standbys.map((slot) => slot.host))], taken)[0]
      const standby = standbys.find((slot) => slot.host === host)
      if (standby) take(index, standby)
    }

    const missing = order.filter((index) => places[index] === undefined)
    const soon = new Set<Slot>()
    for (const index of missing) {
      const vm = demand.vms[index]!
      if (vm.name !== undefined) continue
      const slot = [...this.#slots.values()].find(
        (one) => one.state === 'recycling' && suits(one, vm) && !reserved.slots.has(one) && !soon.has(one),
      )
      if (slot) soon.add(slot)
    }
    if (soon.size > 0) {
      for (const slot of soon) reserved.slots.add(slot)
      return {
        reason: `waits for ${[...soon].map((slot) => slot.name).join(', ')}, which is being reset`,
        shortage: 0,
        evict: [],
      }
    }

    const room = new Map([...this.hosts.keys()].map((host) => [host, Math.max(0, this.#room(host))]))
    const seats = assign(
      missing.map((index) => open(demand.vms[index]!)),
      room,
      (hosts, seated) =>
        this.#byPreference(
          hosts,
          new Map([...this.hosts.keys()].map((id) => [id, (taken.get(id) ?? 0) + (seated.get(id) ?? 0)])),
        ),
    )
    const shortage = seats.filter((seat) => seat === undefined).length
    if (shortage > 0) {
      const where = [...new Set(missing.flatMap((index) => demand.vms[index]!.hosts))].join(', ')
      return { reason: `waits for room for ${shortage} VM${shortage > 1 ? 's' : ''} on ${where}`, shortage, evict: [] }
    }
    for (const [at, index] of missing.entries()) places[index] = seats[at]
    return places as (Slot | string)[]
  }

  #grant(ticket: number, demand: Demand, places: (Slot | string)[]): GrantedVm[] {
    for (const lock of demand.locks) this.#locks.set(lock, ticket)
    const vms: GrantedVm[] = []
    for (const { index, name, host } of demand.attached) {
      vms[index] = { name, host, profile: undefined, ownership: 'attached', standby: false, slot: undefined }
    }
    for (const [at, { index, name, profile, hosts, ownership }] of demand.vms.entries()) {
      const place = places[at] as Slot | string
      const standby = typeof place !== 'string'
      const slot: Slot = standby
        ? place
        : {
            name: name ?? this.#freeName(demand),
            host: place,
            profile,
            state: 'leased',
            pooled: false,
            eligible: hosts,
          }
      slot.state = 'leased'
      slot.ticket = ticket
      slot.eligible = hosts
      this.#slots.set(slot.name, slot)
      this.#served.set(slot.host, (this.#served.get(slot.host) ?? 0) + 1)
      vms[index] = { name: slot.name, host: slot.host, profile, ownership, standby, slot }
    }
    return vms
  }

  /** The lowest name nobody has and nobody waits for. */
  #freeName(demand?: Demand): string {
    const promised = new Set<string>()
    for (const one of [...this.#waiting.values()].map((entry) => entry.demand).concat(demand ?? [])) {
      for (const vm of one.vms) if (vm.name !== undefined) promised.add(vm.name)
    }
    for (let index = 1; ; index++) {
      const name = this.#options.nameOf(index)
      if (!this.#slots.has(name) && !promised.has(name)) return name
    }
  }

  /** Idle standbys to evict for a request that lacks room, as far as not enough VMs are dying there anyway. */
  #makeRoom(demand: Demand, shortage: number, reserved: Reserved): Slot[] {
    const hosts = new Set(demand.vms.flatMap((vm) => vm.hosts).filter((host) => !reserved.hosts.has(host)))
    const here = [...this.#slots.values()].filter((slot) => hosts.has(slot.host))
    const coming = here.filter((slot) => slot.state === 'dying').length
    const useful = (slot: Slot) => demand.vms.some((vm) => vm.profile === slot.profile && vm.hosts.includes(slot.host))
    return here
      .filter((slot) => slot.state === 'standby')
      .sort((a, b) => Number(useful(a)) - Number(useful(b)))
      .slice(0, Math.max(0, shortage - coming))
  }

  #fill(reserved: Reserved): Slot[] {
    const fill: Slot[] = []
    for (const host of this.hosts.keys()) {
      // One at a time per host: tests that run meanwhile need the processor more.
      if (reserved.hosts.has(host) || this.#unfilled.has(host) || this.load(host).filling > 0) continue
      for (const [profile, wanted] of Object.entries(this.#standbys)) {
        let have = this.#readying(host, profile)
        for (const slot of this.#slots.values()) {
          // What is out on a lease comes back through recycling.
          if (
            this.#options.recycles &&
            slot.host === host &&
            slot.profile === profile &&
            slot.state === 'leased' &&
            slot.pooled
          )
            have++
        }
        if (have >= wanted || this.#room(host) <= 0) continue
        const name = this.#freeName()
        const slot: Slot = { name, host, profile, state: 'filling', pooled: false, eligible: [host] }
        this.#slots.set(name, slot)
        fill.push(slot)
        break
      }
    }
    return fill
  }
}
