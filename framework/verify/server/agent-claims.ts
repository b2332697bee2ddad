import { stateError } from '../../core/index.ts'
import type { AgentLevel, Expect, Hello, Release, ServerMessage } from '../../../guest/protocol/index.ts'
import type { AgentConnection, AgentNews } from './agent-connection.ts'
import type { AgentSink, AgentWay } from './agent-way.ts'
import { vmIdKey, type Refusal } from './authentication.ts'

/** Whose agent is meant. */
export interface AgentAddress {
  /** Names the agent may give its VM: its UUID, its name, what the configuration says. */
  vmIds: readonly string[]
  /** Agents of a VM's kernel and of its browser are two. */
  level: AgentLevel
}

/**
 * Which agent is connected for which VM, and who uses it: one agent a VM and level, one user an agent.
 */
export class AgentClaims {
  readonly #agents = new Map<string, AgentConnection>()
  readonly #claims = new Set<Claim>()

  /** Everything that is connected, in no order. */
  agents(): AgentConnection[] {
    return [...this.#agents.values()]
  }

  /**
   * Makes the connection that of this agent. A reconnect of the same agent takes the place of its earlier connection;
   * one of an earlier generation, which cannot say whether it is the same and lives, that of another such.
   *
   * @returns why it may not: another agent of this VM is there. That one is asked whether it lives, so that one which
   *   does not makes room.
   */
  admit(connection: AgentConnection, hello: Hello): Refusal | undefined {
    const key = keyOf(hello.level, hello.vm_id)
    const other = this.#agents.get(key)
    const isSame = other?.hello?.session === hello.session || (other?.isLegacy && connection.isLegacy)
    if (other && !isSame) {
      other.probe()
      return { code: 'ATP_VERIFIER_TAKEN', message: `another agent is connected for the VM ${hello.vm_id}` }
    }
    this.#agents.set(key, connection)
    other?.close('the agent connected anew')
    return undefined
  }

  arrived(connection: AgentConnection): void {
    const hello = connection.hello as Hello
    for (const claim of this.#claims) if (claim.means(hello)) claim.take(connection)
  }

  received(connection: AgentConnection, message: AgentNews): void {
    this.#claimOf(connection)?.sink?.onMessage(message)
  }

  left(connection: AgentConnection, hello: Hello, reason: string): void {
    const key = keyOf(hello.level, hello.vm_id)
    // Its place may be a later connection's already.
    if (this.#agents.get(key) === connection) this.#agents.delete(key)
    const claim = this.#claimOf(connection)
    claim?.lose(reason)
    if (claim) this.#serve(claim)
  }

  /** @throws `ATP_VERIFIER_CLAIMED` while somebody else uses an agent of this VM. */
  claim(address: AgentAddress): AgentWay {
    const claim = new Claim(address, () => this.#claims.delete(claim))
    if ([...this.#claims].some((other) => other.overlaps(claim))) {
      const [vm] = address.vmIds
      throw stateError('ATP_VERIFIER_CLAIMED', `the ${address.level} agent of ${vm} is in use by another test`, {
        context: { vm },
        verdict: 'infrastructure',
        remedy: 'give each VM ids of its own: no two VMs that are used at once may have the same',
      })
    }
    this.#claims.add(claim)
    claim.onStart = () => this.#serve(claim)
    return claim
  }

  close(reason: string): void {
    for (const claim of this.#claims) claim.end(reason)
  }

  #serve(claim: Claim): void {
    for (const connection of this.#agents.values()) {
      if (connection.hello && claim.means(connection.hello)) claim.take(connection)
    }
  }

  #claimOf(connection: AgentConnection): Claim | undefined {
    return [...this.#claims].find((claim) => claim.connection === connection)
  }
}

function keyOf(level: AgentLevel, vmId: string): string {
  return `${level} ${vmIdKey(vmId)}`
}

class Claim implements AgentWay {
  sink: AgentSink | undefined
  connection: AgentConnection | undefined
  onStart: () => void = () => {}
  readonly #keys: ReadonlySet<string>
  /** Ids of expectations that the agent still observes for this user. */
  readonly #running = new Set<string>()
  readonly #forget: () => void

  constructor({ vmIds, level }: AgentAddress, forget: () => void) {
    this.#keys = new Set(vmIds.map((vmId) => keyOf(level, vmId)))
    this.#forget = forget
  }

  means({ level, vm_id }: Hello): boolean {
    return this.#keys.has(keyOf(level, vm_id))
  }

  overlaps(other: Claim): boolean {
    return [...this.#keys].some((key) => other.#keys.has(key))
  }

  /** The first that comes is used; a second one under another of the VM's names has to wait. */
  take(connection: AgentConnection): void {
    if (!this.sink || this.connection) return
    this.connection = connection
    this.sink.onAgent(connection.hello as Hello)
  }

  lose(reason: string): void {
    this.connection = undefined
    this.#running.clear()
    this.sink?.onLost(reason)
  }

  end(reason: string): void {
    const { sink } = this
    this.close()
    sink?.onClose(reason)
  }

  start(sink: AgentSink): void {
    this.sink = sink
    this.onStart()
  }

  send(message: ServerMessage): void {
    if (message.type === 'expect') this.#running.add((message as Expect).event_id)
    if (message.type === 'release') this.#running.delete((message as Release).event_id)
    this.connection?.send(message)
  }

  /** The agent must not go on to observe for a user that is gone. */
  close(): void {
    for (const id of this.#running) this.connection?.send({ v: 1, type: 'release', event_id: id })
    this.#running.clear()
    this.#forget()
    this.connection = undefined
    this.sink = undefined
  }
}
