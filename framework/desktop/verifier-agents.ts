import { unsupportedError, type CallOptions, type Secret } from '../core/index.ts'
import {
  agentClock,
  AgentObserver,
  GuestClock,
  VerificationServer,
  VerifierAgentLink,
  type AgentAddress,
  type AgentInfo,
  type AgentWay,
} from '../verify/index.ts'
import type { Verifier } from './api.ts'
import { LazySession } from './lazy-session.ts'
import type { Sessions } from './sessions.ts'

/** The virtio-serial port over which an agent in the guest may speak. */
const VERIFIER_PORT = 'atp.verifier.0'

/** Agents that connect to whoever runs the test, over a network. */
export interface ConnectingAgents {
  /** Further names that agents may give a VM. */
  vmIds(vm: { name: string; uuid: string }): readonly string[]
  /** The way to a VM's agent; undefined where the run listens for none. @throws `ATP_VERIFIER_CLAIMED` */
  claim(address: AgentAddress, options: CallOptions): Promise<AgentWay | undefined>
  /** What an agent that gives this VM id is started with; undefined where the run listens for none. */
  access(vmId: string, options: CallOptions): Promise<AgentAccess | undefined>
  /** How long an agent is waited for, milliseconds. */
  connectionTimeoutMs: number
}

/** What an agent in a VM is started with, to connect over a network. */
export interface AgentAccess {
  vmId: string
  /** Where this machine listens, as it sees itself: `ws://127.0.0.1:8765`. */
  urls: string[]
  token: Secret
}

type Level = AgentAddress['level']

const CONNECTION_TIMEOUT_MS = 10_000

/**
 * The verifier agents of one VM: that of its kernel, over its virtio-serial port or a network, and that of a browser in
 * it. Each is found when it is first needed, and held until the VM is given back or its guest starts anew.
 */
export class VerifierAgents {
  readonly #sessions: Sessions
  readonly #connecting: ConnectingAgents | undefined
  readonly #links: Readonly<Record<Level, LazySession<VerifierAgentLink>>>
  readonly #known = new WeakMap<VerifierAgentLink, KnownAgent>()
  /** Ends the waiting for agents that have not come. */
  #closing = new AbortController()

  constructor(sessions: Sessions, connecting: ConnectingAgents | undefined) {
    this.#sessions = sessions
    this.#connecting = connecting
    this.#links = { kernel: this.#lazy('kernel'), browser: this.#lazy('browser') }
  }

  /** @throws `ATP_VERIFIER_NO_AGENT`, `ATP_VERIFIER_NO_WAY`, `ATP_VERIFIER_CLAIMED` */
  async verifier({ level = 'kernel', ...options }: CallOptions & { level?: Level } = {}): Promise<Verifier> {
    const link = await this.#link(level, options)
    const agent = link.agent as AgentInfo
    const { version, platform } = agent.agent
    return {
      agent: { vmId: agent.vm_id, level: agent.level, verifiers: agent.verifiers, version, platform },
      verify: (event, bounds) => link.verify(event, bounds),
    }
  }

  /** @throws `ATP_VERIFIER_NO_WAY` where the run listens for no agents */
  async access(options: CallOptions = {}): Promise<AgentAccess> {
    const access = await this.#connecting?.access(this.#sessions.target.uuid, options)
    if (access) return access
    throw unsupportedError('ATP_VERIFIER_NO_WAY', 'this run listens for no verifier agents', {
      remedy: 'set verification in atp.config.ts: verification: { websocket: true }',
    })
  }

  /** An observer of these devices. Its clock is compared. @throws as {@link verifier} */
  async observer(level: Level, device: 'keyboard' | 'mouse', options: CallOptions): Promise<AgentObserver> {
    const link = await this.#link(level, options)
    const { session, reads_clock: readsClock } = link.agent as AgentInfo
    let known = this.#known.get(link)
    if (known?.session !== session) {
      // Another process may count its time from somewhere else.
      known = { session, clock: readsClock ? new GuestClock(agentClock(link)) : undefined, observers: new Map() }
      this.#known.set(link, known)
    }
    await known.clock?.refresh(options)
    const observer = known.observers.get(device) ?? new AgentObserver(link, { device, level, clock: known.clock })
    known.observers.set(device, observer)
    return observer
  }

  /** Leaves the agents to others. */
  async close(reason?: Error): Promise<void> {
    this.#closing.abort(reason)
    this.#closing = new AbortController()
    await Promise.all(Object.values(this.#links).map((link) => link.drop(reason)))
  }

  async #link(level: Level, options: CallOptions): Promise<VerifierAgentLink> {
    const link = await this.#links[level].get(options)
    // It may have lost its agent, which comes back.
    await link.ready({ timeoutMs: this.#timeoutMs, ...options })
    return link
  }

  get #timeoutMs(): number {
    return this.#connecting?.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS
  }

  #lazy(level: Level): LazySession<VerifierAgentLink> {
    const { name } = this.#sessions.target
    return new LazySession({
      what: `the verifier agent of ${name}`,
      open: async () => {
        const bounds = { timeoutMs: this.#timeoutMs, signal: this.#closing.signal }
        const links = await this.#ways(level)
        try {
          const found = await Promise.any(links.map((link) => link.ready(bounds).then(() => link)))
          for (const link of links) if (link !== found) link.close()
          return found
        } catch (error) {
          for (const link of links) link.close()
          throw error instanceof AggregateError ? error.errors[0] : error
        }
      },
      close: (link) => link.close(),
      alive: (link) => link.closed === undefined,
    })
  }

  /** Every way an agent may come; it uses one of them. */
  async #ways(level: Level): Promise<VerifierAgentLink[]> {
    const { target } = this.#sessions
    const { name, uuid } = target
    const vmIds = [uuid, name, ...(this.#connecting?.vmIds({ name, uuid }) ?? [])]
    const ways: AgentWay[] = []
    const claimed = await this.#connecting?.claim({ vmIds, level }, { timeoutMs: this.#timeoutMs })
    if (claimed) ways.push(claimed)
    const ports = level === 'kernel' ? await this.#sessions.ports() : []
    if (ports.some((port) => port.name === VERIFIER_PORT)) {
      try {
        ways.push(overPort(await target.openChannel(VERIFIER_PORT), { vmIds, level }))
      } catch (error) {
        claimed?.close()
        throw error
      }
    }
    if (ways.length > 0) return ways.map((way) => new VerifierAgentLink(name, way))
    throw unsupportedError('ATP_VERIFIER_NO_WAY', `no verifier agent can reach this run from ${name}`, {
      context: { vm: name, level },
      verdict: 'infrastructure',
      remedy:
        level === 'browser'
          ? 'have the run listen for it: verification: { websocket: {} } in atp.config.ts'
          : `give the VM a <channel> named ${VERIFIER_PORT}, or set verification in atp.config.ts`,
    })
  }
}

interface KnownAgent {
  session: string
  clock: GuestClock | undefined
  observers: Map<string, AgentObserver>
}

function overPort(stream: Parameters<VerificationServer['attach']>[0], address: AgentAddress): AgentWay {
  const server = new VerificationServer()
  server.attach(stream, address.vmIds)
  const way = server.claim(address)
  return {
    start: (sink) => way.start(sink),
    send: (message) => way.send(message),
    close: () => {
      way.close()
      void server.close()
    },
  }
}
