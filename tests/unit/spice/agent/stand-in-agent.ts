import type { AgentCarrier } from '../../../../framework/protocols/spice/agent/agent.ts'
import { AgentFramer, frameAgentMessage } from '../../../../framework/protocols/spice/agent/framer.ts'
import { writeAnnouncement } from '../../../../framework/protocols/spice/agent/messages.ts'
import { AGENT_MESSAGE, type AgentCapability } from '../../../../framework/protocols/spice/agent/numbers.ts'

const CHUNK_BYTES = 2048

/** The guest's side of an agent's messages, and the main channel between. */
export class StandInAgent {
  /** Every message of the client, announcements left out. */
  readonly heard: { type: number; body: Uint8Array }[] = []
  onMessage: ((type: number, body: Uint8Array) => void) | undefined
  /** Chunks are refused while this is set. */
  stuck = false
  readonly #framer = new AgentFramer('stand-in', (type, body) => this.#hear(type, body))
  readonly carrier: AgentCarrier & { agentConnected: boolean }
  readonly #capabilities: readonly AgentCapability[]

  constructor(capabilities: readonly AgentCapability[]) {
    this.#capabilities = capabilities
    this.carrier = {
      place: 'vm main',
      agentConnected: false,
      onAgent: undefined,
      onAgentData: undefined,
      startAgent: async () => {},
      sendAgentData: async (bytes, options) => {
        const signal = options?.signal
        if (this.stuck) await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
        this.#framer.push(bytes)
      },
    }
  }

  connect(): void {
    this.carrier.agentConnected = true
    this.carrier.onAgent?.(true)
  }

  leave(): void {
    this.carrier.agentConnected = false
    this.carrier.onAgent?.(false)
  }

  say(type: number, ...words: (number | Uint8Array)[]): void {
    const body = Buffer.concat(
      words.map((word) => (typeof word === 'number' ? Buffer.from(Uint32Array.of(word).buffer) : word)),
    )
    this.sayBytes(frameAgentMessage(type, body))
  }

  sayBytes(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      this.carrier.onAgentData?.(bytes.subarray(at, at + CHUNK_BYTES))
    }
  }

  #hear(type: number, body: Uint8Array): void {
    if (type === AGENT_MESSAGE.announceCapabilities) {
      if (body[0] === 1) {
        this.say(type, writeAnnouncement(false, this.#capabilities))
      }
      return
    }
    this.heard.push({ type, body })
    this.onMessage?.(type, body)
  }
}
