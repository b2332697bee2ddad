import { isAtpError, type CallOptions } from '../../core/index.ts'
import type { ByteStream, XdrReader, XdrWriter } from '../../wire/index.ts'
import type { CallObserver } from './call-observer.ts'
import type { ChannelStream } from './channel-stream.ts'
import { readDomain, uuidBytes, writeDomain, type Domain } from './codec.ts'
import { RpcConnection, type CallSpec, type ConnectionStats } from './connection.ts'
import {
  agentLifecycleEvents,
  lifecycleEvents,
  monitorEvents,
  rebootEvents,
  subscribe,
  type AgentLifecycleEvent,
  type DomainMonitorEvent,
  type LifecycleEvent,
  type RebootEvent,
  type Unsubscribe,
} from './domain-events.ts'
import { DomainStreams, type OpenChannelOptions } from './domain-streams.ts'
import { handshake, type HandshakeOptions } from './handshake.ts'
import { agentLane, monitorLane } from './lanes.ts'
import { relieve } from './relief.ts'
import { LIBVIRT_ERROR, LIMIT, PROGRAM, QEMU, REMOTE } from './protocol-numbers.ts'

export interface OpenOptions extends HandshakeOptions {
  /** Default 5000. 0 turns our own questions off; the daemon's are always answered. */
  keepaliveIntervalMs?: number
  /** Default 3. */
  keepaliveCount?: number
  /** Time limit of calls that name none. Default 60000. */
  callTimeoutMs?: number
  /**
   * Gives a further stream to the same daemon. With it, calls that wait while VMs that hang hold this connection's
   * slots go on over further connections, a few at most, which end when they are not needed any more.
   */
  relief?: (options: CallOptions) => Promise<ByteStream>
  /** Told of every call that settled, those of opening and closing included. */
  observe?: CallObserver | undefined
}

const STATES = ['unknown', 'running', 'blocked', 'paused', 'shutdown', 'shutoff', 'crashed', 'suspended'] as const
/** `virDomainState` in the words of the framework. */
export type DomainState = (typeof STATES)[number]

export interface StartOptions extends CallOptions {
  /** Leave the CPUs stopped. */
  paused?: boolean
  /** The daemon destroys the domain when this connection ends, however it ends. */
  autodestroy?: boolean
}
export interface RestoreOptions extends CallOptions {
  /** Domain XML instead of the one in the file; name and UUID must be the file's. */
  xml?: string
  /** Start or do not start the CPUs, whatever they did when the file was written. */
  running?: boolean
  paused?: boolean
}
const CALL_TIMEOUT_MS = 60_000
const CLOSE_TIMEOUT_MS = 1000

/**
 * One connection to a libvirt daemon's QEMU driver.
 *
 * All calls reject with `ATP_LIBVIRT_CLOSED` when the connection ends, `ATP_LIBVIRT_TIMEOUT` after their time
 * limit, `ATP_INTERRUPTED` when their signal aborts, `ATP_LIBVIRT_REMOTE` (with `context.libvirtCode`) when
 * the daemon refuses, `ATP_LIBVIRT_NO_DOMAIN` when the domain is gone. A connection is never re-established.
 *
 * Commands to one VM's monitor go one at a time, as do those to its agent; see {@link stats}.
 */
export class LibvirtClient {
  readonly #connection: RpcConnection
  readonly #streams: DomainStreams

  private constructor(connection: RpcConnection) {
    this.#connection = connection
    this.#streams = new DomainStreams(connection)
  }

  /**
   * Opens a session on a connected stream and owns that stream from then on, also when this rejects.
   *
   * @throws `ATP_LIBVIRT_AUTH_UNSUPPORTED` when the daemon demands an authentication we cannot do.
   */
  static async open(stream: ByteStream, options: OpenOptions): Promise<LibvirtClient> {
    const { callTimeoutMs = CALL_TIMEOUT_MS, keepaliveIntervalMs = 5000, keepaliveCount = 3, observe, relief } = options
    const bounds = { callTimeoutMs, keepaliveIntervalMs, keepaliveCount, observe }
    const connection = new RpcConnection(stream, bounds)
    const client = new LibvirtClient(connection)
    try {
      await handshake(connection, options)
    } catch (error) {
      connection.destroy(error as Error)
      throw error
    }
    if (relief) {
      // The signal was for opening this connection.
      const { path, readOnly, sasl } = options
      relieve(connection, {
        dial: relief,
        connect: (further) => new RpcConnection(further, bounds, connection),
        handshake: { path, readOnly, sasl },
      })
    }
    return client
  }

