import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pollUntil } from '../../../framework/core/index.ts'

/** A real QEMU, stopped before its first instruction, with a QMP socket and nothing else. */
export class StoppedQemu {
  readonly socketPath: string
  readonly #process: ChildProcess
  readonly #directory: string

  private constructor(process: ChildProcess, directory: string) {
    this.#process = process
    this.#directory = directory
    this.socketPath = join(directory, 'qmp')
  }

  static async start(extraArgs: string[] = []): Promise<StoppedQemu> {
    const directory = await mkdtemp(join(tmpdir(), 'qmp-'))
    const args = ['-nodefaults', '-S', '-display', 'none', '-machine', 'pc,accel=tcg', '-m', '16', '-name', 'stopped']
    const socket = `unix:${join(directory, 'qmp')},server=on,wait=off`
    const child = spawn('qemu-system-x86_64', [...args, '-qmp', socket, ...extraArgs], { stdio: 'inherit' })
    await once(child, 'spawn')
    const qemu = new StoppedQemu(child, directory)
    await pollUntil('QEMU to open its monitor', { timeoutMs: 20_000 }, () =>
      access(qemu.socketPath).then(
        () => true,
        () => undefined,
      ),
    )
    return qemu
  }

  /** Kills it as a crash would. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
