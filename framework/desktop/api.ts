/** What authors hold in a test. TypeScript and YAML speak of the same objects with the same words. */
import type { CallOptions } from '../core/index.ts'
import type { Keyboard, Mouse } from '../input/api.ts'
import type { Ownership } from '../leases/api.ts'
import type { UsbPorts } from '../protocols/spice/index.ts'
import type { Screen } from '../screen/api.ts'
import type { VerifyResult } from '../verify/index.ts'
import type { SpiceSession } from './spice-session.ts'

export type { Keyboard, Mouse, MouseButton, MouseOptions, Point, PressOptions, TypeOptions } from '../input/api.ts'
export type * from '../screen/api.ts'
export type { VerifyResult } from '../verify/index.ts'

export type VmState = 'running' | 'paused' | 'shutdown' | 'shutoff' | 'crashed' | 'suspended' | 'blocked' | 'unknown'

export interface Vm {
  readonly name: string
  readonly uuid: string
  readonly host: { readonly id: string; readonly uri: string }
  readonly ownership: Ownership
  readonly profile: string | undefined
  readonly keyboard: Keyboard
  readonly mouse: Mouse
  readonly guest: Guest
  /** The screen as the hypervisor draws it. */
  readonly screen: Screen
  /** The same screen seen another way: `spice` is what the client of a desktop sees. */
  screenVia(via: Screen['via'], options?: CallOptions): Promise<Screen>
  /** Its SPICE session: agent, ports, folders, channels. The same for everybody. */
  spice(options?: CallOptions): Promise<SpiceSession>
  /** The verifier agent in it, or with `level: 'browser'` the one in a browser; waits until it is connected. */
  verifier(options?: CallOptions & { level?: 'kernel' | 'browser' }): Promise<Verifier>
  /** Its USB ports, over its SPICE session. */
  usb(options?: CallOptions): Promise<UsbPorts>
  /** State as libvirt reports it now. */
  state(options?: CallOptions): Promise<VmState>
  waitForState(state: VmState, options?: CallOptions): Promise<void>
  screenshot(options?: CallOptions): Promise<{ contentType: string; bytes: Uint8Array }>
  /** Life cycle, as libvirt does it. */
  suspend(options?: CallOptions): Promise<void>
  resume(options?: CallOptions): Promise<void>
  reset(options?: CallOptions): Promise<void>
  shutdown(options?: CallOptions): Promise<void>
}

/** A verifier agent in the guest: has it check things there. */
export interface Verifier {
  readonly agent: {
    /** The VM it says it is in. */
    vmId: string
    level: 'kernel' | 'browser'
    /** Types of events it verifies: `keyboard`, `mouse`, `command` and custom ones. */
    verifiers: readonly string[]
    version: string
    platform: string
  }
  /**
   * Has it verify one event, such as `{ type: 'command', command: '/bin/true' }` or `{ type: 'keyboard', key: 'a' }`. An
   * event that was not verified is a result, not an error. `during` is done once the agent has the event, so that the
   * input it waits for cannot come before it.
   */
  verify(
    event: Readonly<Record<string, unknown>>,
    options?: CallOptions & { during?: (() => Promise<unknown>) | undefined },
  ): Promise<VerifyResult>
}

export interface ExecResult {
  exitCode: number | undefined
  signal: number | undefined
  stdout: Uint8Array
  stderr: Uint8Array
  /** UTF-8 text of stdout, invalid bytes replaced. */
  readonly stdoutText: string
  readonly stderrText: string
  truncated: boolean
  durationMs: number
}
export interface ExecOptions extends CallOptions {
  args?: string[]
  env?: Record<string, string>
  input?: string | Uint8Array
}

/** A live reference: `await expect(guest.file('/x')).toContain('y')` retries until it holds or time is up. */
export interface GuestFile {
  readonly path: string
  read(options?: CallOptions): Promise<Uint8Array>
  text(options?: CallOptions): Promise<string>
  exists(options?: CallOptions): Promise<boolean>
  write(content: string | Uint8Array, options?: CallOptions): Promise<void>
}

/** The inside of the guest, through its agent. */
export interface Guest {
  ping(options?: CallOptions): Promise<void>
  info(options?: CallOptions): Promise<{ version: string; commands: string[] }>
  osInfo(
    options?: CallOptions,
  ): Promise<{ id: string; name: string; version: string; kernel: string; family: 'linux' | 'windows' | 'other' }>
  /** Runs a program by path; waits for its end. A non-zero exit is a result, not an error. */
  exec(path: string, options?: ExecOptions): Promise<ExecResult>
  /** Runs a line in the guest's own shell (sh, or cmd on Windows). */
  shell(line: string, options?: ExecOptions): Promise<ExecResult>
  file(path: string): GuestFile
}
