import { logger, messageOf, withDeadline } from '../core/index.ts'
import type { LastWill } from './api.ts'
import type { Session } from './lease-book.ts'

interface Entry extends LastWill {
  id: number
  session: Session
}

const CLEAN_UP_TIMEOUT_MS = 120_000
const log = logger('leases')

/**
 * Last wills of clients: what the broker cleans up for those that vanish, as it does with their VMs.
 */
export class Wills {
  readonly #entries = new Map<number, Entry>()
  /** What is being cleaned up, by the run it belonged to. */
  readonly #running = new Set<{ run: string; done: Promise<void> }>()
  readonly #onDone: () => void
  #last = 0

  /** @param onDone called whenever something was cleaned up. */
  constructor(onDone: () => void) {
    this.#onDone = onDone
  }

  /** Nothing to clean up, now or later. */
  get empty(): boolean {
    return this.#entries.size === 0 && this.#running.size === 0
  }

  add(session: Session, will: LastWill): number {
    const id = ++this.#last
    this.#entries.set(id, { ...will, id, session })
    return id
  }

  /** Its maker has cleaned up, or will not need to. Unknown ones are over already. */
  withdraw(session: Session, id: number): void {
    if (this.#entries.get(id)?.session.run === session.run) this.#entries.delete(id)
  }

  /** Carries out the wills of those; returns how many there were. */
  execute(whose: (session: Session) => boolean): number {
    const due = [...this.#entries.values()].filter(({ session }) => whose(session))
    for (const entry of due) {
      this.#entries.delete(entry.id)
      const running = { run: entry.session.run, done: this.#cleanUp(entry) }
      this.#running.add(running)
      void running.done.then(() => {
        this.#running.delete(running)
        this.#onDone()
      })
    }
    return due.length
  }

  /** Resolves when nothing of those runs is being cleaned up any more. */
  async settled(which: (run: string) => boolean): Promise<void> {
    await Promise.all([...this.#running].filter(({ run }) => which(run)).map(({ done }) => done))
  }

  async #cleanUp({ what, module, data }: Entry): Promise<void> {
    try {
      await withDeadline(`cleaning up ${what}`, { timeoutMs: CLEAN_UP_TIMEOUT_MS }, async (signal) => {
        const { cleanUp } = (await import(module)) as {
          cleanUp: (data: unknown, options: { signal: AbortSignal }) => Promise<void>
        }
        await cleanUp(data, { signal })
      })
      log.info('{what} was cleaned up for a client that vanished', { what })
    } catch (error) {
      log.error('{what} could not be cleaned up and is nobody’s now; remove it by hand: {reason}', {
        what,
        reason: messageOf(error),
      })
    }
  }
}
