import type { CallOptions, Secret } from '../core/index.ts'
import type { VdiAssumptions } from './assumptions.ts'
import type { Input, Operation } from './operation.ts'

/** How fast a wait asks: pauses grow, by half where every VM is asked for, by a twentieth where all are at once. */
export interface Pace {
  /** Milliseconds before the second question. */
  firstMs: number
  /** Longest pause in milliseconds. */
  longestMs: number
}

/** Bounds of one call, and whose it is. */
export interface CallerOptions extends CallOptions {
  /** Token of an end user, instead of the client's own. A call with one that has expired fails. */
  token?: Secret
}

/** What the APIs of the client are made of: one checked call, and what is assumed about the platform. */
export interface Caller {
  readonly assumptions: Readonly<VdiAssumptions>
  /** How fast waits ask unless told otherwise. */
  readonly pace: Pace
  /** Aborted when the client is closed. */
  readonly ended: AbortSignal
  /**
   * Checks and sends one request, checks the answer and returns what it carries. Logs in before if needed, and once
   * again when the platform no longer takes the token. `timeoutMs` bounds all of it.
   *
   * @throws `ATP_VDI_REQUEST` before anything is sent; `ATP_VDI_REFUSED` with the platform's code; `ATP_VDI_HTTP`,
   * `ATP_VDI_ANSWER`, `ATP_VDI_CONNECT`, `ATP_VDI_TLS`, `ATP_VDI_TIMEOUT`, `ATP_VDI_CLOSED`, `ATP_INTERRUPTED`
   */
  call<Path extends string, Query, Body, Answer>(
    operation: Operation<Path, Query, Body, Answer>,
    input: Input<Path, Query, Body>,
    options?: CallerOptions,
  ): Promise<Answer>
}
