import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pollUntil } from '../../../framework/core/index.ts'
import { QmpClient } from '../../../framework/protocols/qmp/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { Qtest } from './qtest.ts'

/** A processor's first instruction is 16 bytes below the end of its firmware: interrupts off, then sleep for good. */
const FIRMWARE = new Uint8Array(64 * 1024)
FIRMWARE.set([0xfa, 0xf4, 0xeb, 0xfd], FIRMWARE.length - 16)

const START_MS = 30_000

/** A real QEMU whose processor sleeps, so that it takes no processor time: devices are driven through {@link qtest}. */
export class SleepingQemu {
  readonly qmp: QmpClient
  readonly qtest: Qtest
  /** Folder of its own; it goes with the process. */
  readonly folder: string
  readonly #child: ChildProcess

  private constructor(qmp: QmpClient, qtest: Qtest, folder: string, child: ChildProcess) {
    this.qmp = qmp
    this.qtest = qtest
    this.folder = folder
    this.#child = child
  }

  /** Starts it; when this resolves, all sockets that the arguments name are open. */
  static async start(qemuArguments: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<SleepingQemu> {
    const folder = await mkdtemp(join(tmpdir(), 'spice-'))
    let child: ChildProcess | undefined
    try {
      await writeFile(join(folder, 'firmware'), FIRMWARE)
      const own = [
        ['-nodefaults', '-display', 'none', '-machine', 'pc,accel=tcg', '-m', '16', '-bios', join(folder, 'firmware')],
        ['-qtest', `unix:${join(folder, 'qtest')},server=on,wait=off`, '-qtest-log', '/dev/null'],
        ['-qmp', `unix:${join(folder, 'qmp')},server=on,wait=off`],
      ].flat()
      child = spawn('qemu-system-x86_64', [...own, ...qemuArguments], { stdio: ['ignore', 'inherit', 'inherit'], env })
      await once(child, 'spawn')
      const stream = await whileAlive(child, () => connectUnix(join(folder, 'qmp')))
      // QEMU greets when all it was told to open is open.
      const qmp = await QmpClient.overStream(stream, { timeoutMs: START_MS })
      return new SleepingQemu(qmp, await Qtest.connect(join(folder, 'qtest')), folder, child)
    } catch (error) {
      await end(child, folder)
      throw error
    }
  }

  /** False once QEMU has ended. */
  get alive(): boolean {
    return isAlive(this.#child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.qmp.close()
    this.qtest.close()
    await end(this.#child, this.folder)
  }
}

/** Tries until it works; a QEMU that ends first is an error at once. */
async function whileAlive<T>(child: ChildProcess, connect: () => Promise<T>): Promise<T> {
  const ended = new AbortController()
  const onExit = (code: number | null): void => ended.abort(new Error(`QEMU ended with ${code}`))
  child.once('exit', onExit)
  try {
    const bounds = { signal: ended.signal, timeoutMs: START_MS }
    return await pollUntil('QEMU to open its monitor', bounds, () => connect().catch(() => undefined))
  } finally {
    child.off('exit', onExit)
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

async function end(child: ChildProcess | undefined, folder: string): Promise<void> {
  if (child && isAlive(child)) {
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  await rm(folder, { recursive: true, force: true })
}
