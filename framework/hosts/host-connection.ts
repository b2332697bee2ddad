import { isAtpError, logger, messageOf, stateError, type CallOptions } from '../core/index.ts'
import {
  LibvirtClient,
  parseLibvirtUri,
  type AgentLifecycleEvent,
  type Domain,
  type DomainMonitorEvent,
  type LibvirtUri,
  type RebootEvent,
  type Unsubscribe,
} from '../protocols/libvirt/index.ts'
import type { ProtocolTarget } from '../protocols/protocol.ts'
import type { ByteStream } from '../wire/index.ts'
import type { HostAccess, HostInfo } from './access.ts'
import { ChannelLocks } from './channel-locks.ts'
import { dial, localSocketPath } from './dial.ts'
import { unreachableError } from './healing.ts'
import { roundTripMs } from './heartbeat.ts'
import type { HostRole } from './host-role.ts'
import { hostTarget } from './host-target.ts'
import { lifecycleKind, type HostLifecycleEvent } from './lifecycle.ts'
import { Link, type ConnectionState, type LinkChange, type LinkStats } from './link.ts'
import { observedStream } from './observed-stream.ts'
import type { HostObserver } from './observer.ts'
import { SocketWatch } from './socket-watch.ts'
import { Subscriptions } from './subscriptions.ts'

export type { HostRole } from './host-role.ts'
export type { HostLifecycleEvent } from './lifecycle.ts'
export type { ConnectionState, LinkChange, LinkStats } from './link.ts'

const ROLES: readonly HostRole[] = ['control', 'calls', 'channels']

export interface HostConnectionOptions extends CallOptions {
  /** `separate`: one connection a role, made when first needed. `shared`: one for all. Default `separate`. */
  connections?: 'separate' | 'shared'
  /** libvirt's own keepalive: a silent daemon is given up after interval × (count + 1). Default 5000 × 3. */
  keepaliveIntervalMs?: number
  keepaliveCount?: number
  /**
   * How long one attempt may take, and how long {@link HostConnection.client} waits unless told otherwise; the first
   * connection makes the daemon probe its emulators. Default 30000.
   */
  connectTimeoutMs?: number
  /** How often each open connection is asked for a cheap answer, milliseconds. 0 = never. Default 30000. */
  heartbeatIntervalMs?: number
  /** How long that answer may take. Default 10000. */
  heartbeatTimeoutMs?: number
  /** Whether a lost connection is made again by itself. Default true. */
  autoReconnect?: boolean
  /** Attempts in a row after which the host counts as `failed`. Default: no limit. */
  maxAttempts?: number
  /** Is told of connections, states and calls. */
  observe?: HostObserver
  /** Where the byte stream to the daemon comes from. Default {@link dial}. */
  openTransport?: (uri: LibvirtUri, options: CallOptions & { access?: HostAccess }) => Promise<ByteStream>
}

/** One step of a host's way through its states; see {@link LinkChange} for the fields. */
export interface StateChange extends LinkChange {
  /** Id of the host. */
  host: string
}

export type Health = { healthy: true; latencyMs: number } | { healthy: false; reason: Error }

export interface HostStats {
  state: ConnectionState
  /** How often a client was asked for and given. */
  uses: number
  /** Kinds of events registered with the daemon, and handlers that share them. */
  registrations: number
  handlers: number
  /** By role; with one shared connection only `control`. */
  roles: Partial<Record<HostRole, LinkStats>>
}

const CONNECT_TIMEOUT_MS = 30_000
const HEARTBEAT_INTERVAL_MS = 30_000
const HEARTBEAT_TIMEOUT_MS = 10_000

/**
 * The connections to one host: made when needed, and made again when they are lost.
 *
 * `state` is that of the control connection. When it is lost, calls that were under way have rejected, and none is
 * repeated: only the caller knows whether that does harm. Attempts follow after 50, 100 and 200 ms, then after 1 s and
 * from there twice as long each time up to 60 s, with jitter; while somebody waits, and when the Unix socket of a
 * local daemon appears, one comes earlier. On the new connection events are registered first, then what changed in
 * between is found out and told to handlers of lifecycle events, then the state becomes `connected` and those who wait
 * get their client. Errors that only a person can mend (credentials, certificates, host keys) end the attempts.
 *
 * A lost connection of another role comes back in the same way by itself, and shows in {@link stats} only.
 */
