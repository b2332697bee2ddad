import { isAtpError, timeoutError } from '../core/index.ts'
import type { LibvirtClient } from '../protocols/libvirt/index.ts'

export interface HeartbeatOptions {
  /** What is asked, for messages: `host "lab-1" (calls)`. */
  what: string
  /** Milliseconds between two beats. */
  intervalMs: number
  /** Milliseconds within which a beat must be answered. */
  timeoutMs: number
  /** The daemon does not answer any more. Called once. */
  onSilence(error: Error): void
}

/** Beats in a row that may tell nothing. */
const UNDECIDED_MAX = 3
/** A timer this late, milliseconds, is the fault of this process and says nothing about the daemon. */
const LATE_MS = 1000

/**
 * Asks a daemon for something cheap at regular intervals: its workers may hang while its keepalive, which another
 * part of it answers, goes on.
 *
 * A beat that waited behind other calls, or that our own event loop kept from being answered, tells nothing; three
 * of them in a row count as silence.
 */
export class Heartbeat {
  readonly #client: LibvirtClient
  readonly #options: HeartbeatOptions
  readonly #timer: NodeJS.Timeout
  readonly #stopped = new AbortController()
  #beating = false
  #undecided = 0
  /** Round trip of the last beat that was answered. */
  latencyMs: number | undefined

  constructor(client: LibvirtClient, options: HeartbeatOptions) {
    this.#client = client
    this.#options = options
    this.#timer = setInterval(() => void this.#beat(), options.intervalMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#stopped.abort()
  }

  async #beat(): Promise<void> {
    if (this.#beating) return
    this.#beating = true
    const { timeoutMs, onSilence, what } = this.#options
    const startedMs = performance.now()
    try {
      this.latencyMs = await roundTripMs(this.#client, { timeoutMs, signal: this.#stopped.signal })
      this.#undecided = 0
    } catch (error) {
      if (this.#stopped.signal.aborted || !isAtpError(error, 'ATP_LIBVIRT_TIMEOUT')) return
      const late = performance.now() - startedMs > timeoutMs + LATE_MS
      const undecided = error.context['sent'] === false || late
      if (undecided && ++this.#undecided < UNDECIDED_MAX) return
      this.stop()
      onSilence(
        timeoutError('ATP_HOST_HEARTBEAT', `${what} answered no heartbeat within ${timeoutMs} ms`, {
          cause: error,
          context: { timeoutMs },
          retryable: true,
          remedy: 'see whether the host is overloaded; a longer heartbeat is a setting',
        }),
      )
    } finally {
      this.#beating = false
    }
  }
}

/**
 * How long the daemon's workers take for a cheap call, milliseconds. A refusal is an answer too.
 *
 * @throws `ATP_LIBVIRT_TIMEOUT`, `ATP_LIBVIRT_CLOSED`, `ATP_INTERRUPTED`.
 */
export async function roundTripMs(
  client: LibvirtClient,
  bounds: { signal?: AbortSignal; timeoutMs: number },
): Promise<number> {
  const startedMs = performance.now()
  try {
    await client.libVersion(bounds)
  } catch (error) {
    if (!isAtpError(error) || error.context['libvirtCode'] === undefined) throw error
  }
  return performance.now() - startedMs
}
