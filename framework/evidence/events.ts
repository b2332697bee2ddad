/**
 * The versioned run-event model. Everything that happens in a run is one of these events; every reporter
 * reads them and nothing else. JSON-serialisable: events cross process borders and are stored as lines.
 */
import type { ErrorBranch, Verdict } from '../core/index.ts'

export const RUN_EVENTS_VERSION = 1

export type TestStatus = 'passed' | 'failed' | 'broken' | 'skipped' | 'pending'

export interface SourceLocation {
  /** Path relative to the project's root, with `/`. */
  file: string
  line: number
  column: number
}

/** An error as it crosses process borders. */
export interface ErrorRecord {
  message: string
  name?: string
  /** `ATP_…` code of a framework error. */
  code?: string
  branch?: ErrorBranch
  verdict: Verdict
  context?: Record<string, unknown>
  stack?: string
  location?: SourceLocation
  /** Source lines around the location, ready to print. */
  codeFrame?: string
  expected?: string
  actual?: string
  cause?: ErrorRecord
}

/** How input reaches the guest: which program injects it and which virtual device delivers it. */
export interface InputPathName {
  /** QMP through libvirt's monitor or over a socket of QEMU's own, or a SPICE session. */
  via: 'qmp' | 'qmp-socket' | 'spice'
  device: 'ps2' | 'usb' | 'virtio'
}

/** Who saw the input: the guest kernel's evdev, a browser in the guest, or pixels. Never mixed in one trend. */
export type ObservationLevel = 'kernel' | 'browser' | 'pixel'

/** What observed input: the evdev stream without an agent, a verifier agent in the guest, or a browser's page. */
export type ObserverName = 'evdev' | 'agent' | 'browser'

/** A latency statement. Milliseconds. The true value lies within `value ± bound`. */
export interface LatencySummary {
  level: ObservationLevel
  /** Host monotonic time at injection → guest timestamp mapped to host time. */
  samples: number
  minMs: number
  p50Ms: number
  p95Ms: number
  p99Ms: number
  maxMs: number
  /** Half width of the clock offset's uncertainty that applies to each value. */
  boundMs: number
  /** The same inputs, injection → observation record back on the host: one clock, no bound. */
  loop?: { p50Ms: number; p95Ms: number; maxMs: number }
  /** What told the guest's time: `echo`, `guest-get-time`, `agent`. */
  clock?: string
}

/** Where the pointer was to go, and where the guest has it. */
export interface PointerRecord {
  /** Pixels of the screen or fractions of it for a place, counts of the mouse for a distance. */
  unit: 'pixel' | 'fraction' | 'count'
  asked: { x: number; y: number }
  /** The guest's own position on its axes, whose ends are the first and the last pixel; or the distance it moved. */
  reached: { x: number; y: number }
  /** Distance between the two, in that unit: what scaling to the axes and back takes, where nothing was lost. */
  error: number
}

/** The account of one input action: what was sent and what the guest saw. */
export interface DeliveryRecord {
  /** `keyboard.type`, `mouse.click`, … */
  action: string
  /** What was sent, readable; secrets show as their length only. */
  input: string
  path: InputPathName
  verify: 'off' | 'observe' | 'require'
  /**
   * `delivered`: everything was seen once, in order. `damaged`: something differs.
   * `unverified`: nobody observed (verify off, or no observer under `observe`).
   */
  outcome: 'delivered' | 'damaged' | 'unverified'
  /** Why it is unverified. */
  reason?: string
  /** Who observed, or should have. Absent where nobody did. */
  observed?: { by: ObserverName; level: ObservationLevel }
  /** Events (presses and releases, moves, buttons). */
  sent: number
  seen: number
  lost: number
  duplicated: number
  reordered: number
  /** Modifier or button names still down in the guest afterwards. */
  stuck: string[]
  /** Times that the guest's kernel repeated a key. No damage where it was held on purpose. */
  repeats?: number
  /** Of a pointer's last move. */
  pointer?: PointerRecord
  /** First differences, readable: `sent KEY_A, saw nothing`. Empty for secrets. */
  differences: string[]
  durationMs: number
  latency?: LatencySummary
  /** The single latencies behind `latency`, milliseconds, so that several actions can be counted together exactly. */
  latenciesMs?: readonly number[]
  /** Those of the first input an observer saw at all: apart, since the guest warms up. */
  warmupMs?: readonly number[]
  /** Samples that cannot be true and were left out, by reason. Nothing is dropped silently. */
  excluded?: Record<string, number>
}

export interface VmRecord {
  name: string
  uuid: string
  host: string
  ownership: 'pristine' | 'shared' | 'attached'
  profile?: string
}

interface Base {
  v: typeof RUN_EVENTS_VERSION
  /** Milliseconds since the epoch. */
  time: number
}
interface OfTest extends Base {
  /** Stable id of the test: file plus full name, or the author's id. */
  test: string
  /** 1 for the first try. */
  attempt: number
}
interface OfStep extends OfTest {
  /** Unique within the attempt. */
  step?: string
}

