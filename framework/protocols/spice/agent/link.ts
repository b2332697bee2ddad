import type { CallOptions } from '../../../core/deadline.ts'
import type { AgentCapability } from './numbers.ts'

/** What the parts of an agent's client need of it. */
export interface AgentLink {
  /** For messages. */
  readonly place: string
  /** Waits until the agent has said what it can do. @throws `ATP_SPICE_AGENT_ABSENT`, `ATP_SPICE_AGENT`. */
  ready(options: CallOptions): Promise<ReadonlySet<AgentCapability>>
  /** Sends one whole message, after those before it. A caller that gives up does not end it. */
  send(type: number, body: Uint8Array, options?: CallOptions): Promise<void>
}
