import type { CallOptions, Secret } from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'
import type { TestScopedEvent } from '../evidence/events.ts'
import type { VmKey } from './model/index.ts'
import type { StepRegistry } from './registry.ts'
import type { SerialStream } from './serial-port.ts'
import type { VdiService } from './vdi-service.ts'

/** What a scenario is run with. Only `resolveVm` is needed; steps that need another one fail where it is missing. */
export interface ScenarioServices {
  /**
   * The VM a role or name of the scenario means; `undefined` asks for the VM of a scenario that names none.
   * Asked for all of them before the first step. Resolves to `undefined` when there is no such VM.
   */
  resolveVm(key: VmKey, options: CallOptions): Promise<Vm | undefined> | Vm | undefined
  /** Receives step and attachment events. Input events are raised by the VMs' own owner. */
  emit?(event: TestScopedEvent): void
  /** Value of `${secret.name}`. */
  secret?(name: string): Secret
  /** Values of `${env.NAME}`. Default: the process environment. */
  env?: Readonly<Record<string, string | undefined>>
  /** Runs the work of a step, so that evidence raised inside can be told to belong to it. */
  inStep?<T>(step: string, work: () => Promise<T>): Promise<T>
  /** Keeps evidence, raises its event, returns the path when it became a file. Default: a new temporary directory. */
  attach?(name: string, contentType: string, content: string | Uint8Array): string | undefined | void
  /** Opens a virtio-serial port for serial steps, without a name the first free one. The run closes it. */
  openPort?(vm: Vm, port: string | undefined, options: CallOptions): Promise<SerialStream>
  /** The VDI platform, for `vdi.*` steps and for VMs that are not leased. */
  vdi?: VdiService
  registry?: StepRegistry
  /** Project root; paths in reports are relative to it. Default: the working directory. */
  root?: string
  /** Expected pictures of screens are written from what is seen, not compared. */
  updateScreens?: boolean
  timeouts?: {
    /** A step without a limit of its own. Default 30000. */
    stepMs?: number
    /** An `expect.*` step without a limit of its own. Default 5000. */
    expectMs?: number
  }
}
