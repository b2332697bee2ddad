/** What the scheduler needs to know of a call; the fields without `readonly` are its own. */
export interface ScheduledCall<C> {
  /** Slots of the connection it was made on. */
  readonly home: Slots<C>
  /** High-priority procedures have workers of their own in the daemon and do not wait for what a VM is doing. */
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
  /** Calls that may go on this connection only. */
  readonly bound: C[]
  readonly inFlight: C[]
  lowInFlight: number
}

/** Calls waiting for the one that has the lane. */
interface Lane<C> {
  taken: boolean
  readonly waiting: C[]
}

/** Free lanes are kept for the next call up to here, for the reason that `Deadlines` is no Set. */
const LANES_KEPT = 1024
const LIMITS: SchedulerLimits = { maxInFlight: 4, maxLowInFlight: 3, stuckAfterMs: 500 }

/**
 * Decides when, and on which of the connections to one daemon, a call is sent, so that a stuck VM cannot hold up the
 * others. A daemon never answers the first monitor command of a VM whose QEMU hangs, and destroying that VM, or
 * listing all VMs meanwhile, takes it some 12 s: such calls hold their slots for as long. Therefore each VM gets one
 * call at a time, and where stuck calls hold slots that other calls wait for, {@link onShortage} asks for those of a
 * further connection.
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
  readonly #lanes = new Map<string, Lane<C>>()
  /** Calls that have their lane and may go on any shared connection. */
  readonly #high: C[] = []
  readonly #low: C[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(limits: Partial<SchedulerLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  get inFlight(): number {
    return this.#connections.reduce((sum, { inFlight }) => sum + inFlight.length, 0)
  }

  /** Calls not sent yet. */
  get queued(): number {
    let count = this.#high.length + this.#low.length
    for (const { bound } of this.#connections) count += bound.length
    for (const { waiting } of this.#lanes.values()) count += waiting.length
    return count
  }

  /** Connections that take each other's calls. */
  get connections(): number {
    return this.#shared.length
  }

  /** Slots of one more connection, for its own calls. */
  attach(send: (call: C) => void): Slots<C> {
    const slots = { send, bound: [], inFlight: [], lowInFlight: 0 }
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
    for (const call of slots.inFlight.splice(0)) this.#freeLane(call)
    this.#pump()
  }

  /** Forgets all calls; nothing is sent any more. */
  clear(): void {
    clearTimeout(this.#timer)
    this.onShortage = undefined
    for (const { bound } of this.#connections) bound.length = 0
    this.#lanes.clear()
    this.#high.length = 0
    this.#low.length = 0
  }

  /** Whether any call is in flight on these slots. */
  isIdle(slots: Slots<C>): boolean {
    return slots.inFlight.length === 0
  }

  submit(call: C): void {
    if (call.lane !== undefined) {
      const lane = this.#laneOf(call.lane)
      if (lane.taken) {
        call.state = 'waiting'
        lane.waiting.push(call)
        return
      }
      lane.taken = true
    }
    this.#makeReady(call)
    this.#pump()
  }

  /** Takes a call out that was not sent yet. A sent one keeps its slot: false. */
  withdraw(call: C): boolean {
    if (call.state === 'waiting') {
      remove(this.#laneOf(call.lane as string).waiting, call)
      return true
    }
    if (call.state === 'ready') {
      remove(this.#queueOf(call), call)
      this.#freeLane(call)
      this.#pump()
      return true
    }
    return false
  }

  /** The daemon answered: slot and lane are free. */
  finished(call: C): void {
    const slots = call.slots as Slots<C>
    remove(slots.inFlight, call)
    if (!call.high) slots.lowInFlight--
    this.#freeLane(call)
    this.#pump()
  }

  #freeLane(call: C): void {
    if (call.lane === undefined) return
    const lane = this.#laneOf(call.lane)
    const next = lane.waiting.shift()
    if (next) this.#makeReady(next)
    else {
      lane.taken = false
      if (this.#lanes.size > LANES_KEPT) this.#lanes.delete(call.lane)
    }
  }

  #laneOf(name: string): Lane<C> {
    let lane = this.#lanes.get(name)
    if (!lane) this.#lanes.set(name, (lane = { taken: false, waiting: [] }))
    return lane
  }

  #makeReady(call: C): void {
    call.state = 'ready'
    this.#queueOf(call).push(call)
  }

  #queueOf({ bound, home, high }: C): C[] {
    if (bound) return home.bound
    return high ? this.#high : this.#low
  }

  #pump(): void {
    for (const { bound } of this.#connections) if (bound.length > 0) this.#sendBound(bound)
    this.#sendAnywhere(this.#high)
    this.#sendAnywhere(this.#low)
    if (this.onShortage && (this.#high.length > 0 || this.#low.length > 0))
      this.#timer ??= setTimeout(() => this.#look(), this.#limits.stuckAfterMs).unref()
  }

  #sendBound(queue: C[]): void {
    for (let at = 0; at < queue.length;) {
      const call = queue[at] as C
      if (this.#hasRoom(call.home, call.high)) {
        queue.splice(at, 1)
        this.#send(call, call.home)
      } else at++
    }
  }

  #sendAnywhere(queue: C[]): void {
    for (;;) {
      const call = queue[0]
      const slots = call && this.#shared.find((one) => this.#hasRoom(one, call.high))
      if (!slots) return
      queue.shift()
      this.#send(call, slots)
    }
  }

  #hasRoom({ inFlight, lowInFlight }: Slots<C>, high: boolean): boolean {
    const { maxInFlight, maxLowInFlight } = this.#limits
    return inFlight.length < maxInFlight && (high || lowInFlight < maxLowInFlight)
  }

  #send(call: C, slots: Slots<C>): void {
    slots.inFlight.push(call)
    if (!call.high) slots.lowInFlight++
    call.state = 'sent'
    call.slots = slots
    call.sentAtMs = performance.now()
    slots.send(call)
  }

  /** Calls for help when none of the slots moves, or fewer of the low ones than one healthy connection has. */
  #look(): void {
    this.#timer = undefined
    const { maxInFlight, maxLowInFlight, stuckAfterMs } = this.#limits
    const stuckSinceMs = performance.now() - stuckAfterMs
    let moving = 0
    let movingLow = 0
    for (const { inFlight } of this.#shared) {
      const stuck = inFlight.filter(({ sentAtMs }) => (sentAtMs as number) <= stuckSinceMs)
      moving += maxInFlight - stuck.length
      const stuckLow = stuck.filter(({ high }) => !high).length
      movingLow += Math.min(maxLowInFlight - stuckLow, maxInFlight - stuck.length)
    }
    const helpless = this.#high.length > 0 && moving === 0
    if (helpless || (this.#low.length > 0 && movingLow < maxLowInFlight)) this.onShortage?.()
    this.#pump()
  }
}

/** Takes an item out of a short list. */
export function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
