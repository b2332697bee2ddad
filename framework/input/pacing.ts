import { keyOfQcode } from '../keys/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { InputEvent } from './api.ts'

/**
 * What the device's queue in QEMU holds while the guest does not look: PS/2 16 bytes, USB HID 16 events, virtio
 * 64 descriptors. A stroke that does not fit is lost as a whole or, worse, in part.
 */
const CAPACITY: Readonly<Record<InputPathName['device'], number>> = { ps2: 16, usb: 16, virtio: 64 }

/**
 * Pause after each stroke when nobody acknowledges, milliseconds. PS/2 and virtio interrupt the guest, which
 * then needs well under a millisecond a stroke unless its host is very busy. USB keyboards are polled every
 * 8 ms and hand over one event a poll: four for a shifted stroke.
 */
export const FIXED_PACE_MS: Readonly<Record<InputPathName['device'], number>> = { ps2: 20, usb: 80, virtio: 20 }

/** Room one event takes in the device's queue, counted at its dearest. */
function costOf(event: InputEvent, device: InputPathName['device']): number {
  // virtio: the event itself and its share of the report's end.
  if (device === 'virtio') return 2
  if (device === 'usb' || event.type !== 'key') return 1
  // AT set 2 untranslated: the code, f0 before a release, e0 before either where the key has that prefix;
  // the print key has two codes, pause six bytes.
  const scancode = keyOfQcode(event.qcode)?.scancode ?? 0
  if (event.qcode === 'print' || event.qcode === 'pause') return 8
  return 1 + (event.down ? 0 : 1) + (scancode > 0xff ? 1 : 0)
}

/** Room that a stroke's events take in the device's queue. */
export function strokeCost(events: readonly InputEvent[], device: InputPathName['device']): number {
  return events.reduce((sum, event) => sum + costOf(event, device), 0)
}

/** Share of its time that the guest shall be busy with keys while text is typed. */
const BUSY_SHARE = 0.8
/** Weight of a new measurement. */
const WEIGHT = 1 / 8
const FIRST_STROKES = 2
/** Strokes that may always be on their way at once: enough to hide the way of an acknowledgement. */
const LEAST_IN_FLIGHT = 4

/**
 * How fast one way into the guest is, learnt from the guest's own time stamps: what it takes for a stroke, and how
 * long it has nothing to do between two calls. From both follows how many strokes a call should carry: as few as
 * keep the guest busy for 80 % of the time. A path that is slower than its guest gets many, a fast one gets one.
 */
export class PathPace {
  #strokeMs: number | undefined
  #idleMs: number | undefined

  get strokesPerCall(): number {
    return Math.max(1, Math.round(this.#wanted ?? FIRST_STROKES))
  }

  /** Strokes that should be on their way at once: the more, the longer the guest waits for them. */
  get strokesInFlight(): number {
    return LEAST_IN_FLIGHT + Math.round(2 * (this.#wanted ?? 0))
  }

  get #wanted(): number | undefined {
    if (this.#strokeMs === undefined || this.#idleMs === undefined) return undefined
    return (BUSY_SHARE / (1 - BUSY_SHARE)) * (this.#idleMs / Math.max(this.#strokeMs, 0.001))
  }

  /** The guest took a stroke while another one waited for it. */
  tookStroke(ms: number): void {
    this.#strokeMs = averaged(this.#strokeMs, ms)
  }

  /** The guest had nothing to do for so long before a call. */
  wasIdle(ms: number): void {
    this.#idleMs = averaged(this.#idleMs, Math.max(0, ms - (this.#strokeMs ?? 0)))
  }
}

function averaged(before: number | undefined, ms: number): number {
  return before === undefined ? ms : before + WEIGHT * (ms - before)
}

interface InFlight {
  /** evdev codes of the releases that the guest has not reported, in their order. */
  releases: number[]
  cost: number
  call: number
}

/**
 * The acknowledgement window of one typed text. A stroke may leave when the device's queue would hold all that is
 * unacknowledged even if the guest looked at none of it.
 */
export class AckWindow {
  readonly #capacity: number
  readonly #pace: PathPace
  readonly #inFlight: InFlight[] = []
  readonly #down = new Set<number>()
  #cost = 0
  #call = 0
  #answeredCall = 0
  /** The latest acknowledgement: its call, guest time, and the calls sent and answered when it arrived. */
  #last: { call: number; guestNs: bigint; sent: number; answered: number } | undefined

  constructor(device: InputPathName['device'], pace: PathPace) {
    this.#capacity = CAPACITY[device]
    this.#pace = pace
  }

  /** Strokes the guest has not acknowledged. */
  get inFlight(): number {
    return this.#inFlight.length
  }

  /** A stroke that fits nowhere may go alone. */
  hasRoomFor(cost: number): boolean {
    if (this.#inFlight.length === 0) return true
    return this.#inFlight.length < this.#pace.strokesInFlight && this.#cost + cost <= this.#capacity
  }

  /** A call begins; what is {@link sent} from now on goes with it. */
  beginCall(): void {
    this.#call++
  }

  /** @param releases evdev codes in the order of their releases. */
  sent(releases: readonly number[], cost: number): void {
    this.#inFlight.push({ releases: [...releases], cost, call: this.#call })
    this.#cost += cost
  }

  /** The device has all that was sent. */
  callAnswered(): void {
    this.#answeredCall = this.#call
  }

  pressed(code: number): void {
    this.#down.add(code)
  }

  /**
   * The guest saw a release. Devices keep the order, so whatever left before that stroke is settled too, seen or not.
   * A release without a press acknowledges nothing: it is another one's, twice.
   */
  released(code: number, guestNs: bigint): void {
    if (!this.#down.delete(code)) return
    const index = this.#inFlight.findIndex(({ releases }) => releases.includes(code))
    if (index < 0) return
    const { releases } = this.#inFlight[index] as InFlight
    releases.splice(0, releases.indexOf(code) + 1)
    // The key of a shifted stroke: another stroke of that key may stand behind it.
    if (releases.length > 0) return
    const settled = this.#inFlight.splice(0, index + 1)
    for (const stroke of settled) this.#cost -= stroke.cost
    this.#learn((settled.at(-1) as InFlight).call, guestNs, settled.length)
  }

  /** Nothing that was sent is in the device any more, whether the guest reported it or not. */
  forget(): void {
    this.#inFlight.length = 0
    this.#cost = 0
    this.#last = undefined
  }

  #learn(call: number, guestNs: bigint, strokes: number): void {
    const last = this.#last
    this.#last = { call, guestNs, sent: this.#call, answered: this.#answeredCall }
    if (!last) return
    const sinceMs = Number(guestNs - last.guestNs) / 1e6
    // A clock that was set says nothing.
    if (sinceMs < 0 || sinceMs > 1000) return
    const waited = call === last.call || last.answered >= call
    if (waited) this.#pace.tookStroke(sinceMs / strokes)
    if (waited && call !== last.call) this.#pace.wasIdle(0)
    else if (last.sent < call) this.#pace.wasIdle(sinceMs)
  }
}
