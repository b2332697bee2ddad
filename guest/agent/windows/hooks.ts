import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { messageOf, unsupportedError } from '../../../framework/core/errors.ts'
import type { InputSink } from '../../core/index.ts'
import type { Observer } from '../input/shared-source.ts'
import { HOOK_PROGRAM } from './hook-program.ts'
import { HookLines } from './hook-lines.ts'

const READY_TIMEOUT_MS = 30_000

/**
 * Low-level keyboard and mouse hooks of Windows (`WH_KEYBOARD_LL`, `WH_MOUSE_LL`): a program that PowerShell compiles
 * when the agent starts prints a line for each input. It must run in the session whose input it is to see.
 *
 * Not yet run on a real Windows guest; what it prints is tested with recorded lines.
 */
export class WindowsHooks {
  /**
   * How far a position may be from the tablet's own, in the tablet's units: a hook tells whole pixels, and this is one
   * pixel of the axis of a screen with 600 lines.
   */
  static readonly TOLERANCE = 55

  readonly keyboard: Observer = { start: (sink) => this.#start('keyboard', sink) }
  readonly mouse: Observer = { start: (sink) => this.#start('mouse', sink) }
  readonly #command: readonly [string, ...string[]]
  readonly #sinks: { keyboard?: InputSink; mouse?: InputSink } = {}
  #program: ChildProcess | undefined
  #ready: Promise<void> | undefined

  /** @param command prints the hooks' lines; another one in tests. */
  constructor(command: readonly [string, ...string[]] = powerShell()) {
    this.#command = command
  }

  close(): void {
    this.#program?.kill()
  }

  async #start(device: 'keyboard' | 'mouse', sink: InputSink): Promise<void> {
    this.#sinks[device] = sink
    this.#ready ??= this.#run()
    await this.#ready
  }

  #run(): Promise<void> {
    const [file, ...args] = this.#command
    const program = spawn(file, args, {
      // PowerShell reads its standard input as a script's data if it has any.
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ATP_AGENT_PID: String(process.pid) },
      windowsHide: true,
    })
    this.#program = program
    const lines = new HookLines((device, input) => this.#sinks[device]?.onInput(input))
    return new Promise((resolve, reject) => {
      let stderr = ''
      const fail = (reason: string) => {
        clearTimeout(timer)
        this.#ready = undefined
        reject(unsupportedError('ATP_VERIFIER_DEVICE', `the input hooks do not work: ${reason}`))
        for (const sink of Object.values(this.#sinks)) sink.onGap(`the input hooks ended: ${reason}`)
      }
      const timer = setTimeout(() => program.kill(), READY_TIMEOUT_MS)
      createInterface({ input: program.stdout }).on('line', (line) => {
        if (line.trim() !== 'ready') return lines.push(line)
        clearTimeout(timer)
        resolve()
      })
      program.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-1000)))
      program.on('error', (error) => fail(messageOf(error)))
      program.on('close', (code) => fail(stderr.trim() || `exit code ${code}`))
    })
  }
}

function powerShell(): readonly [string, ...string[]] {
  const script = Buffer.from(HOOK_PROGRAM, 'utf16le').toString('base64')
  return ['powershell.exe', '-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-EncodedCommand', script]
}
