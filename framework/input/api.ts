/** The border between input (what is sent), observation (what the guest saw) and the paths between them. */
import type { CallOptions, Secret } from '../core/index.ts'
import type {
  DeliveryRecord,
  InputPathName,
  LatencySummary,
  ObservationLevel,
  ObserverName,
} from '../evidence/events.ts'

/** One state change of one virtual input device. Keys are identified by their QMP qcode. */
export type InputEvent =
  | { type: 'key'; qcode: string; down: boolean }
  | {
      type: 'button'
      button: 'left' | 'middle' | 'right' | 'wheel-up' | 'wheel-down' | 'side' | 'extra'
      down: boolean
    }
  /** Absolute position, 0…32767 over the whole screen. */
  | { type: 'abs'; axis: 'x' | 'y'; value: number }
  | { type: 'rel'; axis: 'x' | 'y'; value: number }

export interface InjectOptions extends CallOptions {
  /** The device's queue surely has room for all: events that leave apart need no time between them. */
  hasRoom?: boolean
}

/** A way into the guest: QMP or SPICE. */
export interface InputPath {
  readonly name: InputPathName
  /**
   * Injects the events together, in order.
   * Resolves when the hypervisor has taken them. `atNs` is host monotonic time (`process.hrtime.bigint()`)
   * immediately before the request left this process; `eachAtNs` are those of each event, where they leave apart.
   */
  inject(
    events: readonly InputEvent[],
    options?: InjectOptions,
  ): Promise<{ atNs: bigint; eachAtNs?: readonly bigint[] }>
  /** The absolute position it reaches when it is asked for this one. Absent: each. */
  nearest?(axis: 'x' | 'y', value: number): number
  /** Least distance that surely leads to another position. Absent: 1. */
  step?(axis: 'x' | 'y'): number
}

/** One observed event. */
export interface ObservedEvent {
  /** `key` covers keyboard keys and mouse buttons; codes are Linux evdev codes. */
  type: 'key' | 'abs' | 'rel'
  /** Of a key 0: an input that was not sent, by an observer that does not say which. */
  code: number
  /** key: 1 press, 0 release, 2 autorepeat; abs/rel: the value. */
  value: number
  /** The observer's own time in nanoseconds since its epoch (guest CLOCK_REALTIME for evdev). */
  guestNs: bigint
  /** Host monotonic time when the record arrived back. */
  arrivedNs: bigint
  /** The first that this observer saw at all. The guest does then for the first time what it does for each later one. */
  first?: true
}

/** When a guest gave a timestamp, by the host's monotonic clock. */
export interface HostTime {
  hostNs: bigint
  /** Half width of its uncertainty. */
  boundNs: bigint
  /** Why it must not be believed. */
  invalid?: string
}

/** A comparison of the guest's clock with the host's that goes on while an action lasts. */
export interface ClockWatch {
  /** Ends it with a last comparison: what was stamped before counts only if the clocks agree as they did. */
  confirm(options?: CallOptions): Promise<void>
  /** Ends it. Idempotent. */
  stop(): Promise<void>
}

/** Something in or at the guest that reports input it saw. */
export interface InputObserver {
  readonly level: ObservationLevel
  /** Least distance of two positions that it surely tells apart, in units of the absolute axes. Absent: 1. */
  readonly resolution?: number
  /** Which observer it is, for the account. */
  readonly by?: ObserverName
  /** Delivers events in the order the guest saw them. Returns the unsubscribe function. */
  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void
  /**
   * Told before each injection what it will make the guest report. An observer that sees everything by itself has no
   * need of it. `last`: the action sends no more; resolves once what the guest saw by then was delivered.
   */
  expecting?(expected: readonly ExpectedEvent[], options?: CallOptions & { last?: boolean }): Promise<void>
  /** What tells the time of the clock that stamps its events, for the account. */
  readonly clock?: string
  /**
   * Maps a guest timestamp to host monotonic nanoseconds, with the half width of its uncertainty.
   *
   * @param within host times between which it was given.
   */
  toHostTime(guestNs: bigint, within?: { fromNs: bigint; toNs: bigint }): HostTime
  /** Compares the clocks before an action and while it lasts. */
  watchClock?(options?: CallOptions): Promise<ClockWatch>
  /**
   * Why the observation no longer works, or undefined while it does. Asked when events are missing: a dead
   * observer must not be taken for lost input.
   */
  fault?(options?: CallOptions): Promise<string | undefined>
}