export interface RunStart extends Base {
  type: 'run.start'
  run: string
  root: string
  versions: Record<string, string>
  hosts: { id: string; uri: string; capacity: number; labels: string[] }[]
}
/** The set of tests that will run, sent once it is known; again after a watch rerun. */
export interface RunPlan extends Base {
  type: 'run.plan'
  files: string[]
  tests: number
  /** The files run anew (watch): what was known of their tests is void. */
  again?: boolean
}
export interface TestStart extends OfTest {
  type: 'test.start'
  /** Author's id (`meta.id`, YAML `id`), if any. */
  id?: string
  name: string
  /** Suite names from the file downwards, without the file. */
  path: string[]
  location: SourceLocation
  tags: string[]
  meta: Record<string, unknown>
}
export interface TestEnd extends OfTest {
  type: 'test.end'
  status: TestStatus
  durationMs: number
  errors: ErrorRecord[]
  /** Present when the status is failed or broken. */
  verdict?: Verdict
  /** Why it was skipped or never ran. Always present for those. */
  reason?: string
  /** Input actions nobody observed: such a pass is badged, never plain green. */
  unverified: number
  /** Another attempt follows. */
  willRetry: boolean
  /** Passed after at least one failed attempt. */
  flaky?: boolean
  /** What the test's code left for reporters while it ran, such as `allureRuntimeMessages`. */
  meta?: Record<string, unknown>
}
export interface StepStart extends OfStep {
  type: 'step.start'
  step: string
  parent?: string
  title: string
  /** Step kind of the registry (`keyboard.type`), or `step` for the author's own. */
  kind: string
  location?: SourceLocation
}
export interface StepEnd extends OfStep {
  type: 'step.end'
  step: string
  status: TestStatus
  durationMs: number
  error?: ErrorRecord
  /** One line worth showing: `exit 0`, `checked: agent answered`. */
  note?: string
}
interface InputDelivered extends OfStep {
  type: 'input'
  vm: string
  delivery: DeliveryRecord
}
/**
 * Content type of an attachment whose text is the JSON array of messages the author's own `allure.*` calls left
 * behind. Only the Allure reporter shows it.
 */
export const ALLURE_MESSAGES_TYPE = 'application/vnd.allure.runtime-messages+json'

export interface Attachment extends OfStep {
  type: 'attachment'
  name: string
  contentType: string
  /** Exactly one of the two: a file on this machine, or text. */
  path?: string
  text?: string
}
export interface Metric extends OfStep {
  type: 'metric'
  /** `key-to-guest.p95`; level and path are part of the key. */
  key: string
  value: number
  unit: string
  boundMs?: number
  samples?: number
}
export interface LeaseChange extends OfTest {
  type: 'lease'
  state: 'waiting' | 'granted' | 'released'
  vms: VmRecord[]
  /** Time spent waiting for capacity and for the VM, apart from the test's own time. */
  waitMs?: number
}
export interface HostState extends Base {
  type: 'host'
  host: string
  state: 'up' | 'down'
  detail?: string
  leased?: number
  capacity?: number
}
/** Free text for the person who watches: lab progress, warnings. */
export interface Notice extends Base {
  type: 'notice'
  level: 'info' | 'warning' | 'error'
  text: string
}
export interface RunEnd extends Base {
  type: 'run.end'
  run: string
  exitCode: number
  durationMs: number
  counts: Record<TestStatus, number>
  flaky: number
  unverified: number
  /** Errors outside any test. */
  errors: ErrorRecord[]
  /** VMs that were still there when the run ended and had to be swept. */
  leaked: number
}

export type RunEvent =
  | RunStart
  | RunPlan
  | TestStart
  | TestEnd
  | StepStart
  | StepEnd
  | InputDelivered
  | Attachment
  | Metric
  | LeaseChange
  | HostState
  | Notice
  | RunEnd

/** Events raised inside a test, before the runner adds which test and attempt they belong to. */
export type TestScopedEvent =
  | Omit<StepStart, 'test' | 'attempt' | 'v'>
  | Omit<StepEnd, 'test' | 'attempt' | 'v'>
  | Omit<InputDelivered, 'test' | 'attempt' | 'v'>
  | Omit<Attachment, 'test' | 'attempt' | 'v'>
  | Omit<Metric, 'test' | 'attempt' | 'v'>
  | Omit<LeaseChange, 'test' | 'attempt' | 'v'>

/** A reader of run events. All methods may be slow; the runner awaits `close` before it exits. */
export interface RunReporter {
  onEvent(event: RunEvent): void
  /** After `run.end`: write files, flush. Failures here make the run end with exit code 2 or 3, never silently. */
  close?(): Promise<void>
}
