import type { Hello, ServerMessage } from '../../../guest/protocol/index.ts'
import type { AgentNews } from './agent-connection.ts'

/** Who hears of the agents of one VM. */
export interface AgentSink {
  /** An agent is there: the first, the same one again after a lost connection (same `session`), or another. */
  onAgent(hello: Hello): void
  onMessage(message: AgentNews): void
  /** The agent is gone. It or another may come. */
  onLost(reason: string): void
  /** No agent comes any more; called once, and nothing after it. */
  onClose(reason: string): void
}

/** The way to the agent of one VM, which may come and go while it is open. */
export interface AgentWay {
  start(sink: AgentSink): void
  /** To the agent that is there now; without one it goes nowhere. @throws `ATP_VERIFIER_TOO_LARGE` */
  send(message: ServerMessage): void
  /** Leaves the agent to others. Idempotent. */
  close(): void
}
