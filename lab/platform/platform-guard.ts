import { connect, createServer, type Server } from 'node:net'
import { stateError } from '../../framework/core/index.ts'

const RUN_PREFIX = 'platform-'

/** Run in the owner tag of a platform's VMs. */
export const runOf = (platform: string) => `${RUN_PREFIX}${platform}`

/**
 * Shows that a platform lives, and keeps a second one from its database: a name in Linux' abstract socket namespace,
 * which the kernel frees when the process ends, however it ends.
 */
export class PlatformGuard {
  readonly #server: Server
  private constructor(server: Server) {
    this.#server = server
  }

  /** @throws `ATP_LAB_PLATFORM_BUSY` when another process, or another platform of this one, has it. */
  static acquire(platform: string): Promise<PlatformGuard> {
    return new Promise((resolve, reject) => {
      const server = createServer((socket) => socket.destroy())
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'EADDRINUSE'
            ? stateError('ATP_LAB_PLATFORM_BUSY', `platform ${platform} runs already`, {
                cause: error,
                remedy: 'stop it first, or name another database',
              })
            : error,
        ),
      )
      server.listen({ path: addressOf(platform) }, () => {
        server.unref()
        resolve(new PlatformGuard(server))
      })
    })
  }

  release(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}

/** Whether the run of an owner tag is a platform that lives: its VMs are nobody else's to remove. */
export function isLivePlatform(run: string): Promise<boolean> {
  if (!run.startsWith(RUN_PREFIX)) return Promise.resolve(false)
  return new Promise((resolve) => {
    const socket = connect({ path: addressOf(run.slice(RUN_PREFIX.length)) })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

const addressOf = (platform: string) => `\0atp-platform-${process.getuid?.() ?? 0}-${platform}`
