import { stateError, withDeadline, type CallOptions } from '../core/index.ts'
import { LibvirtClient, parseLibvirtUri, type Domain, type LibvirtUri } from '../protocols/libvirt/index.ts'
import type { ProtocolTarget } from '../protocols/protocol.ts'
import { dial } from './dial.ts'

/** What a connection is for. A stuck VM freezes calls, an unread channel freezes channels; neither the rest. */
export type HostRole = 'control' | 'calls' | 'channels'

export interface HostConnectionOptions extends CallOptions {
  /** `separate`: one connection a role, made when first needed. `shared`: one for all. Default `separate`. */
  connections?: 'separate' | 'shared'
  keepaliveIntervalMs?: number
  keepaliveCount?: number
}

/** How long making a connection may take; the first one makes the daemon probe its emulators. */
const CONNECT_TIMEOUT_MS = 30_000

/** The connections to one host. */
export class HostConnection {
  readonly id: string
  readonly uri: string
  readonly #parsed: LibvirtUri
  readonly #options: HostConnectionOptions
  /** Connections that are being made or are there; those that are there are in {@link #ready} too. */
  readonly #made = new Map<HostRole, Promise<LibvirtClient>>()
  readonly #ready = new Map<HostRole, LibvirtClient>()
  readonly #closing = new AbortController()

  private constructor(host: { id: string; uri: string }, options: HostConnectionOptions) {
    this.id = host.id
    this.uri = host.uri
    this.#parsed = parseLibvirtUri(host.uri)
    this.#options = options
  }

  /**
   * Connects for control, so that a host that is down shows here; the other roles connect when first used.
   *
   * @throws `ATP_LIBVIRT_URI`, `ATP_LIBVIRT_TRANSPORT_UNSUPPORTED`, `ATP_TRANSPORT_CONNECT` …
   */
  static async open(host: { id: string; uri: string }, options: HostConnectionOptions = {}): Promise<HostConnection> {
    const connection = new HostConnection(host, options)
    try {
      await connection.client('control', options)
    } catch (error) {
      await connection.close()
      throw error
    }
    return connection
  }

  /**
   * The client of one role. Concurrent callers share it. One that was lost is replaced by a new connection, on
   * which nothing is subscribed and no channel open.
   *
   * @throws `ATP_HOST_CLOSED` after {@link close}.
   */
  async client(role: HostRole, options: CallOptions = {}): Promise<LibvirtClient> {
    if (this.#closing.signal.aborted)
      throw stateError('ATP_HOST_CLOSED', `the connection to host "${this.id}" is closed`)
    const slot = this.#options.connections === 'shared' ? 'control' : role
    const ready = this.#ready.get(slot)
    if (ready) return ready
    const made = this.#made.get(slot) ?? this.#make(slot)
    // The connection is everybody's: one caller's limit ends that caller's waiting only.
    return withDeadline(`connecting to host "${this.id}"`, options, () => made)
  }

  #make(slot: HostRole): Promise<LibvirtClient> {
    const made = this.#connect()
    this.#made.set(slot, made)
    const forget = () => {
      this.#made.delete(slot)
      this.#ready.delete(slot)
    }
    made.then((client) => {
      this.#ready.set(slot, client)
      client.onClose(forget)
    }, forget)
    return made
  }

  async #connect(): Promise<LibvirtClient> {
    const { keepaliveIntervalMs, keepaliveCount } = this.#options
    const { signal } = this.#closing
    const timeoutMs = CONNECT_TIMEOUT_MS
    const stream = await dial(this.#parsed, { signal, timeoutMs })
    const { path } = this.#parsed
    return LibvirtClient.open(stream, { path, keepaliveIntervalMs, keepaliveCount, signal, timeoutMs })
  }

  /** What protocols need of one VM. A name is looked up. @throws `ATP_LIBVIRT_NO_DOMAIN` */
  async target(vm: Domain | string, options: CallOptions = {}): Promise<ProtocolTarget> {
    const domain = typeof vm === 'string' ? await (await this.client('control')).lookupByName(vm, options) : vm
    return {
      name: domain.name,
      uuid: domain.uuid,
      xml: async () => (await this.client('control')).getXml(domain),
      monitorCommand: async (json, bounds) => (await this.client('calls')).monitorCommand(domain, json, bounds),
      humanMonitorCommand: async (line, bounds) =>
        (await this.client('calls')).humanMonitorCommand(domain, line, bounds),
      agentCommand: async (json, bounds) => (await this.client('calls')).agentCommand(domain, json, bounds),
      onMonitorEvent: async (handler) => (await this.client('control')).onMonitorEvent(domain, handler),
      openChannel: async (name, bounds) => (await this.client('channels')).openChannel(domain, name, bounds),
    }
  }

  /** Closes every connection, also those being made. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    const made = await Promise.allSettled(this.#made.values())
    const clients = made.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    await Promise.all(clients.map((client) => client.close()))
  }
}
