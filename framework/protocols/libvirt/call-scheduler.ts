/** What the scheduler needs to know of a call; the fields without `readonly` are its own. */
export interface ScheduledCall<C> {
  /** Slots of the connection it was made on. */
  readonly home: Slots<C>
  /** High-priority procedures have workers of their own in the daemon and never wait for a VM. They go on `home`. */
  readonly high: boolean
  /** Its effect ends with the connection that carries it: it may go on `home` only. */
  readonly bound: boolean
  /** Calls of one lane go one after the other: `<uuid>/monitor`, `<uuid>/agent`. */
  readonly lane: string | undefined
  state: 'new' | 'waiting' | 'ready' | 'sent'
  /** Where it was sent. */
  slots: Slots<C> | undefined
  /** `performance.now()` */
  sentAtMs: number | undefined
}

export interface SchedulerLimits {
  /** Calls of one connection in flight together. The daemon takes 5 and stops reading the connection at the fifth. */
  maxInFlight: number
  /** Of these, calls that may wait for a VM. */
  maxLowInFlight: number
  /** A call without an answer after this time counts as stuck, milliseconds. */
  stuckAfterMs: number
}

/** The slots of one connection. Made by {@link CallScheduler.attach}. */
export interface Slots<C> {
  readonly send: (call: C) => void
  /** Calls that wait for these slots and no others. */
  readonly high: C[]
  readonly inFlight: Set<C>
  lowInFlight: number
}

const LIMITS: SchedulerLimits = { maxInFlight: 4, maxLowInFlight: 3, stuckAfterMs: 500 }

/**
 * Decides when, and on which of the connections to one daemon, a call is sent, so that a stuck VM cannot hold up the
 * others. A daemon never answers the first monitor command of a VM whose QEMU hangs: such a call holds its slot for
 * as long as that lasts. Therefore each VM gets one call at a time, and where stuck calls hold slots that other calls
 * wait for, {@link onShortage} asks for those of a further connection.
 *
 * A slot belongs to its call until {@link finished}: giving up on a call does not empty the daemon's slot.
 */
export class CallScheduler<C extends ScheduledCall<C>> {
  /** Calls wait while stuck ones hold slots. Said again every `stuckAfterMs` for as long as that is so. */
  onShortage: (() => void) | undefined
  readonly #limits: SchedulerLimits
  readonly #connections: Slots<C>[] = []
  /** Those of the connections that take each other's calls. */
  readonly #shared: Slots<C>[] = []
  /** Calls waiting for the one that holds their lane; a lane without an entry is free. */
  readonly #lanes = new Map<string, C[]>()
  /** Low-priority calls that have their lane. */
  readonly #low: C[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(limits: Partial<SchedulerLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  get inFlight(): number {
    return this.#connections.reduce((sum, { inFlight }) => sum + inFlight.size, 0)
  }

  /** Calls not sent yet. */
  get queued(): number {
    let count = this.#low.length
    for (const { high } of this.#connections) count += high.length
    for (const waiting of this.#lanes.values()) count += waiting.length
    return count
  }

  /** Connections that take each other's calls. */
  get connections(): number {
    return this.#shared.length
  }

  /** Slots of one more connection, for its own calls. */
  attach(send: (call: C) => void): Slots<C> {
    const slots = { send, high: [], inFlight: new Set<C>(), lowInFlight: 0 }
    this.#connections.push(slots)
    return slots
  }

  /** Lets also calls that were made on other connections take these slots. */
  share(slots: Slots<C>): void {
    this.#shared.push(slots)
    this.#pump()
  }

  /** The connection ended: what was in flight on it is over, what waits goes elsewhere. */
  detach(slots: Slots<C>): void {
    remove(this.#connections, slots)
    remove(this.#shared, slots)
    for (const call of slots.inFlight) this.#freeLane(call)
    slots.inFlight.clear()
    this.#pump()
  }

  /** Forgets all calls; nothing is sent any more. */
  clear(): void {
    clearTimeout(this.#timer)
    this.onShortage = undefined
    for (const { high } of this.#connections) high.length = 0
    this.#lanes.clear()
    this.#low.length = 0
  }

  /** Whether any call is in flight on these slots. */
  isIdle(slots: Slots<C>): boolean {
    return slots.inFlight.size === 0 && slots.high.length === 0
  }

  submit(call: C): void {
    if (call.lane !== undefined) {
      const waiting = this.#lanes.get(call.lane)
      if (waiting) {
        call.state = 'waiting'
        waiting.push(call)
        return
      }
      this.#lanes.set(call.lane, [])
    }
    this.#makeReady(call)
    this.#pump()
  }

  /** Takes a call out that was not sent yet. A sent one keeps its slot: false. */
  withdraw(call: C): boolean {
    if (call.state === 'waiting') {
      remove(this.#lanes.get(call.lane as string) as C[], call)
      return true
    }
    if (call.state === 'ready') {
      remove(call.high ? call.home.high : this.#low, call)
      this.#freeLane(call)
      this.#pump()
      return true
    }
    return false
  }

  /** The daemon answered: slot and lane are free. */
  finished(call: C): void {
    const slots = call.slots as Slots<C>
    slots.inFlight.delete(call)
    if (!call.high) slots.lowInFlight--
    this.#freeLane(call)
    this.#pump()
  }

  #freeLane(call: C): void {
    if (call.lane === undefined) return
    const next = this.#lanes.get(call.lane)?.shift()
    if (next) this.#makeReady(next)
    else this.#lanes.delete(call.lane)
  }

  #makeReady(call: C): void {
    call.state = 'ready'
    ;(call.high ? call.home.high : this.#low).push(call)
  }

  #pump(): void {
    for (const slots of this.#connections) {
      while (slots.high.length > 0 && slots.inFlight.size < this.#limits.maxInFlight) {
        this.#send(slots.high.shift() as C, slots)
      }
    }
    for (let at = 0; at < this.#low.length;) {
      const call = this.#low[at] as C
      const slots = call.bound
        ? this.#hasRoom(call.home) && call.home
        : this.#shared.find((candidate) => this.#hasRoom(candidate))
      if (slots) {
        this.#low.splice(at, 1)
        this.#send(call, slots)
      } else if (call.bound) at++
      else return this.#watch()
    }
  }

  #hasRoom({ inFlight, lowInFlight }: Slots<C>): boolean {
    return lowInFlight < this.#limits.maxLowInFlight && inFlight.size < this.#limits.maxInFlight
  }

  #send(call: C, slots: Slots<C>): void {
    slots.inFlight.add(call)
    if (!call.high) slots.lowInFlight++
    call.state = 'sent'
    call.slots = slots
    call.sentAtMs = performance.now()
    slots.send(call)
  }

  /** A call that could go on any connection waits. */
  #watch(): void {
    if (!this.onShortage) return
    this.#timer ??= setTimeout(() => this.#look(), this.#limits.stuckAfterMs).unref()
  }

  /** Calls for help while fewer slots move than one healthy connection has. */
  #look(): void {
    this.#timer = undefined
    if (!this.#low.some(({ bound }) => !bound)) return
    const stuckSinceMs = performance.now() - this.#limits.stuckAfterMs
    let moving = 0
    for (const { inFlight } of this.#shared) {
      const stuck = [...inFlight].filter(({ high, sentAtMs }) => !high && (sentAtMs as number) <= stuckSinceMs)
      moving += this.#limits.maxLowInFlight - stuck.length
    }
    if (moving < this.#limits.maxLowInFlight) this.onShortage?.()
    this.#watch()
  }
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
