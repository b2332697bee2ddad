import type { CallOptions, Secret } from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'
import type { Delivery, InputOptions, ObserverChoice, VerifyMode } from '../input/api.ts'
import type { Scenario, Step, StepSpec } from './model/index.ts'
import type { PlatformContext } from './platform-context.ts'
import type { ReferenceImages } from '../screen/index.ts'
import type { SerialPort } from './serial-port.ts'

/** What a step kind may tell about its work. Work that was not done is a rejection, never an outcome. */
export interface StepOutcome {
  /** What `capture` stores. */
  output?: unknown
  /** One line for the report: `exit 0`, `checked: the agent answered`. */
  note?: string
  /** Input actions of the step; the engine judges them against `verify`. */
  deliveries?: readonly Delivery[]
}

/** Something a later step may ask about a VM. */
export interface VmHistory {
  /** The last step that acted on the VM. */
  action?: { name: string; passed: boolean }
  /** The last command that ran to its end. */
  command?: { line: string; exitCode: number | undefined; signal: number | undefined; stdout: string; stderr: string }
  /** Deliveries of the last input step. */
  deliveries?: readonly Delivery[]
}

/** Everything a step kind may use while it runs. */
export interface StepContext {
  readonly step: Step
  /** The VM to act on. The engine runs the kind once for each VM of the current set. Only for kinds that need or take a VM. */
  readonly vm: Vm
  readonly history: VmHistory
  /** The VDI platform. Throws `ATP_SCENARIO_NEEDS_VDI` when it is used where none is. */
  readonly platform: PlatformContext
  /** Limits of the step, for every call that waits. */
  readonly call: Required<CallOptions>
  readonly verify: VerifyMode
  /** The scenario's `input` settings. */
  readonly input: {
    via: NonNullable<InputOptions['via']>
    observe?: ObserverChoice
    layout: string
    delayMs?: number
    holdMs?: number
  }
  /** A virtio-serial port of the VM, without a name the first free one; opened on first use, closed with the run. */
  serialPort(name: string | undefined): Promise<SerialPort>
  /** The expected pictures of the scenario's file. */
  readonly images: ReferenceImages
  /** Evidence for the report; resolves to where bytes were stored. */
  attach(name: string, contentType: string, content: string | Uint8Array): Promise<string | undefined>
  /** Ends input to the VM until it is connected again. */
  disconnect(): void
  /** Runs steps one after the other; rejects with the first failure that stops them. */
  runSteps(steps: readonly Step[], options?: { loop?: LoopVariables; fork?: boolean }): Promise<void>
  runScenario(scenario: Scenario, vars: Record<string, unknown>): Promise<void>
  /** A plug-in's handler. @throws `ATP_SCENARIO_NO_HANDLER`. */
  handler(name: string): StepHandler
}

/** `loop` inside a loop. */
export interface LoopVariables {
  /** From 0. */
  index: number
  /** From 1. */
  number: number
  item?: unknown
}

/** What `custom` and `verify.custom` call. `false` fails the step. */
export type StepHandler = (
  context: StepContext,
  data: unknown,
) => Promise<StepOutcome | boolean | void> | StepOutcome | boolean | void

/** Parameters after `${…}` has been filled in and the schema has been checked again. */
export type StepParams = Readonly<Record<string, unknown>>

/** A step kind: schema, spellings, documentation and work, in one place. */
export interface StepKind extends StepSpec {
  /** Parameters that stay {@link Secret}s when they are; all others are revealed to `run`. */
  readonly opaque?: readonly string[]
  /** It only looks, so it is not the "last action" that `verify.command_success` asks about. */
  readonly passive?: boolean
  /** It does not need a VM, but when the step names some it runs once for each. */
  readonly takesVm?: boolean
  /** Its limit is the time an expectation may take, not the time an action may take. */
  readonly expectation?: boolean
  /** How long it takes by its own nature, milliseconds; added to the default step timeout. */
  ownDurationMs?(params: StepParams, input: StepContext['input']): number
  /** Called once before the VMs are chosen: for kinds that make other VMs the current set. */
  prepare?(context: StepContext, params: StepParams): Promise<void>
  /** Does the work of `run` for VMs of the platform, by id or name, which need not run nor be opened. */
  runOnPlatform?(context: StepContext, params: StepParams, vms: readonly string[]): Promise<StepOutcome | void>
  run(context: StepContext, params: StepParams): Promise<StepOutcome | void>
}

/** A text parameter that may be secret. */
export type TextParam = string | Secret

/** A step kind with the defaults filled in: no aliases, no needs, no parameters. */
export function defineStep(
  kind: Pick<StepKind, 'action' | 'summary' | 'run'> & Partial<Omit<StepKind, 'action' | 'summary' | 'run'>>,
): StepKind {
  return { aliases: [], needs: [], params: { properties: {} }, ...kind }
}
