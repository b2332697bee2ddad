/** What the scheduler needs to know of a call; the fields without `readonly` are its own. */
export interface ScheduledCall {
  /** High-priority procedures have workers of their own in the daemon and never wait for a VM. */
  readonly high: boolean
  /** Calls of one lane go one after the other: `<uuid>/monitor`, `<uuid>/agent`. */
  readonly lane: string | undefined
  state: 'new' | 'waiting' | 'ready' | 'sent'
}

export interface SchedulerLimits {
  /** Calls in flight together. The daemon takes 5 and stops reading the connection at the fifth. */
  maxInFlight: number
  /** Of these, calls that may wait for a VM. */
  maxLowInFlight: number
}

/**
 * Decides when a call may be sent, so that a stuck VM cannot take the whole connection.
 *
 * A slot belongs to its call until {@link finished}: giving up on a call does not empty the daemon's slot.
 */
export class CallScheduler<C extends ScheduledCall> {
  readonly #send: (call: C) => void
  readonly #limits: SchedulerLimits
  /** Calls waiting for the one that holds their lane; a lane without an entry is free. */
  readonly #lanes = new Map<string, C[]>()
  readonly #ready: { high: C[]; low: C[] } = { high: [], low: [] }
  #inFlight = 0
  #lowInFlight = 0

  constructor(send: (call: C) => void, limits: SchedulerLimits = { maxInFlight: 4, maxLowInFlight: 3 }) {
    this.#send = send
    this.#limits = limits
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Calls not sent yet. */
  get queued(): number {
    let count = this.#ready.high.length + this.#ready.low.length
    for (const waiting of this.#lanes.values()) count += waiting.length
    return count
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
      remove(call.high ? this.#ready.high : this.#ready.low, call)
      this.#freeLane(call)
      this.#pump()
      return true
    }
    return false
  }

  /** The daemon answered: slot and lane are free. */
  finished(call: C): void {
    this.#inFlight--
    if (!call.high) this.#lowInFlight--
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
    ;(call.high ? this.#ready.high : this.#ready.low).push(call)
  }

  #pump(): void {
    const { high, low } = this.#ready
    while (this.#inFlight < this.#limits.maxInFlight) {
      const call = high.shift() ?? (this.#lowInFlight < this.#limits.maxLowInFlight ? low.shift() : undefined)
      if (!call) return
      this.#inFlight++
      if (!call.high) this.#lowInFlight++
      call.state = 'sent'
      this.#send(call)
    }
  }
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
