/** What authors hold in a test. TypeScript and YAML speak of the same objects with the same words. */
import type { CallOptions, Secret } from '../core/index.ts'
import type { Delivery, InputOptions } from '../input/api.ts'
import type { Ownership } from '../leases/api.ts'

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

export interface TypeOptions extends InputOptions {
  /** Keyboard layout the guest uses. Default `us`. */
  layout?: string
  /** Fixed pause between strokes in milliseconds instead of acknowledgement pacing. */
  delayMs?: number
  /** What to do with characters the layout cannot make. Default `error`, before the first stroke. */
  onUnmapped?: 'error' | 'skip'
}
export interface PressOptions extends InputOptions {
  /** How long the chord is held, milliseconds. Default 0: released at once. */
  holdMs?: number
}

export interface Keyboard {
  /** Types text stroke by stroke. */
  type(text: string | Secret, options?: TypeOptions): Promise<Delivery>
  /** Presses a key or chord such as `a`, `enter`, `ctrl+alt+del`: down in order, up in reverse. */
  press(chord: string, options?: PressOptions): Promise<Delivery>
  down(key: string, options?: InputOptions): Promise<Delivery>
  up(key: string, options?: InputOptions): Promise<Delivery>
}

export type MouseButton = 'left' | 'middle' | 'right'
export interface Mouse {
  /** Absolute position in guest screen pixels, or as fractions with `unit: 'fraction'`. */
  move(x: number, y: number, options?: MouseOptions): Promise<Delivery>
  moveBy(dx: number, dy: number, options?: MouseOptions): Promise<Delivery>
  click(options?: MouseOptions & { x?: number; y?: number; button?: MouseButton; count?: number }): Promise<Delivery>
  down(button?: MouseButton, options?: MouseOptions): Promise<Delivery>
  up(button?: MouseButton, options?: MouseOptions): Promise<Delivery>
  scroll(notches: number, options?: MouseOptions): Promise<Delivery>
}
export interface MouseOptions extends InputOptions {
  unit?: 'pixel' | 'fraction'
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
  osInfo(options?: CallOptions): Promise<{ id: string; name: string; version: string; kernel: string; family: 'linux' | 'windows' | 'other' }>
  /** Runs a program by path; waits for its end. A non-zero exit is a result, not an error. */
  exec(path: string, options?: ExecOptions): Promise<ExecResult>
  /** Runs a line in the guest's own shell (sh, or cmd on Windows). */
  shell(line: string, options?: ExecOptions): Promise<ExecResult>
  file(path: string): GuestFile
}
