import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { resolve } from 'node:path'

/**
 * A lock that the kernel frees when its process ends, however it ends: a name in Linux' abstract socket namespace.
 * A lock file would outlive a killed owner, and removing a stale one races with the next owner.
 */
export class ProcessGuard {
  readonly #server: Server
  private constructor(server: Server) {
    this.#server = server
  }

  /** The guard, or undefined when another process has it. */
  static acquire(stateDir: string, role: GuardRole): Promise<ProcessGuard | undefined> {
    return new Promise((done, fail) => {
      const server = createServer((socket) => socket.destroy())
      server.once('error', (error: NodeJS.ErrnoException) =>
        error.code === 'EADDRINUSE' ? done(undefined) : fail(error),
      )
      server.listen(nameOf(stateDir, role), () => {
        server.unref()
        done(new ProcessGuard(server))
      })
    })
  }

  /** Whether some process has it. */
  static isHeld(stateDir: string, role: GuardRole): Promise<boolean> {
    return new Promise((done) => {
      const socket = connect(nameOf(stateDir, role))
      socket.once('connect', () => {
        socket.destroy()
        done(true)
      })
      socket.once('error', () => done(false))
    })
  }

  release(): Promise<void> {
    return new Promise((done) => this.#server.close(() => done()))
  }
}

/** `broker`: is the broker of the directory. `start`: starts it. */
export type GuardRole = 'broker' | 'start'

function nameOf(stateDir: string, role: GuardRole): string {
  const place = createHash('sha256').update(resolve(stateDir)).digest('hex').slice(0, 24)
  return `\0atp-${role}-${process.getuid?.() ?? 0}-${place}`
}

/** Part of every broker's command line. */
export const BROKER_PROGRAM = 'broker-main'

/**
 * Whether a broker runs under this process id. A process that got the id of a dead broker is not taken for one
 * where its command line can be read.
 */
export function isBrokerAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(BROKER_PROGRAM)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}
