import { sleep } from '../../framework/core/index.ts'

/** The stand-in's time: of day, of tokens, of the window in which a VM is busy. */
export interface PlatformClock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Rejects with `ATP_INTERRUPTED` when the signal aborts. */
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

export const realClock: PlatformClock = { now: () => Date.now(), wait: (ms, signal) => sleep(ms, signal) }

/** A clock that stands still until told to go on, for tests. */
export class SteppedClock implements PlatformClock {
  #now: number
  readonly #waiting = new Set<{ until: number; wake: () => void }>()

  constructor(startMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  async wait(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms <= 0) return
    let entry: { until: number; wake: () => void } | undefined
    const woken = new Promise<void>((wake) => {
      entry = { until: this.#now + ms, wake }
      this.#waiting.add(entry)
    })
    const stop = new AbortController()
    const onAbort = () => stop.abort(signal?.reason)
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([woken, sleep(2 ** 30, stop.signal)])
    } finally {
      signal?.removeEventListener('abort', onAbort)
      stop.abort()
      if (entry) this.#waiting.delete(entry)
    }
  }

  /** Lets time pass; whoever waited for less goes on. */
  advance(ms: number): void {
    this.#now += ms
    for (const entry of this.#waiting) if (entry.until <= this.#now) entry.wake()
  }
}
