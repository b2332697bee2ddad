import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/** A server behind `delay-proxy.ts`. */
export class DelayedServer implements AsyncDisposable {
  /** Where it listens, if that is a TCP port. */
  readonly port: number
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  private constructor(
    child: ChildProcessByStdio<Writable, Readable, null>,
    lines: AsyncIterator<string>,
    port: number,
  ) {
    this.#child = child
    this.#lines = lines
    this.port = port
  }

  /** Both are `tcp:<port>` or `unix:<path>`. */
  static async start(listen: string, server: string): Promise<DelayedServer> {
    const script = join(import.meta.dirname, 'delay-proxy.ts')
    const child = spawn(process.execPath, [script, listen, server], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const { value, done } = await lines.next()
    if (done) throw new Error('the proxy ended: its reason is above')
    return new DelayedServer(child, lines, (JSON.parse(value) as { port: number }).port)
  }

  /** From now on what the client says waits so long. Resolves to how long each piece waited since the last call. */
  async delay(ms: number): Promise<number[]> {
    this.#child.stdin.write(`${Math.round(ms * 1e6)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the proxy ended: its reason is above')
    return JSON.parse(value) as number[]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.stdin.end()
    await exited
  }
}
