import { logger, messageOf } from '../core/index.ts'
import type { PoolMember } from './connection-pool-api.ts'
import type { ConnectionState } from './link.ts'

/** One connection of a pool, and what the pool notes about it. */
export class PoolSlot<M extends PoolMember> {
  readonly member: M
  uses = 0
  /** It has not been connected yet, and its attempt is under way. */
  fresh = true
  /** As what the pool's observer knows it. */
  counted: 'active' | 'idle' | 'connecting' | undefined
  /** When it was last used or became usable. */
  idleSinceMs = performance.now()
  readonly #host: string
  readonly #unwatch: () => void
  #hurried = false

  constructor(host: string, member: M, onChange: (to: ConnectionState, error: Error | undefined) => void) {
    this.#host = host
    this.member = member
    this.#unwatch = member.onStateChange(({ to, error }) => onChange(to, error))
  }

  get usable(): boolean {
    return this.member.state === 'connected'
  }

  /** As what it counts while it is one of the pool's. */
  get standing(): 'active' | 'idle' | 'connecting' {
    if (!this.usable) return 'connecting'
    return this.uses > 0 ? 'active' : 'idle'
  }

  /** Somebody waits: a connection that restores itself tries harder meanwhile. */
  hurry(signal: AbortSignal): void {
    if (this.member.state !== 'reconnecting' || this.#hurried) return
    this.#hurried = true
    const settled = () => (this.#hurried = false)
    // What comes of it is told by its state.
    this.member.connect({ signal }).then(settled, settled)
  }

  /** Ends the connection, which nobody needs any more. Never rejects. */
  async discard(): Promise<void> {
    this.#unwatch()
    try {
      await this.member.close()
    } catch (error) {
      const reason = messageOf(error)
      logger('hosts').warn('host "{host}": a connection did not close: {reason}', { host: this.#host, reason })
    }
  }
}

/** Uses under way of several. */
export function usesOf(slots: Iterable<{ readonly uses: number }>): number {
  let sum = 0
  for (const { uses } of slots) sum += uses
  return sum
}
