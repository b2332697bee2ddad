import { isAtpError, sleep, type CallOptions } from '../core/index.ts'
import type { ChannelStream, LibvirtClient } from '../protocols/libvirt/index.ts'

/** How long a daemon may take to notice that a client of it is gone: its keepalive asks 5 times every 5 s. */
const NOTICED_WITHIN_MS = 40_000
const OPEN_TIMEOUT_MS = 60_000
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1000

/**
 * Opens channels and remembers those that ended with their connection. A daemon that outlived the connection holds
 * such a channel for its lost client until it notices; opening it again waits for that. Taking it by force may crash
 * old daemons and is never done.
 */
export class ChannelLocks {
  /** When channels were lost, by their key; milliseconds of `performance.now()`. */
  readonly #lostAtMs = new Map<string, number>()

  /** Channels that may still be held for a connection that is gone. */
  get size(): number {
    this.#prune()
    return this.#lostAtMs.size
  }

  /** @throws `ATP_LIBVIRT_CHANNEL_BUSY`, at once when it is held by somebody else, and what `open` throws. */
  async open(
    key: string,
    { signal, timeoutMs = OPEN_TIMEOUT_MS }: CallOptions,
    open: (bounds: CallOptions) => Promise<{ client: LibvirtClient; stream: ChannelStream }>,
  ): Promise<ChannelStream> {
    const endMs = performance.now() + timeoutMs
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        const { client, stream } = await open({ signal, timeoutMs: Math.max(1, Math.ceil(endMs - performance.now())) })
        this.#lostAtMs.delete(key)
        void stream.released.then(() => {
          if (!client.ended) return
          this.#prune()
          this.#lostAtMs.set(key, performance.now())
        })
        return stream
      } catch (error) {
        this.#prune()
        const ours = isAtpError(error, 'ATP_LIBVIRT_CHANNEL_BUSY') && this.#lostAtMs.has(key)
        if (!ours || performance.now() + pauseMs >= endMs) throw error
      }
      await sleep(pauseMs, signal)
    }
  }

  #prune(): void {
    const longAgoMs = performance.now() - NOTICED_WITHIN_MS
    for (const [key, lostAtMs] of this.#lostAtMs) if (lostAtMs < longAgoMs) this.#lostAtMs.delete(key)
  }
}
