import type { Server as HttpServer } from 'node:http'
import type { Server, Socket } from 'node:net'
import { logger } from '../../core/index.ts'
import { acceptedStream } from '../../transport/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import { lengthFraming, type Hello } from '../../../guest/protocol/index.ts'
import { portFraming, StreamCarrier, type AgentCarrier } from './agent-carrier.ts'
import { AgentClaims, type AgentAddress } from './agent-claims.ts'
import { AgentConnection, type AgentNews, type ConnectionLimits, type ConnectionOwner } from './agent-connection.ts'
import type { AgentWay } from './agent-way.ts'
import { portOf, type Authenticate, type Refusal } from './authentication.ts'
import type { AgentListener, ListeningAddress } from './listeners.ts'
import { WebSocketCarrier } from './websocket-carrier.ts'

export interface VerificationServerOptions extends Partial<ConnectionLimits> {
  /** Whether an agent that came over a network may stay. Default: none may. */
  authenticate?: Authenticate
  /** Connections at once. Default 1000. */
  connections?: number
}

const LIMITS: ConnectionLimits = { helloMs: 5000, silenceMs: 10_000, answerMs: 5000 }
const CONNECTIONS = 1000
const log = logger('verify')

/**
 * Where verifier agents connect to: WebSocket, TCP, Unix sockets, virtio-serial ports. It knows which agent is which
 * VM's, and hands the way to it to one user at a time, see {@link claim}. What an agent says concerns only who uses
 * it: nobody else can answer for its VM.
 */
export class VerificationServer implements ConnectionOwner {
  readonly #authenticate: Authenticate
  readonly #limits: ConnectionLimits
  readonly #connectionsMax: number
  readonly #claims = new AgentClaims()
  readonly #connections = new Set<AgentConnection>()
  readonly #sockets = new Set<Socket>()
  readonly #listeners = new Set<Server | HttpServer>()
  readonly #watchers = new Set<() => void>()
  #isClosed = false

  constructor({ authenticate, connections, ...limits }: VerificationServerOptions = {}) {
    this.#authenticate = authenticate ?? (() => ({ code: 'ATP_VERIFIER_TOKEN', message: 'no token is known' }))
    this.#limits = { ...LIMITS, ...limits }
    this.#connectionsMax = connections ?? CONNECTIONS
  }

  /**
   * Accepts agents at an address. Several listeners may be open at once.
   *
   * @throws `ATP_VERIFIER_PLAIN` for an address of a network without TLS, unless that is allowed by name;
   *   `ATP_VERIFIER_LISTEN` when the address cannot be had.
   */
  async listen(listener: AgentListener): Promise<ListeningAddress> {
    // Loaded only where it listens: a VM's port needs no servers.
    const { openListener } = await import('./listeners.ts')
    const { server, address } = await openListener(listener, {
      onConnection: (socket) => this.#track(socket),
      onSocket: (socket, peer) => this.#accept(new StreamCarrier(acceptedStream(socket, peer), lengthFraming)),
      onWebSocket: (socket, request) => this.#accept(new WebSocketCarrier(socket, request)),
    })
    this.#listeners.add(server)
    if (this.#isClosed) server.close()
    return address
  }

  /**
   * Takes the host's side of a virtio-serial port, which it owns from now on. Agents come and go on it without it.
   *
   * @param vmIds names of the VM that the port belongs to
   */
  attach(stream: ByteStream, vmIds: readonly string[]): void {
    this.#accept(new StreamCarrier(stream, portFraming), vmIds)
  }

  /**
   * The way to the agent of a VM, also before it has come. Close it to leave the agent to others.
   *
   * @throws `ATP_VERIFIER_CLAIMED`
   */
  claim(address: AgentAddress): AgentWay {
    return this.#claims.claim(address)
  }

  /** Agents that are connected now. */
  agents(): { peer: string; hello: Hello }[] {
    return this.#claims.agents().flatMap(({ peer, hello }) => (hello ? [{ peer, hello }] : []))
  }

  /** Hears whenever {@link agents} changed, until the returned function is called. */
  onAgents(listener: () => void): () => void {
    this.#watchers.add(listener)
    return () => this.#watchers.delete(listener)
  }

  /** Ends listeners, connections and claims. Nothing is left. */
  async close(): Promise<void> {
    this.#isClosed = true
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    const closed = listeners.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const connection of this.#connections) connection.close('the server was closed')
    for (const socket of this.#sockets) socket.destroy()
    this.#claims.close('the server was closed')
    await Promise.all(closed)
  }

  admit(connection: AgentConnection, hello: Hello): Refusal | undefined {
    return this.#claims.admit(connection, hello)
  }

  arrived(connection: AgentConnection): void {
    this.#claims.arrived(connection)
    this.#tell()
  }

  received(connection: AgentConnection, message: AgentNews): void {
    this.#claims.received(connection, message)
  }

  left(connection: AgentConnection, hello: Hello, reason: string): void {
    log.info('{peer}: the agent of {vm} is gone: {reason}', { peer: connection.peer, vm: hello.vm_id, reason })
    this.#claims.left(connection, hello, reason)
    this.#tell()
  }

  ended(connection: AgentConnection): void {
    this.#connections.delete(connection)
  }

  #track(socket: Socket): void {
    // Those that have not become an agent's connection, and may never, are bounded too.
    if (this.#sockets.size >= 2 * this.#connectionsMax) return void socket.destroy()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #accept(carrier: AgentCarrier, portOfVm?: readonly string[]): void {
    const authenticate = portOfVm ? portOf(portOfVm) : this.#authenticate
    const connection = new AgentConnection(carrier, this, {
      authenticate,
      limits: this.#limits,
      isPort: portOfVm !== undefined,
    })
    this.#connections.add(connection)
    connection.start()
    if (this.#isClosed) return connection.close('the server was closed')
    if (this.#connections.size <= this.#connectionsMax) return
    connection.refuse({ code: 'ATP_VERIFIER_BUSY', message: `there are ${this.#connectionsMax} connections already` })
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher()
  }
}
