import type { ExecOptions, ExecResult, Vm, VmState } from '../../../framework/desktop/api.ts'
import type { Delivery, InputOptions } from '../../../framework/input/api.ts'
import type { CallOptions } from '../../../framework/core/index.ts'
import { SourceScreen, type Picture } from '../../../framework/screen/index.ts'

/** What the guest of a {@link memoryVm} does. */
export interface GuestScript {
  state?: VmState
  /** How input arrives. Default: all of it, as long as anybody looks. */
  deliver?: (action: string, options: InputOptions) => Partial<Delivery>
  /** Result of a command line. Default: exit 0, no output. */
  exec?: (line: string, options: ExecOptions) => Partial<ExecResult> | Promise<Partial<ExecResult>>
  ping?: () => Promise<void>
  /** What its verifier agent answers. Default: verified. */
  verify?: (event: Readonly<Record<string, unknown>>) => { verified: boolean; details?: Record<string, unknown> }
  /** What is on the screen. Default: two black pixels. */
  picture?: () => Picture
}

/** A VM without a machine: keeps its files in memory and writes down every call as `name action argument`. */
export function memoryVm(
  name: string,
  calls: string[] = [],
  script: GuestScript = {},
): Vm & { files: Map<string, string>; calls: string[] } {
  const files = new Map<string, string>()
  const record = (action: string, input: string) => void calls.push(`${name} ${action}${input ? ` ${input}` : ''}`)
  const [keyboardInput, mouseInput]: [Delivery[], Delivery[]] = [[], []]
  const input =
    (action: string, shown: string, log = keyboardInput) =>
    async (options: InputOptions = {}): Promise<Delivery> => {
      options.signal?.throwIfAborted()
      record(action, shown)
      const delivery = {
        vm: name,
        action,
        input: shown,
        path: { via: 'qmp', device: 'ps2' },
        verify: options.verify ?? 'observe',
        outcome: 'delivered',
        sent: 2,
        seen: 2,
        lost: 0,
        duplicated: 0,
        reordered: 0,
        stuck: [],
        differences: [],
        durationMs: 1,
        latenciesMs: [1],
        ...script.deliver?.(action, options),
      } as Delivery
      log.push(delivery)
      return delivery
    }
  const exec =
    (action: string) =>
    async (line: string, options: ExecOptions = {}): Promise<ExecResult> => {
      record(action, [line, ...(options.args ?? [])].join(' '))
      const result = {
        exitCode: 0,
        signal: undefined,
        stdoutText: '',
        stderrText: '',
        truncated: false,
        durationMs: 1,
        ...(await script.exec?.(line, options)),
      }
      return { ...result, stdout: Buffer.from(result.stdoutText), stderr: Buffer.from(result.stderrText) } as ExecResult
    }
  const screen = new SourceScreen({
    name,
    via: 'libvirt',
    picture: async () => script.picture?.() ?? { width: 2, height: 1, data: new Uint32Array(2) },
  })
  const never = async () => {
    throw new Error('not part of this VM')
  }
  return {
    files,
    calls,
    name,
    uuid: `uuid-${name}`,
    host: { id: 'host-a', uri: 'qemu:///session' },
    ownership: 'pristine',
    profile: undefined,
    keyboard: {
      deliveries: keyboardInput,
      type: (text, options) => input('type', String(text))(options),
      press: (chord, options) => input('press', chord)(options),
      down: (key, options) => input('down', key)(options),
      up: (key, options) => input('up', key)(options),
    },
    mouse: {
      deliveries: mouseInput,
      move: (x, y, options) => input('move', `${x},${y}`, mouseInput)(options),
      moveBy: (x, y, options) => input('moveBy', `${x},${y}`, mouseInput)(options),
      click: (options) => input('click', options?.button ?? 'left', mouseInput)(options),
      dblclick: (options) => input('dblclick', options?.button ?? 'left', mouseInput)(options),
      drag: (from, to, options) => input('drag', `${from.x},${from.y} ${to.x},${to.y}`, mouseInput)(options),
      down: (button = 'left', options) => input('mouse-down', button, mouseInput)(options),
      up: (button = 'left', options) => input('mouse-up', button, mouseInput)(options),
      scroll: (notches, options) => input('scroll', String(notches), mouseInput)(options),
    },
    guest: {
      ping: async () => {
        record('ping', '')
        await script.ping?.()
      },
      info: never,
      osInfo: never,
      exec: exec('exec'),
      shell: exec('shell'),
      file: (path) => ({
        path,
        read: async () => Buffer.from(files.get(path) ?? ''),
        text: async () => files.get(path) ?? '',
        exists: async () => files.has(path),
        write: async (content) => {
          record('write', path)
          files.set(path, String(content))
        },
      }),
    },
    state: async (_options?: CallOptions) => script.state ?? 'running',
    waitForState: never,
    screen,
    screenVia: async () => screen,
    spice: never,
    usb: never,
    verifier: async () => ({
      agent: { vmId: name, level: 'kernel', verifiers: ['command'], version: '0', platform: 'linux' },
      verify: async (event) => {
        record('verify', JSON.stringify(event))
        const { verified, details = {} } = script.verify?.(event) ?? { verified: true }
        return { v: 1, event_id: 'e', verified, timestamp: 1, latency_ms: 2, details }
      },
    }),
    screenshot: async () => ({ contentType: 'image/png', bytes: new Uint8Array([137, 80]) }),
    suspend: never,
    resume: never,
    reset: never,
    shutdown: never,
  }
}