/** What an injected event makes a Linux guest's evdev report. */
export interface Expectation {
  type: ObservedEvent['type']
  code: number
  /** key: 1 or 0; abs: the position; rel: the distance, which the guest may report in several pieces. */
  value: number
}

export interface ExpectedEvent extends Expectation {
  /** Sent to provoke another event; whether the guest reports it does not matter. */
  optional?: boolean
}

/** What one injected event should cause, and when the request that carried it left this process. */
export interface SentEvent extends ExpectedEvent {
  /** Host monotonic time, see {@link InputPath.inject}. */
  atNs: bigint
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
  /** Latencies of the first input that the observer saw at all; they are no part of `latenciesMs`. */
  warmupMs: number[]
  /** Latencies that cannot be true and were left out, by reason. */
  excluded: Record<string, number>
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
  via?: 'auto' | InputPathName['via']
  /** Which virtual device. Default `auto`: the keyboard the VM's XML names first. */
  device?: 'auto' | 'ps2' | 'usb' | 'virtio'
  /** Default `observe`. */
  verify?: VerifyMode
  /**
   * Who observes: the guest's `evdev`, streamed by nothing but its own `cat`; a verifier `agent` in the guest; or a
   * `browser` in it. Default `auto`: evdev where it is possible, else an agent. Never a browser unless asked for.
   */
  observe?: ObserverChoice
}

export type ObserverChoice = 'auto' | ObserverName

/** What input actions are carried out with unless they say otherwise. */
export type InputDefaults = Pick<InputOptions, 'via' | 'device' | 'verify' | 'observe'>

/** What an input action resolves to: its account plus the raw latencies for statistics and matchers. */
export interface Delivery extends DeliveryRecord {
  vm: string
  /** Injection → guest, one entry per observed press, milliseconds. */
  readonly latenciesMs: readonly number[]
}

export interface TypeOptions extends InputOptions {
  /** Keyboard layout the guest uses. Default `us`. */
  layout?: string
  /** Fixed pause between strokes in milliseconds instead of acknowledgement pacing. */
  delayMs?: number
  /**
   * Types characters that the layout cannot make in the way the guest has for them, with real keys. Default: they are
   * {@link onUnmapped}. Works on the text console of Linux.
   */
  unicode?: 'guest'
  /** Called about once a second while a long text is typed. */
  onProgress?: (strokes: number, ofStrokes: number) => void
  /** What to do with characters the layout cannot make. Default `error`, before the first stroke. */
  onUnmapped?: 'error' | 'skip'
}
export interface PressOptions extends InputOptions {
  /** Keyboard layout the guest uses, on which a printed character stands for its key. Default `us`. */
  layout?: string
  /** How long the chord is held, milliseconds. Default 0: released at once. */
  holdMs?: number
}

export interface Keyboard {
  /** The accounts of all its actions so far, also of those that arrived damaged. */
  readonly deliveries: readonly Delivery[]
  /** Types text stroke by stroke. */
  type(text: string | Secret, options?: TypeOptions): Promise<Delivery>
  /** Presses a key or chord such as `a`, `enter`, `ctrl+alt+del`: down in order, up in reverse. */
  press(chord: string, options?: PressOptions): Promise<Delivery>
  down(key: string, options?: InputOptions): Promise<Delivery>
  up(key: string, options?: InputOptions): Promise<Delivery>
}

export type MouseButton = 'left' | 'middle' | 'right'
export interface Mouse {
  /** The accounts of all its actions so far, also of those that arrived damaged. */
  readonly deliveries: readonly Delivery[]
  /** Absolute position in guest screen pixels, or as fractions with `unit: 'fraction'`. */
  move(x: number, y: number, options?: MouseOptions): Promise<Delivery>
  moveBy(dx: number, dy: number, options?: MouseOptions): Promise<Delivery>
  click(options?: MouseOptions & { x?: number; y?: number; button?: MouseButton; count?: number }): Promise<Delivery>
  /** Clicks twice. */
  dblclick(options?: MouseOptions & { x?: number; y?: number; button?: MouseButton }): Promise<Delivery>
  /** Presses a button at one place, moves to another and releases it there. */
  drag(from: Point, to: Point, options?: MouseOptions & { button?: MouseButton }): Promise<Delivery>
  down(button?: MouseButton, options?: MouseOptions): Promise<Delivery>
  up(button?: MouseButton, options?: MouseOptions): Promise<Delivery>
  scroll(notches: number, options?: MouseOptions): Promise<Delivery>
}
/** A place on the guest's screen. */
export interface Point {
  x: number
  y: number
}
export interface MouseOptions extends InputOptions {
  unit?: 'pixel' | 'fraction'
}