  /** Where the connection leads, for messages. */
  get peer(): string {
    return this.#connection.peer
  }

  /** Resolves when the connection ended: with the reason, or undefined after {@link close}. */
  get closed(): Promise<Error | undefined> {
    return this.#connection.closed
  }

  /** Whether the connection is over, also before {@link onClose} could tell. */
  get ended(): boolean {
    return this.#connection.ended
  }

  onClose(handler: (reason: Error | undefined) => void): void {
    void this.closed.then(handler)
  }

  stats(): ConnectionStats {
    return this.#connection.stats()
  }

  /** Ends the connection. Whatever is pending rejects with `ATP_LIBVIRT_CLOSED`. Idempotent. */
  async close(): Promise<void> {
    if (!this.#connection.ended && this.#connection.stats().pending === 0) {
      this.#connection.leave()
      // A daemon that does not answer sees the end of the stream instead.
      const farewell = this.#remote('closing', REMOTE.CONNECT_CLOSE, { high: true, bound: true }, undefined, nothing, {
        timeoutMs: CLOSE_TIMEOUT_MS,
      })
      await farewell.catch(nothing)
    }
    this.#connection.destroy()
  }

  /** Ends the connection without a farewell, for a daemon that no longer answers. `reason` is what {@link closed} tells. */
  drop(reason: Error): void {
    this.#connection.destroy(reason)
  }

  /** Whether the daemon has a feature of `virDrvFeature` for remote clients. */
  supportsFeature(feature: number, options?: CallOptions): Promise<boolean> {
    return this.#remote(
      `asking for feature ${feature}`,
      REMOTE.CONNECT_SUPPORTS_FEATURE,
      HIGH,
      (writer) => writer.i32(feature),
      (reader) => reader.i32() !== 0,
      options,
    )
  }

  hostname(options?: CallOptions): Promise<string> {
    return this.#remote('reading the host name', REMOTE.CONNECT_GET_HOSTNAME, HIGH, undefined, text, options)
  }

  /** Version of the daemon's libvirt: major × 1,000,000 + minor × 1000 + release. */
  libVersion(options?: CallOptions): Promise<number> {
    const decode = (reader: XdrReader) => Number(reader.u64())
    return this.#remote('reading the version', REMOTE.CONNECT_GET_LIB_VERSION, HIGH, undefined, decode, options)
  }

  /**
   * Version of the host's QEMU, numbered as {@link libVersion}.
   *
   * @throws `ATP_LIBVIRT_REMOTE` also where libvirt finds no emulator.
   */
  hypervisorVersion(options?: CallOptions): Promise<number> {
    const decode = (reader: XdrReader) => Number(reader.u64())
    return this.#remote('reading QEMU’s version', REMOTE.CONNECT_GET_VERSION, LOW, undefined, decode, options)
  }

  /** What the host can run, as `virsh capabilities` prints it; see `parseCapabilities`. */
  capabilities(options?: CallOptions): Promise<string> {
    return this.#remote('reading the capabilities', REMOTE.CONNECT_GET_CAPABILITIES, LOW, undefined, text, options)
  }

  /** All domains, running or not. */
  listDomains(options?: CallOptions): Promise<Domain[]> {
    return this.#remote(
      'listing VMs',
      REMOTE.CONNECT_LIST_ALL_DOMAINS,
      HIGH,
      (writer) => writer.i32(1).u32(0),
      (reader) => {
        const domains = Array.from({ length: reader.count(LIMIT.DOMAIN_LIST_MAX) }, () => readDomain(reader))
        reader.u32()
        return domains
      },
      options,
    )
  }

  /** @throws `ATP_LIBVIRT_NO_DOMAIN` */
  lookupByName(name: string, options?: CallOptions): Promise<Domain> {
    const encode = (writer: XdrWriter) => writer.string(name)
    return this.#remote(`looking up "${name}"`, REMOTE.DOMAIN_LOOKUP_BY_NAME, HIGH, encode, readDomain, options)
  }

  /** @throws `ATP_LIBVIRT_NO_DOMAIN` */
  lookupByUuid(uuid: string, options?: CallOptions): Promise<Domain> {
    const encode = (writer: XdrWriter) => writer.opaque(uuidBytes(uuid))
    return this.#remote(`looking up ${uuid}`, REMOTE.DOMAIN_LOOKUP_BY_UUID, HIGH, encode, readDomain, options)
  }

  /** The VM that runs with this number. @throws `ATP_LIBVIRT_NO_DOMAIN` */
  lookupById(id: number, options?: CallOptions): Promise<Domain> {
    const encode = (writer: XdrWriter) => writer.i32(id)
    return this.#remote(`looking up VM ${id}`, REMOTE.DOMAIN_LOOKUP_BY_ID, HIGH, encode, readDomain, options)
  }

  /** Makes or changes a persistent domain without starting it. */
  defineXml(xml: string, options?: CallOptions): Promise<Domain> {
    const encode = (writer: XdrWriter) => writer.string(xml).u32(0)
    return this.#remote('defining a VM', REMOTE.DOMAIN_DEFINE_XML_FLAGS, LOW, encode, readDomain, options)
  }

  /** Makes and starts a domain that is gone when it stops. */
  createXml(xml: string, options?: StartOptions): Promise<Domain> {
    const encode = (writer: XdrWriter) => writer.string(xml).u32(startFlags(options))
    const order = { bound: options?.autodestroy }
    return this.#remote('creating a VM', REMOTE.DOMAIN_CREATE_XML, order, encode, readDomain, options)
  }

  /** Starts a persistent domain; returns it with its new id. */
  create(domain: Domain, options?: StartOptions): Promise<Domain> {
    const order = { ...monitorLane(domain), bound: options?.autodestroy }
    const flags = startFlags(options)
    return this.#flagged('starting', REMOTE.DOMAIN_CREATE_WITH_FLAGS, order, domain, flags, readDomain, options)
  }

  /** Stops the domain at once, as if its power were cut. Works on a VM whose QEMU hangs. */
  destroy(domain: Domain, options?: CallOptions): Promise<void> {
    return this.#flagged('destroying', REMOTE.DOMAIN_DESTROY_FLAGS, HIGH, domain, 0, nothing, options)
  }

  /** Removes a persistent domain's definition. */
  undefine(domain: Domain, options?: CallOptions): Promise<void> {
    return this.#flagged('undefining', REMOTE.DOMAIN_UNDEFINE_FLAGS, HIGH, domain, 0, nothing, options)
  }

  /** Asks the guest to shut down; resolves when it was asked. */
  shutdown(domain: Domain, options?: CallOptions): Promise<void> {
    return this.#flagged(
      'shutting down',
      REMOTE.DOMAIN_SHUTDOWN_FLAGS,
      monitorLane(domain),
      domain,
      0,
      nothing,
      options,
    )
  }

  /** Asks the guest to reboot; resolves when it was asked. */
  reboot(domain: Domain, options?: CallOptions): Promise<void> {
    return this.#flagged('rebooting', REMOTE.DOMAIN_REBOOT, monitorLane(domain), domain, 0, nothing, options)
  }

  /** Resets the machine without asking the guest. */
  reset(domain: Domain, options?: CallOptions): Promise<void> {
    return this.#flagged('resetting', REMOTE.DOMAIN_RESET, monitorLane(domain), domain, 0, nothing, options)
  }

  /** Stops the CPUs. */
  suspend(domain: Domain, options?: CallOptions): Promise<void> {
    const what = `suspending "${domain.name}"`
    return this.#remote(
      what,
      REMOTE.DOMAIN_SUSPEND,
      monitorLane(domain),
      (w) => writeDomain(w, domain),
      nothing,
      options,
    )
  }

  /** Lets the CPUs run. */
  resume(domain: Domain, options?: CallOptions): Promise<void> {
    const what = `resuming "${domain.name}"`
    return this.#remote(
      what,
      REMOTE.DOMAIN_RESUME,
      monitorLane(domain),
      (w) => writeDomain(w, domain),
      nothing,
      options,
    )
  }

  /** The live domain XML, as `virsh dumpxml` prints it; with `secure` also the passwords of its consoles. */
  getXml(domain: Domain, { secure = false, ...options }: CallOptions & { secure?: boolean } = {}): Promise<string> {
    const flags = secure ? XML_SECURE : 0
    return this.#flagged('reading the XML of', REMOTE.DOMAIN_GET_XML_DESC, LOW, domain, flags, text, options)
  }

  /** `reason` is libvirt's number for this state (`virDomainRunningReason` and so on). */
  getState(domain: Domain, options?: CallOptions): Promise<{ state: DomainState; reason: number }> {
    return this.#flagged('reading the state of', REMOTE.DOMAIN_GET_STATE, HIGH, domain, 0, readState, options)
  }

  /** Writes the VM's memory to a file on the host and stops it. */
  save(domain: Domain, path: string, options?: CallOptions): Promise<void> {
    return this.#remote(
      `saving "${domain.name}"`,
      REMOTE.DOMAIN_SAVE_FLAGS,
      monitorLane(domain),
      (writer) => writeDomain(writer, domain).string(path).optionalString(undefined).u32(0),
      nothing,
      options,
    )
  }

  /** Starts a VM from a file of {@link save}. */
  restore(path: string, options: RestoreOptions = {}): Promise<void> {
    const { xml, running, paused } = options
    return this.#remote(
      `restoring ${path}`,
      REMOTE.DOMAIN_RESTORE_FLAGS,
      LOW,
      (writer) =>
        writer
          .string(path)
          .optionalString(xml)
          .u32((running ? 2 : 0) | (paused ? 4 : 0)),
      nothing,
      options,
    )
  }

  /** Writes, or without `xml` removes, the metadata element of one namespace. */
  setMetadata(
    domain: Domain,
    { uri, key, xml }: { uri: string; key: string; xml: string | undefined },
    options?: CallOptions,
  ): Promise<void> {
    return this.#remote(
      `writing metadata of "${domain.name}"`,
      REMOTE.DOMAIN_SET_METADATA,
      monitorLane(domain),
      (writer) =>
        writeDomain(writer, domain)
          .i32(METADATA_ELEMENT)
          .optionalString(xml)
          .optionalString(xml === undefined ? undefined : key)
          .optionalString(uri)
          .u32(0),
      nothing,
      options,
    )
  }

  /** The metadata element of one namespace, undefined when there is none. */
  async getMetadata(domain: Domain, uri: string, options?: CallOptions): Promise<string | undefined> {
    try {
      return await this.#remote(
        `reading metadata of "${domain.name}"`,
        REMOTE.DOMAIN_GET_METADATA,
        LOW,
        (writer) => writeDomain(writer, domain).i32(METADATA_ELEMENT).optionalString(uri).u32(0),
        text,
        options,
      )
    } catch (error) {
      if (isAtpError(error) && error.context['libvirtCode'] === LIBVIRT_ERROR.NO_DOMAIN_METADATA) return undefined
      throw error
    }
  }

  /**
   * One QMP command; resolves to the reply's JSON text. A QMP error is a reply like any other: its text
   * holds `error` instead of `return`.
   */
  monitorCommand(domain: Domain, json: string, options?: CallOptions): Promise<string> {
    return this.#monitor(domain, json, 0, options)
  }

  /** One command of QEMU's human monitor; resolves to what it prints. */
  humanMonitorCommand(domain: Domain, line: string, options?: CallOptions): Promise<string> {
    return this.#monitor(domain, line, 1, options)
  }

  #monitor(domain: Domain, command: string, flags: number, options: CallOptions | undefined): Promise<string> {
    return this.#connection.call(
      {
        what: `a monitor command of "${domain.name}"`,
        program: PROGRAM.QEMU,
        procedure: QEMU.DOMAIN_MONITOR_COMMAND,
        lane: monitorLane(domain).lane,
        encode: (writer) => writeDomain(writer, domain).string(command).u32(flags),
        decode: text,
      },
      options,
    )
  }

  /**
   * One guest-agent command; resolves to the reply's JSON text. The daemon gives the agent `timeoutMs`,
   * rounded up to whole seconds.
   *
   * @throws `ATP_LIBVIRT_AGENT_UNRESPONSIVE`; an error the agent answers is `ATP_LIBVIRT_REMOTE`.
   */
  agentCommand(domain: Domain, json: string, options?: CallOptions): Promise<string> {
    const timeoutS = options?.timeoutMs === undefined ? AGENT_DEFAULT_TIMEOUT : Math.ceil(options.timeoutMs / 1000)
    return this.#connection.call(
      {
        what: `an agent command of "${domain.name}"`,
        program: PROGRAM.QEMU,
        procedure: QEMU.DOMAIN_AGENT_COMMAND,
        lane: agentLane(domain).lane,
        // 0 would mean: do not wait at all.
        encode: (writer) =>
          writeDomain(writer, domain)
            .string(json)
            .i32(timeoutS === 0 ? 1 : timeoutS)
            .u32(0),
        decode: (reader) => reader.optionalString() ?? '',
      },
      options,
    )
  }

  /** QMP events of one domain or all, optionally of one name. Handlers run in the reader: they must be short. */
  onMonitorEvent(
    domain: Domain | undefined,
    handler: (event: DomainMonitorEvent) => void,
    options: CallOptions & { event?: string } = {},
  ): Promise<Unsubscribe> {
    return subscribe(this.#connection, monitorEvents(domain, options.event), handler, options)
  }

  onLifecycle(
    domain: Domain | undefined,
    handler: (event: LifecycleEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    return subscribe(this.#connection, lifecycleEvents(domain), handler, options)
  }

  onAgentLifecycle(
    domain: Domain | undefined,
    handler: (event: AgentLifecycleEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    return subscribe(this.#connection, agentLifecycleEvents(domain), handler, options)
  }

  onReboot(
    domain: Domain | undefined,
    handler: (event: RebootEvent) => void,
    options?: CallOptions,
  ): Promise<Unsubscribe> {
    return subscribe(this.#connection, rebootEvents(domain), handler, options)
  }

  /**
   * A virtio channel, by its name in the XML or, without one, the first.
   *
   * @throws `ATP_LIBVIRT_CHANNEL_BUSY` while another client holds it.
   */
  openChannel(domain: Domain, name: string | undefined, options?: OpenChannelOptions): Promise<ChannelStream> {
    return this.#streams.open('channel', domain, name, options)
  }

  /**
   * A serial or paravirtual console, by its device alias or, without one, the first.
   *
   * @throws `ATP_LIBVIRT_CHANNEL_BUSY` while another client holds it.
   */
  openConsole(domain: Domain, name: string | undefined, options?: OpenChannelOptions): Promise<ChannelStream> {
    return this.#streams.open('console', domain, name, options)
  }

  /** What the first screen shows, in the format the daemon chose (PPM or PNG). */
  screenshot(domain: Domain, options?: CallOptions): Promise<{ contentType: string; bytes: Uint8Array }> {
    return this.#streams.screenshot(domain, options)
  }

  #remote<T>(
    what: string,
    procedure: number,
    order: CallOrder,
    encode: ((writer: XdrWriter) => unknown) | undefined,
    decode: (reader: XdrReader) => T,
    options: CallOptions | undefined,
  ): Promise<T> {
    const spec = { what, program: PROGRAM.REMOTE, procedure, ...order, encode, decode }
    return this.#connection.call<T>(spec, options)
  }

  /** A procedure of the common form: domain, flags. */
  #flagged<T>(
    verb: string,
    procedure: number,
    order: CallOrder,
    domain: Domain,
    flags: number,
    decode: (reader: XdrReader) => T,
    options: CallOptions | undefined,
  ): Promise<T> {
    const encode = (writer: XdrWriter) => writeDomain(writer, domain).u32(flags)
    return this.#remote(`${verb} "${domain.name}"`, procedure, order, encode, decode, options)
  }
}

/** When and where a call may go. */
type CallOrder = Pick<CallSpec<unknown>, 'high' | 'lane' | 'bound'>

/** Served by the daemon's priority workers. */
const HIGH = { high: true }
const LOW = {}
/** `VIR_DOMAIN_XML_SECURE` */
const XML_SECURE = 1
const METADATA_ELEMENT = 2
const AGENT_DEFAULT_TIMEOUT = -1

function startFlags(options: StartOptions | undefined): number {
  return (options?.paused ? 1 : 0) | (options?.autodestroy ? 2 : 0)
}

function text(reader: XdrReader): string {
  return reader.string()
}

function nothing(): void {}

function readState(reader: XdrReader): { state: DomainState; reason: number } {
  return { state: STATES[reader.i32()] ?? 'unknown', reason: reader.i32() }
}
