import { keyOfQcode } from '../keys/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { InputEvent } from './api.ts'

/** Strokes that may be on their way at once. */
const MAX_IN_FLIGHT = 4

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

interface InFlight {
  /** evdev code whose release says that the guest has the whole stroke. */
  lastCode: number
  cost: number
}

/**
 * The acknowledgement window: a stroke may leave while fewer than four are unacknowledged and the device's queue
 * would hold all of them even if the guest looked at none.
 */
export class AckWindow {
  readonly #capacity: number
  readonly #inFlight: InFlight[] = []
  #cost = 0

  constructor(device: InputPathName['device']) {
    this.#capacity = CAPACITY[device]
  }

  get inFlight(): number {
    return this.#inFlight.length
  }

  /** A stroke that fits nowhere may go alone. */
  hasRoomFor(cost: number): boolean {
    if (this.#inFlight.length === 0) return true
    return this.#inFlight.length < MAX_IN_FLIGHT && this.#cost + cost <= this.#capacity
  }

  sent(lastCode: number, cost: number): void {
    this.#inFlight.push({ lastCode, cost })
    this.#cost += cost
  }

  /** The guest saw a release. Devices keep the order, so whatever left before that stroke is settled too. */
  released(code: number): void {
    const index = this.#inFlight.findIndex((stroke) => stroke.lastCode === code)
    for (const stroke of this.#inFlight.splice(0, index + 1)) this.#cost -= stroke.cost
  }
}
