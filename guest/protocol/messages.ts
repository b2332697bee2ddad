/**
 * The verifier protocol, version 1: what a verification server and an agent in a guest say to each other.
 *
 * Every message is one JSON object in UTF-8 of at most 1 MiB. Times in nanoseconds are decimal strings, since a
 * JSON number cannot hold them. `schemas/verifier-message.json` says the same for other languages.
 */

/** Longest message in either direction, bytes of UTF-8. */
export const MESSAGE_MAX_BYTES = 1_048_576

/** How long a single-input event waits for its input when it does not say so itself. */
export const DEFAULT_TIMEOUT_MS = 5000

/** Whole nanoseconds in decimal digits. */
export type Nanoseconds = string

/** Where an agent sees input: in the guest's kernel, or in a browser that runs in the guest. */
export type AgentLevel = 'kernel' | 'browser'

/** First message of an agent. */
export interface Hello {
  v: 1
  type: 'hello'
  /** The VM the agent says it runs in; see its `--vm-id`. */
  vm_id: string
  /** Absent where the token came as `Authorization: Bearer` of the WebSocket's request. */
  token?: string
  /** Random, of this process of the agent: the same after a reconnect. */
  session: string
  /** What it can verify: `keyboard`, `mouse`, `command` and names of custom verifiers. */
  verifiers: string[]
  agent: { version: string; platform: 'linux' | 'win32' | 'browser' }
  level: AgentLevel
  /** Whether it answers {@link TimeQuestion} with the clock that stamps its input. */
  reads_clock: boolean
}

/** The agent may stay. */
export interface Welcome {
  v: 1
  type: 'welcome'
}

/** The agent may not stay, or what it sent is not taken; the connection ends. */
export interface Refused {
  v: 1
  type: 'refused'
  /** `ATP_VERIFIER_…` */
  code: string
  message: string
}

/** Something to verify, answered by exactly one {@link VerifyResult}. */
export interface VerifierEvent {
  v: 1
  event_id: string
  /** Which verifier: `keyboard`, `mouse`, `command` or a custom name. */
  type: string
  /** `keydown`, `keyup`, `press`, `move`, `click`, `run`… */
  action: string
  /** A keyboard event's key, under any name of the key table. */
  key?: string
  /** Milliseconds since the epoch, the server's clock. */
  timestamp: number
  /** What else the verifier needs. Mouse: `x, y, button`; command: `command, args, expected_…`. */
  metadata: Readonly<Record<string, unknown>> & { readonly timeout_ms: number }
}

/** The answer to one event or expectation. It has no `type`. */
export interface VerifyResult {
  v: 1
  event_id: string
  verified: boolean
  /** Milliseconds since the epoch, the agent's clock. */
  timestamp: number
  /** Milliseconds from the arrival of the event at the agent to this answer. Not the latency of the input. */
  latency_ms: number
  /** `error` and `code` where it could not be verified. */
  details: Readonly<Record<string, unknown>>
}

/** Input as the guest's kernel will report it: Linux evdev codes. `optional`: it does not matter whether it comes. */
export type ExpectedInput =
  | readonly [kind: InputKind, code: number, value: number]
  | readonly [kind: InputKind, code: number, value: number, optional: 'optional']
export type InputKind = 'key' | 'abs' | 'rel'
export type InputDevice = 'keyboard' | 'mouse'

/**
 * Opens an expectation, or adds to one while its action goes on: indices count on. The agent says with a first
 * {@link Seen}, mostly an empty one, that it watches: input sent before that may be missed.
 */
export interface Expect {
  v: 1
  type: 'expect'
  event_id: string
  device: InputDevice
  add: ExpectedInput[]
  /** Nothing will be added any more. */
  last: boolean
}

/** What an expectation saw since the last such message: first the indices in `seen`, then the unexpected ones. */
export interface Seen {
  v: 1
  type: 'seen'
  event_id: string
  seen: (readonly [index: number, guestNs: Nanoseconds])[]
  /** How many further inputs came that this action did not expect; not which. */
  unexpected: number
}

/** Ends an expectation; the agent answers with its result. */
export interface Release {
  v: 1
  type: 'release'
  event_id: string
}

/** For a while input could not be observed: nothing may be said about it, least of all that it was lost. */
export interface Gap {
  v: 1
  type: 'gap'
  /** Absent: all expectations of the connection. */
  event_id?: string
  reason: string
}

export interface TimeQuestion {
  v: 1
  type: 'time'
  nonce: number
}

/** The clock that stamps the agent's input. Linux: `CLOCK_REALTIME`; browser: performance time. */
export interface TimeAnswer {
  v: 1
  type: 'time'
  nonce: number
  guest_ns: Nanoseconds
  /** By how much `guest_ns` may be wrong in either direction. Absent: less than a microsecond. */
  error_ns?: Nanoseconds
}

/** Liveness, either side may ask. */
export interface Ping {
  v: 1
  type: 'ping' | 'pong'
  nonce: number
}

/** Asks for every input. An agent that was not started with tracing ignores it. */
export interface Trace {
  v: 1
  type: 'trace'
  on: boolean
}

/** One input, only while both sides want tracing. */
export interface RawInput {
  v: 1
  type: 'raw'
  device: InputDevice
  kind: InputKind
  code: number
  value: number
  guest_ns: Nanoseconds
}

/** What an agent sends. */
export type AgentMessage = Hello | VerifyResult | Seen | Gap | TimeAnswer | Ping | RawInput
/** What a server sends. */
export type ServerMessage = Welcome | Refused | VerifierEvent | Expect | Release | TimeQuestion | Ping | Trace

/** Types with a meaning of their own, which no custom verifier may have as its name. */
export const RESERVED_TYPES: ReadonlySet<string> = new Set([
  'hello',
  'welcome',
  'refused',
  'expect',
  'seen',
  'release',
  'gap',
  'time',
  'ping',
  'pong',
  'trace',
  'raw',
  'verify_result',
  'raw_input_event',
  'verified_input_event',
])
