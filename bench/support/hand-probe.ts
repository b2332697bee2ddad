import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/** A way to a VM's keyboard as one would go it by hand. */
export type HandWay =
  | { open: 'libvirt'; with: { uri: string; uuid: string } }
  | { open: 'socket'; with: { path: string } }
  | { open: 'spice'; with: { host: string; port: number; password: string } }

const SCRIPT = join(import.meta.dirname, 'hand-probe.py')

/** A minimal program that presses keys, without anything of ours; see `hand-probe.py`. */
export class HandProbe implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>
  readonly #exited: Promise<unknown>

  constructor() {
    this.#child = spawn('/usr/bin/python3', [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#exited = once(this.#child, 'exit')
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async open(way: HandWay): Promise<void> {
    await this.#ask(way)
  }

  /** Presses and releases left Shift; resolves to when, as `process.hrtime` counts. */
  async press(): Promise<bigint> {
    return BigInt((await this.#ask({ press: true })) as number)
  }

  async close(): Promise<void> {
    await this.#ask({ close: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#exited
  }

  async #ask(command: object): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('hand-probe.py ended: its reason is above')
    return JSON.parse(value)
  }
}
