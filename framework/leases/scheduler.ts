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
  /** Stored checkpoint it is made of: it never becomes a standby. */
  checkpoint: string | undefined
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

/** A standby, or the host to make a VM on. */
type Place = Slot | string
/** A VM of a request while its place is looked for. */
interface Wish {
  vm: WantedVm
  /** Its hosts without those an earlier request waits for. */
  open: readonly string[]
  place: Place | undefined
}
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

const FRESH = { pooled: false, checkpoint: undefined }
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
    if (
      !this.#options.recycles ||
      slot.checkpoint !== undefined ||
      slot.state !== 'dying' ||
      this.#readying(slot.host, slot.profile) >= wanted
    )
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
    const slot: Slot = { ...vm, profile: undefined, ...FRESH, state: 'dying', eligible: [vm.host] }
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

  /** Largest free share first; standbys count as free, VMs of `planned` (per host) as taken. Ties go to the host that served least. */
  #byPreference(hosts: readonly string[], ...planned: ReadonlyMap<string, number>[]): string[] {
    const extra = (id: string) => planned.reduce((sum, counts) => sum + (counts.get(id) ?? 0), 0)
    const share = (id: string) => {
      const load = this.load(id)
      const capacity = this.hosts.get(id)?.capacity || 1
      return (capacity - load.leased - load.dying - extra(id)) / capacity
    }
    const served = (id: string) => (this.#served.get(id) ?? 0) + extra(id)
    return [...hosts].sort((a, b) => share(b) - share(a) || served(a) - served(b))
  }

  /** The slot or host for each VM of the demand, or why it has to wait. Changes nothing but `reserved.slots`. */
  #place({ vms, locks }: Demand, reserved: Reserved): Place[] | Refusal {
    const lock = locks.find((name) => this.#locks.has(name) || reserved.locks.has(name))
    if (lock !== undefined) return { reason: `waits for ${lock}`, shortage: 0, evict: [] }

    const wishes = vms.map((vm): Wish => ({
      vm,
      open: vm.hosts.filter((host) => !reserved.hosts.has(host)),
      place: undefined,
    }))
    const named = this.#placeNamed(wishes, reserved)
    if (named) return named
    const behind = wishes.find((wish) => wish.open.length === 0)
    if (behind) {
      return {
        reason: `waits behind an earlier request for room on ${behind.vm.hosts.join(', ')}`,
        shortage: 1,
        evict: [],
      }
    }
    // The pickiest choose first, so that an undemanding one does not take the only standby another could use.
    const inOrder = wishes.toSorted((a, b) => a.open.length - b.open.length)
    this.#placeStandbys(inOrder, reserved)
    return (
      this.#awaitRecycled(inOrder, reserved) ?? this.#placeNew(inOrder) ?? wishes.map((wish) => wish.place as Place)
    )
  }

  /** Standbys that are asked for by name; refuses when a name is in use. */
  #placeNamed(wishes: readonly Wish[], reserved: Reserved): Refusal | undefined {
    for (const wish of wishes) {
      const { name, profile, hosts } = wish.vm
      if (name === undefined) continue
      const slot = this.#slots.get(name)
      if (reserved.names.has(name) || (slot && slot.state !== 'standby')) {
        const why = slot?.state ?? 'promised to an earlier request'
        return { reason: `waits for ${name}, which is ${why}`, shortage: 0, evict: [] }
      }
      if (!slot) continue
      if (slot.profile !== profile || wish.vm.checkpoint !== undefined || !hosts.includes(slot.host)) {
        return { reason: `waits for ${name}, a standby of another kind`, shortage: 0, evict: [slot] }
      }
      if (!wish.open.includes(slot.host)) {
        return { reason: `waits behind an earlier request for room on ${slot.host}`, shortage: 0, evict: [] }
      }
      wish.place = slot
    }
    return undefined
  }

  #placeStandbys(wishes: readonly Wish[], reserved: Reserved): void {
    for (const wish of wishes) {
      if (wish.place !== undefined || mustBeMade(wish)) continue
      const standbys = this.#suitable('standby', wish, reserved).filter(
        (slot) => !wishes.some(({ place }) => place === slot),
      )
      const [host] = this.#byPreference([...new Set(standbys.map((slot) => slot.host))], perHost(wishes))
      wish.place = standbys.find((slot) => slot.host === host)
    }
  }

  /** Refuses while VMs that would do are being reset. */
  #awaitRecycled(wishes: readonly Wish[], reserved: Reserved): Refusal | undefined {
    const awaited: string[] = []
    for (const wish of wishes) {
      if (wish.place !== undefined || mustBeMade(wish)) continue
      const slot = this.#suitable('recycling', wish, reserved).find((one) => !reserved.slots.has(one))
      if (!slot) continue
      reserved.slots.add(slot)
      awaited.push(slot.name)
    }
    if (awaited.length === 0) return undefined
    return { reason: `waits for ${awaited.join(', ')}, which is being reset`, shortage: 0, evict: [] }
  }

  /** Seats what is still missing on hosts with room; refuses when that does not work out for all. */
  #placeNew(wishes: readonly Wish[]): Refusal | undefined {
    const missing = wishes.filter((wish) => wish.place === undefined)
    const room = new Map([...this.hosts.keys()].map((host) => [host, Math.max(0, this.#room(host))]))
    const standbys = perHost(wishes)
    const seats = assign(
      missing.map((wish) => wish.open),
      room,
      (hosts, seated) => this.#byPreference(hosts, standbys, seated),
    )
    const shortage = seats.filter((seat) => seat === undefined).length
    if (shortage > 0) {
      const where = [...new Set(missing.flatMap((wish) => wish.vm.hosts))].join(', ')
      return { reason: `waits for room for ${shortage} VM${shortage > 1 ? 's' : ''} on ${where}`, shortage, evict: [] }
    }
    for (const [index, wish] of missing.entries()) wish.place = seats[index]
    return undefined
  }

  /** Slots in a state that a wish without a name could take. */
  #suitable(state: SlotState, { vm, open }: Wish, reserved: Reserved): Slot[] {
    return [...this.#slots.values()].filter(
      (slot) =>
        slot.state === state &&
        slot.profile === vm.profile &&
        open.includes(slot.host) &&
        !reserved.names.has(slot.name),
    )
  }

  #grant(ticket: number, demand: Demand, places: Place[]): GrantedVm[] {
    for (const lock of demand.locks) this.#locks.set(lock, ticket)
    const vms: GrantedVm[] = []
    for (const { index, name, host } of demand.attached) {
      vms[index] = { name, host, profile: undefined, ownership: 'attached', standby: false, slot: undefined }
    }
    for (const [at, { index, name, profile, hosts, ownership, checkpoint }] of demand.vms.entries()) {
      const place = places[at] as Place
      const standby = typeof place !== 'string'
      const slot: Slot = standby
        ? place
        : {
            name: name ?? this.#freeName(demand),
            host: place,
            profile,
            state: 'leased',
            pooled: false,
            checkpoint,
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
        const slot: Slot = { name, host, profile, ...FRESH, state: 'filling', eligible: [host] }
        this.#slots.set(name, slot)
        fill.push(slot)
        break
      }
    }
    return fill
  }
}

/** No standby will do: it is asked for by name, or is made of something else. */
function mustBeMade({ vm }: Wish): boolean {
  return vm.name !== undefined || vm.checkpoint !== undefined
}

/** Standbys already chosen, per host. */
function perHost(wishes: readonly Wish[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { place } of wishes)
    if (typeof place === 'object') counts.set(place.host, (counts.get(place.host) ?? 0) + 1)
  return counts
}
