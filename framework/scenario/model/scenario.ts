import type { Ownership } from '../../leases/api.ts'
import type { Position } from './position.ts'

/**
 * The canonical record every dialect is read into. Plain data: it crosses process borders as JSON.
 * Durations are texts with a unit (`2s`) or `${…}` expressions.
 */
export interface Scenario {
  /** Path of the file, or `<text>`. */
  file: string
  name: string
  /** Stable id of the author (`TC-1042`). */
  id?: string
  description?: string
  tags: string[]
  /** Free data for reports, `knownIssue` among it. */
  meta?: Record<string, unknown>
  /** Of the whole scenario without its teardown. */
  timeout?: string
  vars?: Record<string, unknown>
  /** One test a combination of these values. */
  matrix?: Record<string, unknown[]>
  use?: Use
  /** VMs that steps without `on` act on, by name. */
  target?: { domains?: string[]; hosts?: string }
  /** `channel` is `auto`, `qmp`, `spice`, or a text with `${…}` that becomes one of them. */
  input?: {
    channel?: string
    observe?: 'auto' | 'evdev' | 'agent' | 'browser'
    key_delay?: string
    key_hold?: string
    layout?: string
  }
  /** The verifier agent of its VM. */
  verification?: ScenarioVerification
  defaults?: Pick<StepMeta, 'timeout' | 'retry' | 'verify'>
  setup: Step[]
  steps: Step[]
  teardown: Step[]
  /** Where the name is written. */
  at: Position
  /** Where the values of the first matrix dimension are written. */
  matrixAt?: Position[]
}

/** Where and as what a scenario expects the verifier agent of its VM. */
export interface ScenarioVerification {
  /** `host:port` that the run must listen at for WebSockets. */
  ws_addr?: string
  /** The same for TCP. */
  tcp_addr?: string
  connection_timeout?: string
  /** A further name that the agent may give the VM. */
  vm_id?: string
}

/** Which VMs a scenario wants. */
export interface Use extends VmWish {
  /** Role → what that VM must be. */
  vms?: Record<string, VmWish & { name?: string }>
  locks?: string[]
}
export interface VmWish {
  profile?: string
  /** Of the VDI platform, else a profile. */
  template?: string
  /** Whether the VDI platform makes it. */
  platform?: boolean
  labels?: string[]
  host?: string
  ownership?: Ownership
  checkpoint?: ScenarioCheckpoint
}

/** A state that a machine is prepared into once in a run, and restored in for each test. */
export interface ScenarioCheckpoint {
  name: string
  /** They act on that machine, and name none. */
  prepare: Step[]
}

export type Verify = 'off' | 'observe' | 'require'

/** What every step may say beside its parameters. */
export interface StepMeta {
  label?: string
  /** Roles or VM names. */
  on?: string[]
  verify?: Verify
  timeout?: string
  retry?: { times: number; delay?: string }
  capture?: string
  when?: string
  on_failure?: 'stop' | 'continue'
}

/** `A` flat, `B` nested, `C` dotted (the canonical form), `D` executor, `E` externally tagged. */
export type Dialect = 'A' | 'B' | 'C' | 'D' | 'E'

export interface Step extends StepMeta {
  /** Canonical name. */
  action: string
  params: Record<string, unknown>
  /** Of loop, group and parallel. */
  steps?: Step[]
  /** Of scenario.run, once its file is read. */
  scenario?: Scenario
  dialect: Dialect
  at: Position
  /** Where parameters and meta keys are written, by canonical name. */
  keys: Record<string, Position>
}

/** Everything that a scenario has prepared before its test. */
export function checkpointsOf({ use }: Pick<Scenario, 'use'>): ScenarioCheckpoint[] {
  return [use, ...Object.values(use?.vms ?? {})].flatMap((wish) => wish?.checkpoint ?? [])
}

/** All steps in order of writing, those inside others after their holder. */
export function* walkSteps(steps: readonly Step[]): Generator<Step> {
  for (const step of steps) {
    yield step
    if (step.steps) yield* walkSteps(step.steps)
  }
}
