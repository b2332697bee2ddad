import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { unsupportedError, withDeadline } from '../../framework/core/index.ts'
import type { PictureHash } from './picture-hash.ts'

export interface ConsoleAt {
  host: string
  port: number
  password: string
  /** Types of channels to open. */
  channels: readonly string[]
}

const ANSWER_MS = 60_000

/**
 * A SPICE client in a process of its own, so that its processor time can be told from all else: spice-gtk, or ours.
 * Both understand the same commands, see `spice-peer.py`.
 */
export class SpiceSide {
  readonly name: SideName
  readonly version: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>
  readonly #exited: Promise<unknown>

  private constructor(name: SideName, started: Started, version: string) {
    this.name = name
    this.version = version
    this.#child = started.child
    this.#lines = started.lines
    this.#exited = started.exited
  }

  static async start(name: SideName): Promise<SpiceSide> {
    const [program, ...args] = PROGRAMS[name]
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    const started = { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](), exited }
    const { version } = (await nextLine(started.lines, name)) as { version: string }
    return new SpiceSide(name, started, version)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  async connect(console: ConsoleAt): Promise<void> {
    await this.#ask({ connect: console })
  }

  /** Asks the server for one of `IMAGE_COMPRESSION`. */
  async prefer(compression: number): Promise<void> {
    await this.#ask({ compression })
  }

  /** Resolves when the screen shows a colour, `0xRRGGBB`, at a place. */
  async shows([x, y, rgb]: readonly [number, number, number]): Promise<void> {
    await this.#ask({ pixel: [x, y, rgb] })
  }

  /** Processor time of all threads of the process so far. */
  async cpuMs(): Promise<number> {
    return ((await this.#ask({ cpu: true })) as number) / 1000
  }

  async picture(): Promise<PictureHash> {
    return (await this.#ask({ picture: true })) as PictureHash
  }

  /** Presses or releases a key by its scan code of set 1; resolves to when, as `process.hrtime` counts. */
  async key(scancode: number, down: boolean): Promise<bigint> {
    return BigInt((await this.#ask({ key: scancode, down })) as number)
  }

  async disconnect(): Promise<void> {
    await this.#ask({ disconnect: true })
  }

  async close(): Promise<void> {
    this.#child.stdin.end()
    await this.#exited
  }

  async #ask(command: object): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    const what = `${this.name}: ${JSON.stringify(command).slice(0, 80)}`
    return await withDeadline(what, { timeoutMs: ANSWER_MS }, () => nextLine(this.#lines, this.name))
  }
}

export type SideName = 'ours' | 'gtk'

interface Started {
  child: ChildProcessByStdio<Writable, Readable, null>
  lines: AsyncIterator<string>
  exited: Promise<unknown>
}

const PROGRAMS: Record<SideName, [string, ...string[]]> = {
  ours: [process.execPath, '--max-semi-space-size=8', fileURLToPath(import.meta.resolve('./picture-client.ts'))],
  gtk: ['/usr/bin/python3', fileURLToPath(import.meta.resolve('../spice-peer.py'))],
}

async function nextLine(lines: AsyncIterator<string>, name: SideName): Promise<unknown> {
  const line = await lines.next()
  if (!line.done) return JSON.parse(line.value)
  throw unsupportedError('ATP_BENCH_SPICE', `the ${name} side of the benchmark ended: its reason is above`, {
    remedy: 'spice-gtk: apt-get install gir1.2-spiceclientglib-2.0 python3-gi',
  })
}
