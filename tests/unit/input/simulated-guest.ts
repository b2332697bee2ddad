import type { InputHost } from '../../../framework/input/action.ts'
import type { Delivery, InputEvent, InputObserver, InputPath, ObservedEvent } from '../../../framework/input/api.ts'
import { expectationOf } from '../../../framework/input/expectation.ts'
import { reconcile } from '../../../framework/verify/reconcile.ts'
import type { InputPathName } from '../../../framework/evidence/events.ts'

export interface SimulatedGuestOptions {
  device?: InputPathName['device']
  /** Events the device holds while the guest does not look; more are dropped. Default 16. */
  queue?: number
  /** Milliseconds between two looks at the queue. Default 1. */
  pollMs?: number
  /** Events the guest takes per look. Default 2. */
  perPoll?: number
  /** Drops, doubles or passes the n-th event, counted from 1. */
  fault?: (event: InputEvent, index: number) => 'drop' | 'double' | 'pass'
  /** Times that the guest's kernel repeats each pressed key. */
  repeats?: number
  /** The observer cannot be started, for this reason. */
  unobservable?: string
}

/** A guest that takes input from a short queue at its own speed, as real devices do, and an observer in it. */
export class SimulatedGuest implements InputPath, InputObserver {
  readonly name: InputPathName
  readonly level = 'kernel'
  /** What the guest's programs see. */
  readonly received: InputEvent[] = []
  /** One entry an inject call. */
  readonly calls: InputEvent[][] = []
  readonly deliveries: Delivery[] = []
  overflowed = 0
  calibrations = 0
  /** What the observer says when it is asked why events are missing. */
  observerFault: string | undefined
  /** How long it takes to say so. */
  answersAfterMs = 0
  /** Inject calls fail from now on. */
  broken: Error | undefined
  /** The guest takes nothing while true. */
  frozen = false
  readonly #options: SimulatedGuestOptions
  readonly #queue: InputEvent[] = []
  readonly #abs = new Map<string, number>()
  #observers = new Set<{ onEvent: (event: ObservedEvent) => void; onGap: (reason: string) => void }>()
  #timer: NodeJS.Timeout | undefined
  #count = 0

  constructor(options: SimulatedGuestOptions = {}) {
    this.#options = options
    this.name = { via: 'qmp', device: options.device ?? 'ps2' }
  }

  host(): InputHost {
    return {
      vm: 'vm-007',
      path: () => this,
      observe: async () => {
        if (this.#options.unobservable) throw new Error(this.#options.unobservable)
        return this
      },
      reconcile,
      onDelivery: (delivery) => this.deliveries.push(delivery),
    }
  }

  async inject(events: readonly InputEvent[], { signal }: { signal?: AbortSignal } = {}): Promise<{ atNs: bigint }> {
    const atNs = process.hrtime.bigint()
    this.calls.push([...events])
    if (this.broken) throw this.broken
    if (signal?.aborted) throw signal.reason
    for (const event of events) {
      if (this.#queue.length >= (this.#options.queue ?? 16)) this.overflowed++
      else this.#queue.push(event)
    }
    this.#timer ??= setInterval(() => this.#poll(), this.#options.pollMs ?? 1)
    await new Promise((resolve) => setImmediate(resolve))
    return { atNs }
  }

  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void {
    const observer = { onEvent, onGap }
    this.#observers.add(observer)
    return () => void this.#observers.delete(observer)
  }

  /** The observer missed something. */
  gap(reason: string): void {
    for (const { onGap } of this.#observers) onGap(reason)
  }

  toHostTime(guestNs: bigint): { hostNs: bigint; boundNs: bigint } {
    return { hostNs: guestNs, boundNs: 50_000n }
  }

  async calibrate(): Promise<void> {
    this.calibrations++
  }

  async fault(): Promise<string | undefined> {
    await new Promise((resolve) => setTimeout(resolve, this.answersAfterMs))
    return this.observerFault
  }

  /** Text the guest's shell would have read: the qcodes of unshifted presses. */
  get typed(): string {
    return this.received.flatMap((event) => (event.type === 'key' && event.down ? [event.qcode] : [])).join(' ')
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #poll(): void {
    if (this.frozen) return
    for (let taken = 0; taken < (this.#options.perPoll ?? 2); taken++) {
      const event = this.#queue.shift()
      if (event) this.#take(event)
    }
  }

  #take(event: InputEvent): void {
    const fault = this.#options.fault?.(event, ++this.#count) ?? 'pass'
    if (fault === 'drop') return
    if (event.type === 'abs') {
      if (this.#abs.get(event.axis) === event.value) return
      this.#abs.set(event.axis, event.value)
    }
    this.received.push(event)
    const expectation = expectationOf(event)
    if (!expectation) return
    const now = process.hrtime.bigint()
    for (let times = fault === 'double' ? 2 : 1; times > 0; times--) {
      this.#report({ ...expectation, guestNs: now, arrivedNs: now })
    }
    for (let times = event.type === 'key' && event.down ? (this.#options.repeats ?? 0) : 0; times > 0; times--) {
      this.#report({ ...expectation, value: 2, guestNs: now, arrivedNs: now })
    }
  }
  #report(event: ObservedEvent): void {
    for (const { onEvent } of this.#observers) onEvent(event)
  }
}