export class HostConnection {
  readonly info: HostInfo
  readonly #parsed: LibvirtUri
  readonly #options: HostConnectionOptions
  readonly #links: Partial<Record<HostRole, Link>> & { control: Link }
  readonly #subscriptions: Subscriptions
  readonly #channels = new ChannelLocks()
  readonly #handlers = new Set<{ handle: (change: StateChange) => void }>()
  /** The daemon is there, though the control connection may not be ready yet. */
  #reached = false
  #uses = 0
  #closing: Promise<void> | undefined

  private constructor(info: HostInfo, options: HostConnectionOptions) {
    this.info = info
    this.#parsed = parseLibvirtUri(info.uri, { allow: info.access?.allow })
    this.#options = options
    const control = this.#link('control')
    this.#links =
      options.connections === 'shared'
        ? { control }
        : { control, calls: this.#link('calls'), channels: this.#link('channels') }
    this.#subscriptions = new Subscriptions((bounds) => this.client('control', bounds))
  }

  /**
   * A host that nobody connected to yet. {@link connect} does, and so does the first use.
   *
   * @throws `ATP_LIBVIRT_URI`
   */
  static create(info: HostInfo, options: HostConnectionOptions = {}): HostConnection {
    return new HostConnection(info, options)
  }

  /**
   * Connects for control, so that a host that is down shows here; the other roles connect when first used.
   *
   * @throws `ATP_LIBVIRT_URI` and what {@link connect} throws.
   */
  static async open(info: HostInfo, options: HostConnectionOptions = {}): Promise<HostConnection> {
    const connection = new HostConnection(info, options)
    try {
      await connection.connect(options)
    } catch (error) {
      await connection.close()
      throw error
    }
    return connection
  }

  get id(): string {
    return this.info.id
  }

  get uri(): string {
    return this.info.uri
  }

  get state(): ConnectionState {
    return this.#links.control.state
  }

  /**
   * Connects, also a host that failed. The first connection is tried once, a lost one until the time limit.
   *
   * @throws what the attempt throws (`ATP_TRANSPORT_CONNECT` …), `ATP_HOST_UNREACHABLE`, `ATP_HOST_CLOSED`.
   */
  async connect(options: CallOptions = {}): Promise<void> {
    this.#assertOpen()
    await this.#links.control.connect(boundsOf(options))
    for (const link of Object.values(this.#links)) link.reset()
  }

  /** Hears of every change of {@link state}, in order, until the returned function is called. */
  onStateChange(handler: (change: StateChange) => void): () => void {
    const own = { handle: handler }
    this.#handlers.add(own)
    return () => void this.#handlers.delete(own)
  }

  /**
   * The client of one role; concurrent callers share it. It lives no longer than its connection: ask again for each
   * piece of work. Connects where that was not done yet. While the connection is being restored this waits, up to the
   * caller's limit or `connectTimeoutMs`.
   *
   * @throws `ATP_HOST_UNREACHABLE`, its cause what is the matter: at the end of the limit, or at once where nobody
   *   tries any more; what the first attempt throws; `ATP_INTERRUPTED`, `ATP_HOST_CLOSED`.
   */
  async client(role: HostRole, options: CallOptions = {}): Promise<LibvirtClient> {
    this.#assertOpen()
    const { control } = this.#links
    const link = this.#links[role] ?? control
    this.#uses++
    const ready = control.current && link.current
    if (ready) return ready
    const { signal, timeoutMs = this.#connectTimeoutMs } = options
    const endMs = performance.now() + timeoutMs
    const bounds = () => ({ signal, timeoutMs: Math.max(1, Math.ceil(endMs - performance.now())) })
    for (;;) {
      // Lost together, both are made at once: connecting takes its time over ssh.
      const lost = link !== control && link.state === 'reconnecting' ? link.get(bounds()) : undefined
      lost?.catch(() => {})
      // Events first: a call on another role could cause one that nobody is registered for yet.
      await control.get(bounds())
      const client = await (lost ?? link.get(bounds()))
      // The end of one connection may have been noticed later than that of the other.
      if (control.current && !client.ended) return client
    }
  }

  /** What protocols need of one VM; it stays valid over reconnections. A name is looked up. @throws `ATP_LIBVIRT_NO_DOMAIN` */
  async target(vm: Domain | string, options: CallOptions = {}): Promise<ProtocolTarget> {
    return hostTarget(this, typeof vm === 'string' ? await this.#lookUp(vm, options) : vm, this.#channels)
  }

  /**
   * Starting, stopping, pausing of one VM or all; also what happened while the connection was lost, as events with
   * `reconciled`. As all subscriptions here it outlives connections; handlers must be short.
   *
   * @throws as {@link client}, and the daemon's refusal.
   */
  onLifecycle(
    domain: Domain | undefined,
    handler: (event: HostLifecycleEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    return this.#subscriptions.add(lifecycleKind(domain), handler, options)
  }

  /** The guest rebooted, or was reset. One that did while the connection was lost is not told. */
  onReboot(
    domain: Domain | undefined,
    handler: (event: RebootEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    const kind = {
      key: `reboot/${keyOf(domain)}`,
      what: `reboots of ${nameOf(domain)}`,
      subscribe: (client: LibvirtClient, tell: (event: RebootEvent) => void) => client.onReboot(domain, tell),
    }
    return this.#subscriptions.add(kind, handler, options)
  }

  /** The guest agent opened or closed its port. */
  onAgentLifecycle(
    domain: Domain | undefined,
    handler: (event: AgentLifecycleEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    const kind = {
      key: `agent/${keyOf(domain)}`,
      what: `agent events of ${nameOf(domain)}`,
      subscribe: (client: LibvirtClient, tell: (event: AgentLifecycleEvent) => void) =>
        client.onAgentLifecycle(domain, tell),
    }
    return this.#subscriptions.add(kind, handler, options)
  }

  /** QMP events, all or those of one name. Those raised while the connection was lost are not told. */
  onMonitorEvent(
    domain: Domain | undefined,
    handler: (event: DomainMonitorEvent) => void,
    { event, ...options }: CallOptions & { event?: string } = {},
  ): Promise<Unsubscribe> {
    const kind = {
      key: `monitor/${keyOf(domain)}/${event ?? '*'}`,
      what: `QMP events of ${nameOf(domain)}`,
      subscribe: (client: LibvirtClient, tell: (event: DomainMonitorEvent) => void) =>
        client.onMonitorEvent(domain, tell, { event }),
    }
    return this.#subscriptions.add(kind, handler, options)
  }

  /**
   * Whether the host answers now: one cheap call, without waiting for a connection. Default limit: the heartbeat's.
   *
   * @throws `ATP_INTERRUPTED`
   */
  async checkHealth(options: CallOptions = {}): Promise<Health> {
    const { control } = this.#links
    const client = control.current
    if (this.#closing) return { healthy: false, reason: this.#closedError() }
    if (!client) {
      const reason = unreachableError(this.#name('control'), `is ${control.state}`, control.lastError, {
        host: this.id,
        uri: this.uri,
        retryable: control.state !== 'failed',
      })
      return { healthy: false, reason }
    }
    try {
      const timeoutMs = options.timeoutMs ?? this.#options.heartbeatTimeoutMs ?? HEARTBEAT_TIMEOUT_MS
      return { healthy: true, latencyMs: await roundTripMs(client, { signal: options.signal, timeoutMs }) }
    } catch (error) {
      if (isAtpError(error, 'ATP_INTERRUPTED')) throw error
      return { healthy: false, reason: error as Error }
    }
  }

  stats(): HostStats {
    const roles = ROLES.flatMap((role) => {
      const link = this.#links[role]
      return link ? [[role, link.stats()] as const] : []
    })
    return {
      state: this.state,
      uses: this.#uses,
      registrations: this.#subscriptions.registrations,
      handlers: this.#subscriptions.handlers,
      roles: Object.fromEntries(roles),
    }
  }

  /** Closes every connection, also those being made. Whoever waits for one gets `ATP_HOST_CLOSED`. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#subscriptions.close()
    const reason = this.#closedError()
    await Promise.all(this.#others.map((link) => link.close(reason)))
    await this.#links.control.close(reason)
    this.#handlers.clear()
  }

  /** Links beside the control connection. */
  get #others(): Link[] {
    return [this.#links.calls, this.#links.channels].filter((link) => link !== undefined)
  }

  async #lookUp(name: string, { signal, timeoutMs = this.#connectTimeoutMs }: CallOptions): Promise<Domain> {
    const endMs = performance.now() + timeoutMs
    const client = await this.client('control', { signal, timeoutMs })
    return client.lookupByName(name, { signal, timeoutMs: Math.max(1, endMs - performance.now()) })
  }

  #link(role: HostRole): Link {
    const { observe, connections } = this.#options
    const isControl = role === 'control'
    const link = { host: this.id, role }
    return new Link({
      what: this.#name(role),
      context: { host: this.id, uri: this.uri, ...(connections === 'shared' ? {} : { role }) },
      connectTimeoutMs: this.#connectTimeoutMs,
      heartbeatIntervalMs: this.#options.heartbeatIntervalMs ?? HEARTBEAT_INTERVAL_MS,
      heartbeatTimeoutMs: this.#options.heartbeatTimeoutMs ?? HEARTBEAT_TIMEOUT_MS,
      autoReconnect: this.#options.autoReconnect ?? true,
      maxAttempts: this.#options.maxAttempts ?? Infinity,
      // The control connection has just proved that the daemon is there.
      persistent: !isControl && this.#options.autoReconnect !== false,
      open: (bounds) => this.#open(role, bounds),
      onOpen: observe && ((how) => observe.linkOpened(link, how)),
      onEnd: observe && ((reason) => observe.linkClosed(link, reason)),
      ...(isControl
        ? {
            prepare: (client: LibvirtClient) => this.#prepare(client),
            watch: (onSign: () => void) => this.#watch(onSign),
            onChange: (change: LinkChange) => this.#onControlChange(change),
          }
        : { held: () => !this.#reached, onChange: () => {} }),
    })
  }

  async #open(role: HostRole, { signal, timeoutMs = this.#connectTimeoutMs }: CallOptions): Promise<LibvirtClient> {
    const endMs = performance.now() + timeoutMs
    const { access } = this.info
    const { keepaliveIntervalMs, keepaliveCount, observe, openTransport = dial } = this.#options
    const stream = (each: CallOptions) => openTransport(this.#parsed, { ...each, access })
    const link = { host: this.id, role }
    return LibvirtClient.open(await stream({ signal, timeoutMs }), {
      path: this.#parsed.path,
      keepaliveIntervalMs,
      keepaliveCount,
      // One VM that hangs must not hold up the calls to the others.
      relief: observe ? (each) => this.#relief(stream(each), observe) : stream,
      observe: observe && ((call) => observe.callSettled(link, call)),
      ...(access?.sasl ? { sasl: access.sasl } : {}),
      signal,
      timeoutMs: Math.max(1, Math.ceil(endMs - performance.now())),
    })
  }

  async #relief(dialling: Promise<ByteStream>, observe: HostObserver): Promise<ByteStream> {
    const link = { host: this.id, role: 'relief' } as const
    const startedMs = performance.now()
    const stream = await dialling
    observe.linkOpened(link, { durationMs: performance.now() - startedMs, reconnect: false })
    return observedStream(stream, (reason) => observe.linkClosed(link, reason))
  }

  async #prepare(client: LibvirtClient): Promise<void> {
    this.#reached = true
    for (const link of this.#others) link.wake()
    try {
      await this.#subscriptions.restore(client)
    } catch (error) {
      this.#reached = false
      throw error
    }
  }

  #onControlChange(change: LinkChange): void {
    if (change.to !== 'connected') this.#reached = false
    if (change.to === 'failed' && change.error) {
      for (const link of this.#others) if (!link.current && link.state !== 'disconnected') link.fail(change.error)
    }
    if (change.from !== change.to) this.#options.observe?.stateChanged({ host: this.id, ...change })
    for (const { handle } of this.#handlers) {
      try {
        handle({ host: this.id, ...change })
      } catch (error) {
        logger('hosts').error('{what}: a handler of states threw: {reason}', {
          what: this.#name('control'),
          reason: messageOf(error),
        })
      }
    }
  }

  /** Only a daemon on this machine can be watched. */
  #watch(onSign: () => void): () => void {
    if (this.#parsed.transport !== 'unix') return () => {}
    const watch = new SocketWatch(localSocketPath(this.#parsed), onSign)
    return () => watch.close()
  }

  #name(role: HostRole): string {
    return `host "${this.id}"${role === 'control' ? '' : ` (${role})`}`
  }

  get #connectTimeoutMs(): number {
    return this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
  }

  #assertOpen(): void {
    if (this.#closing) throw this.#closedError()
  }

  #closedError(): Error {
    return stateError('ATP_HOST_CLOSED', `the connection to host "${this.id}" is closed`)
  }
}

function boundsOf({ signal, timeoutMs }: CallOptions): CallOptions {
  return { signal, timeoutMs }
}

function keyOf(domain: Domain | undefined): string {
  return domain?.uuid ?? '*'
}

function nameOf(domain: Domain | undefined): string {
  return domain ? `"${domain.name}"` : 'all VMs'
}
