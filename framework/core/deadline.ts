import { callSite } from './call-site.ts'
import { interruptedError, timeoutError } from './errors.ts'

/** Longest time a timer can hold; it would fire at once for a longer one. */
const TIMER_MAX_MS = 2_147_483_647

/** Bounds of one call. Every operation that can wait takes them. */
export interface CallOptions {
  /** Cancels the call; it rejects with `ATP_INTERRUPTED`. */
  signal?: AbortSignal
  /** Milliseconds until the call rejects with a timeout error. */
  timeoutMs?: number
}

/** Rejection for an aborted signal; its reason becomes the cause. */
export function interrupted(what: string, signal?: AbortSignal): Error {
  return interruptedError('ATP_INTERRUPTED', `${what} was interrupted`, { cause: signal?.reason })
}

/** Waits; rejects with `ATP_INTERRUPTED` when the signal aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(interrupted('a wait', signal))
    const onAbort = () => {
      clearTimeout(timer)
      reject(interrupted('a wait', signal))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Runs `work` under a time limit and an optional signal. The signal passed to `work` aborts in both cases,
 * so that the work can stop; the returned promise settles at once even if the work ignores it.
 *
 * @throws `ATP_TIMEOUT` after `timeoutMs`, `ATP_INTERRUPTED` on abort, else whatever `work` throws.
 */
export async function withDeadline<T>(
  what: string,
  { timeoutMs, signal }: CallOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal?.aborted) throw interrupted(what, signal)
  const site = callSite(withDeadline)
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  const bound = new Promise<never>((_, reject) => {
    if (timeoutMs !== undefined && Number.isFinite(timeoutMs)) {
      timer = setTimeout(
        () => {
          const error = timeoutError('ATP_TIMEOUT', `${what} did not finish within ${timeoutMs} ms`, {
            context: { timeoutMs },
          })
          reject(error)
          controller.abort(error)
        },
        Math.min(timeoutMs, TIMER_MAX_MS),
      )
    }
    if (signal) {
      onAbort = () => {
        reject(interrupted(what, signal))
        controller.abort(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
    }
  })
  try {
    return await Promise.race([work(controller.signal), bound])
  } catch (error) {
    throw site.mark(error)
  } finally {
    clearTimeout(timer)
    if (onAbort) signal?.removeEventListener('abort', onAbort)
  }
}

export interface PollOptions extends CallOptions {
  /** First pause in milliseconds. Default 20. */
  intervalMs?: number
  /** Longest pause in milliseconds; the pause doubles up to it. Default 500. */
  maxIntervalMs?: number
}

/**
 * Asks `probe` until it answers something other than undefined.
 *
 * @throws `ATP_TIMEOUT` whose cause is the last error of the probe, if it threw.
 */
export async function pollUntil<T>(
  what: string,
  { intervalMs = 20, maxIntervalMs = 500, ...bounds }: PollOptions,
  probe: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T> {
  let last: unknown
  try {
    return await withDeadline(what, bounds, async (signal) => {
      for (let pause = intervalMs; ; pause = Math.min(pause * 2, maxIntervalMs)) {
        try {
          const answer = await probe(signal)
          if (answer !== undefined) return answer
        } catch (error) {
          if (signal.aborted) throw error
          last = error
        }
        await sleep(pause, signal)
      }
    })
  } catch (error) {
    if (last !== undefined && error instanceof Error && error.cause === undefined) error.cause = last
    throw error
  }
}
