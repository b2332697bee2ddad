import { type CallOptions, interrupted, isAtpError, sleep, timeoutError, withDeadline } from '../core/index.ts'
import type { Caller, Pace } from './caller.ts'
import { closedError } from './errors.ts'

/** A platform that clones disks takes seconds to minutes, and has other clients. */
export const DEFAULT_PACE: Readonly<Pace> = { firstMs: 100, longestMs: 5000 }
const GROWTH = 1.5
/** Where a round is a call or two: an answer is noticed a twentieth later than it came. */
export const STEADY_GROWTH = 1.05

/** Bounds and pace of a wait. */
export interface WaitOptions extends CallOptions {
  /** How fast to ask, instead of what the client was told. */
  pace?: Partial<Pace>
}

/**
 * Asks until `round` answers something other than undefined. Failures that a repetition may heal are survived until
 * the deadline; all others end the wait.
 *
 * @param what what is waited for, for errors: `VM a to be running`
 * @param state what was seen last, for the error of the deadline
 * @param growth how many times longer each pause is than the one before
 * @throws `ATP_VDI_TIMEOUT` whose cause is the last failure, `ATP_VDI_CLOSED`, `ATP_INTERRUPTED`, what `round` throws
 */
export async function until<T>(
  { pace, ended }: Pick<Caller, 'pace' | 'ended'>,
  what: string,
  { signal, timeoutMs, ...options }: WaitOptions,
  state: () => string,
  round: (signal: AbortSignal) => Promise<T | undefined>,
  growth = GROWTH,
): Promise<T> {
  const { firstMs, longestMs } = { ...pace, ...options.pace }
  const bounds = { signal: signal ? AbortSignal.any([signal, ended]) : ended, timeoutMs }
  let failure: unknown
  try {
    return await withDeadline(`waiting for ${what}`, bounds, async (stop) => {
      for (let pauseMs = firstMs; ; pauseMs = Math.min(pauseMs * growth, longestMs)) {
        try {
          const answer = await round(stop)
          failure = undefined
          if (answer !== undefined) return answer
        } catch (error) {
          if (stop.aborted || !isAtpError(error) || !error.retryable) throw error
          failure = error
        }
        await sleep(Math.min(pauseMs, longestMs), stop)
      }
    })
  } catch (error) {
    if (signal?.aborted) throw interrupted(`waiting for ${what}`, signal)
    if (ended.aborted) throw closedError(`waiting for ${what}`)
    if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
    throw timeoutError('ATP_VDI_TIMEOUT', `waited ${timeoutMs} ms for ${what}: ${state()}`, {
      context: { waitedFor: what, timeoutMs },
      cause: failure,
    })
  }
}
