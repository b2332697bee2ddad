import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { ResolvedConfig } from '../config/index.ts'
import { logger, messageOf } from '../core/index.ts'
import type { Notice } from '../evidence/events.ts'
import { encodeLine, LineDecoder, toWireError } from '../leases/codec.ts'
import { isSameSecret } from '../core/same-secret.ts'
import type { PlatformAccess, PlatformProcess } from '../../lab/platform/process.ts'

/** Where workers ask the run's main process for the stand-in platform. */
export interface PlatformDoor {
  /** A name in Linux' abstract socket namespace, which leaves nothing behind. */
  path: string
  /** Said first: other users of the machine can connect to the name as well. */
  key: string
}

export function newPlatformDoor(): PlatformDoor {
  return { path: `\0atp-platform-door-${randomBytes(12).toString('hex')}`, key: randomBytes(32).toString('base64url') }
}

type Notify = (notice: Pick<Notice, 'level' | 'text'>) => void

const KEY_TIMEOUT_MS = 5_000
const log = logger('runner')

/**
 * The lab's stand-in platform as a run uses it: the one that `atp lab up` keeps, else one of its own, which starts
 * when the first worker asks for it and ends with the run. It ends by itself, with its VMs, when this process dies.
 */
export class LabPlatform {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #key: string
  readonly #lab: ResolvedConfig['lab']
  readonly #notify: Notify
  readonly #closing = new AbortController()
  #access: Promise<PlatformAccess> | undefined
  #own: PlatformProcess | undefined
  #closed: Promise<void> | undefined

  private constructor(key: string, lab: ResolvedConfig['lab'], notify: Notify) {
    this.#key = key
    this.#lab = lab
    this.#notify = notify
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /** Opens the door; nothing is started yet. */
  static async open({ path, key }: PlatformDoor, lab: ResolvedConfig['lab'], notify: Notify): Promise<LabPlatform> {
    const platform = new LabPlatform(key, lab, notify)
    platform.#server.listen(path)
    await once(platform.#server, 'listening')
    return platform
  }

  /**
   * Ends the platform, if it is the run's own, with its VMs. Idempotent.
   *
   * @throws `ATP_LAB_PLATFORM_END` when VMs may be left, also because it had died before.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#closing.abort()
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    // What is just starting undoes itself.
    await this.#access?.catch(() => {})
    await this.#own?.end()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const decoder = new LineDecoder()
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', (error) => log.warn('a worker’s question is refused: {reason}', { reason: messageOf(error) }))
    socket.setTimeout(KEY_TIMEOUT_MS, () => socket.destroy(new Error('it said nothing')))
    socket.on('data', (chunk: Buffer) => {
      if (socket.destroyed) return
      try {
        for (const { key } of decoder.push(chunk)) {
          if (!isSameSecret(String(key), this.#key)) throw new Error('it does not know the key of this run')
          socket.setTimeout(0)
          void this.#answer(socket)
        }
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
  }

  async #answer(socket: Socket): Promise<void> {
    try {
      socket.end(encodeLine({ ok: await this.#reach() }))
    } catch (error) {
      socket.end(encodeLine({ error: toWireError(error) }))
    }
  }

  #reach(): Promise<PlatformAccess> {
    if (this.#access) return this.#access
    const access = this.#start()
    this.#access = access
    // The next test may find that the cause is mended.
    access.catch(() => (this.#access = undefined))
    return access
  }

  async #start(): Promise<PlatformAccess> {
    const { keptPlatform, startOwnPlatform } = await import('../../lab/platform/process.ts')
    const kept = await keptPlatform()
    if (kept) return kept.access
    this.#own = await startOwnPlatform({
      ...(this.#lab && { config: this.#lab }),
      onProgress: (text) => this.#notify({ level: 'info', text: `lab: ${text}` }),
      signal: this.#closing.signal,
    })
    void this.#own.ended.then((unasked) => {
      if (unasked) this.#notify({ level: 'error', text: 'the stand-in platform has died' })
    })
    return this.#own.access
  }
}
