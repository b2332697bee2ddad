/** How a call ended: `error` is the daemon's refusal, `closed` the end of the connection before the answer. */
export const CALL_OUTCOMES = ['ok', 'error', 'timeout', 'interrupted', 'closed'] as const
export type CallOutcome = (typeof CALL_OUTCOMES)[number]

/** One call that is over. */
export interface SettledCall {
  /** The procedure in words: `domain-get-state`, `monitor-command`. */
  operation: string
  outcome: CallOutcome
  /** From handing the call in to its settling, in milliseconds. */
  durationMs: number
  /** The part of `durationMs` before the call was sent. */
  queuedMs: number
}

/** Told of every call that was accepted, once. Runs in the reader: it must be short. */
export type CallObserver = (call: SettledCall) => void
