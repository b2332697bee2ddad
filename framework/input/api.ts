/** The border between input (what is sent), observation (what the guest saw) and the paths between them. */
import type { CallOptions } from '../core/index.ts'
import type { DeliveryRecord, InputPathName, LatencySummary, ObservationLevel } from '../evidence/events.ts'

/** One state change of one virtual input device. Keys are identified by their QMP qcode. */
export type InputEvent =
  | { type: 'key'; qcode: string; down: boolean }
  | { type: 'button'; button: 'left' | 'middle' | 'right' | 'wheel-up' | 'wheel-down' | 'side' | 'extra'; down: boolean }
  /** Absolute position, 0…32767 over the whole screen. */
  | { type: 'abs'; axis: 'x' | 'y'; value: number }
  | { type: 'rel'; axis: 'x' | 'y'; value: number }

/** A way into the guest. QMP now, SPICE later. */
export interface InputPath {
  readonly name: InputPathName
  /**
   * Injects the events together, in order.
   * Resolves when the hypervisor has taken them. `atNs` is host monotonic time (`process.hrtime.bigint()`)
   * immediately before the request left this process.
   */
  inject(events: readonly InputEvent[], options?: CallOptions): Promise<{ atNs: bigint }>
}

/** One observed event. */
export interface ObservedEvent {
  /** `key` covers keyboard keys and mouse buttons; codes are Linux evdev codes. */
  type: 'key' | 'abs' | 'rel'
  code: number
  /** key: 1 press, 0 release, 2 autorepeat; abs/rel: the value. */
  value: number
  /** The observer's own time in nanoseconds since its epoch (guest CLOCK_REALTIME for evdev). */
  guestNs: bigint
  /** Host monotonic time when the record arrived back. */
  arrivedNs: bigint
}

/** Something in or at the guest that reports input it saw. */
export interface InputObserver {
  readonly level: ObservationLevel
  /** Delivers events in the order the guest saw them. Returns the unsubscribe function. */
  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void
  /** Maps a guest timestamp to host monotonic nanoseconds, with the half width of its uncertainty. */
  toHostTime(guestNs: bigint): { hostNs: bigint; boundNs: bigint }
  /** Measures the clock offset again when the last measurement has aged. Called after long actions. */
  calibrate?(options?: CallOptions): Promise<void>
}

/** One injected event and when the request that carried it left this process. */
export interface SentEvent {
  event: InputEvent
  /** Host monotonic time, see {@link InputPath.inject}. */
  atNs: bigint
  /** Sent to provoke another event; whether the guest reports it does not matter. */
  optional?: boolean
}

/** What comparing sent with observed events yields; the core of a {@link Delivery}. */
export interface Account {
  sent: number
  seen: number
  lost: number
  duplicated: number
  reordered: number
  stuck: string[]
  differences: string[]
  latenciesMs: number[]
  latency?: LatencySummary
}

/** Compares what was sent with what was observed. Implemented by the verify room. */
export type Reconcile = (request: {
  sent: readonly SentEvent[]
  /** In the order the guest saw them. */
  observed: readonly ObservedEvent[]
  observer: InputObserver
  /** evdev codes that are held down on purpose. */
  held: ReadonlySet<number>
}) => Account

export type VerifyMode = 'off' | 'observe' | 'require'

export interface InputOptions extends CallOptions {
  /** Which program injects. Default `auto`: deterministic, reported, never a silent fallback. */
  via?: 'auto' | 'qmp' | 'spice'
  /** Which virtual device. Default `auto`: the keyboard the VM's XML names first. */
  device?: 'auto' | 'ps2' | 'usb' | 'virtio'
  /** Default `observe`. */
  verify?: VerifyMode
}

/** What an input action resolves to: its account plus the raw latencies for statistics and matchers. */
export interface Delivery extends DeliveryRecord {
  vm: string
  /** Injection → guest, one entry per observed press, milliseconds. */
  readonly latenciesMs: readonly number[]
}
