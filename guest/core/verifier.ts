import type { VerifierEvent } from '../protocol/index.ts'

/** What a verifier found out. */
export interface Verification {
  verified: boolean
  /** Goes to the server as it is; must not hold more of the guest than the event asked for. */
  details: Readonly<Record<string, unknown>>
}

/** Verifies events of one type. Custom verifiers implement this. */
export interface Verifier {
  /** `keyboard`, `mouse`, `command` or a name of its own; events of that `type` come here. */
  readonly verifierType: string
  /**
   * Verifies one event. Several may be under way at once. What it throws becomes a result with `verified: false`.
   *
   * @param signal aborts when the event's `timeout_ms` is over or the agent ends.
   */
  verify(event: VerifierEvent, signal: AbortSignal): Promise<Verification>
  /** Gives back what it holds. */
  close?(): Promise<void>
}
