import type { CallOptions } from '../../framework/core/deadline.ts'
import type { AgentMessage } from '../protocol/index.ts'

/** One connection of an agent to a verification server, whatever carries it. Connected once, then used up. */
export interface VerifierTransport {
  /**
   * Connects to a server.
   *
   * @param endpoint a URL or path, as the transport defines it.
   * @throws `ATP_VERIFIER_CONNECT`
   */
  connect(endpoint: string, options?: CallOptions): Promise<void>
  /**
   * Queues a message: results in particular. Messages arrive in the order of the calls.
   *
   * @throws `ATP_VERIFIER_LOST` when the connection is over, `ATP_VERIFIER_TOO_LARGE`.
   */
  send(message: AgentMessage): void
  /**
   * The text of the next message of the server, events in particular; undefined once the server ended the
   * connection.
   *
   * @throws `ATP_VERIFIER_LOST`, `ATP_VERIFIER_MESSAGE`, `ATP_VERIFIER_TOO_LARGE`
   */
  receive(): Promise<string | undefined>
  /** Ends the connection at once; a pending {@link receive} settles. Idempotent. */
  close(error?: Error): void
}
