import type { SpiceChannel } from './channel.ts'
import { silentError } from './errors.ts'

/** How many of a server's own pings may be missing. */
const MISSED_PINGS_MAX = 2

/** A session as its heartbeat sees it. */
export interface HeartbeatSession {
  /** Of the session, its main channel among them. */
  readonly channels: readonly SpiceChannel[]
  /** A channel that does not answer. */
  silent(channel: SpiceChannel, error: Error): void
}

/**
 * Finds channels whose server has fallen silent while their streams are still there. One that said nothing for an
 * interval is asked for a sign of life, where its kind can be asked. A display cannot; but servers ping it at intervals
 * of their own, once these are known: after two that did not come it counts as silent.
 *
 * Other channels cannot be asked, and their servers have no reason to speak. A network that is gone ends their streams.
 */
export class Heartbeat {
  readonly #session: HeartbeatSession
  readonly #intervalMs: number
  readonly #asking = new Set<SpiceChannel>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** @param intervalMs between two looks, and what an answer may take; 0: no heartbeat. */
  constructor(session: HeartbeatSession, intervalMs: number) {
    this.#session = session
    this.#intervalMs = intervalMs
  }

  start(): void {
    if (this.#intervalMs <= 0) return
    this.#timer ??= setInterval(() => this.#look(), this.#intervalMs)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    for (const channel of this.#session.channels) {
      const { state, liveness, hasHeartbeat, place } = channel
      if (state !== 'open' || !liveness || liveness.silentMs < this.#intervalMs) continue
      const { silentMs, pingGapMs } = liveness
      if (hasHeartbeat) void this.#ask(channel)
      else if (pingGapMs > 0 && silentMs > MISSED_PINGS_MAX * pingGapMs) {
        this.#session.silent(channel, silentError(place, Math.round(silentMs)))
      }
    }
  }

  async #ask(channel: SpiceChannel): Promise<void> {
    if (this.#asking.has(channel)) return
    this.#asking.add(channel)
    try {
      await channel.heartbeat(this.#intervalMs)
    } catch (error) {
      // Lost meanwhile, it may be on its way back already.
      if (channel.state === 'open') this.#session.silent(channel, error as Error)
    } finally {
      this.#asking.delete(channel)
    }
  }
}
