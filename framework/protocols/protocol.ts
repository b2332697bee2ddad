import { configError, stateError, type CallOptions } from '../core/index.ts'

/** `qmp`, `qga`, `spice`, or `virtio-serial:<channel name>`. */
export type ProtocolType = 'qmp' | 'qga' | 'spice' | `virtio-serial:${string}` | (string & {})

/** What a protocol needs to know of its VM, and the ways to reach it. Filled by whoever owns the host connection. */
export interface ProtocolTarget {
  name: string
  uuid: string
  /** The live domain XML; with `secure` also the passwords of its consoles. */
  xml(options?: CallOptions & { secure?: boolean }): Promise<string>
  /** One QMP command through libvirt's monitor; resolves to the reply's JSON text. */
  monitorCommand(json: string, options?: CallOptions): Promise<string>
  /** HMP text command through libvirt's monitor. */
  humanMonitorCommand(line: string, options?: CallOptions): Promise<string>
  /** One guest-agent command through libvirt; resolves to the reply's JSON text. */
  agentCommand(json: string, options?: CallOptions): Promise<string>
  /**
   * QMP events of this domain, until the returned function is called. It goes on after the connection to the host was
   * lost and restored; events in between are missing.
   */
  onMonitorEvent(handler: (event: MonitorEvent) => void, options?: CallOptions): Promise<() => Promise<void>>
  /** A virtio-serial channel as a byte stream over libvirt. Rejects when another client holds it. */
  openChannel(name: string, options?: CallOptions): Promise<import('../wire/byte-stream.ts').ByteStream>
  /**
   * A byte stream to where a console of the VM listens, by its XML. Absent where there is no way.
   */
  openConsole?(address: ConsoleAddress, options?: CallOptions): Promise<import('../wire/byte-stream.ts').ByteStream>
  /**
   * Tells once when the connection to the host is lost, and once when it is restored and calls and events work again,
   * until the returned function is called. Absent where the way to the VM cannot be restored.
   */
  onConnection?(handler: (event: ConnectionEvent) => void): () => void
}

/** Where a console listens on its host. */
export type ConsoleAddress =
  | { socketPath: string }
  | {
      /** Address it listens on; `0.0.0.0` and `::` mean all of the host. */
      host: string
      port: number
      tls: boolean
    }

/** What happened to the connection to a VM's host. Calls that were under way have rejected and are not repeated. */
export interface ConnectionEvent {
  state: 'lost' | 'restored'
  /** Why it was lost. */
  error?: Error
}

export interface MonitorEvent {
  event: string
  /** Seconds and microseconds of the hypervisor host's clock. */
  timestamp: { seconds: number; microseconds: number }
  data: unknown
}

/**
 * What all protocols share (seed 000 §2.1). `send` and `receive` move whole messages of the protocol as bytes;
 * each protocol documents what a message is. Typed verbs live on the concrete classes.
 */
export interface Protocol {
  readonly type: ProtocolType
  connect(target: ProtocolTarget, options?: CallOptions): Promise<void>
  disconnect(): Promise<void>
  isConnected(): boolean
  send(message: Uint8Array, options?: CallOptions): Promise<void>
  /** The next message of the peer, in order. */
  receive(options?: CallOptions): Promise<Uint8Array>
}

export interface ProtocolBuilder<P extends Protocol = Protocol> {
  /** What it builds: a type, or a family such as `virtio-serial` that stands for `virtio-serial:<name>`. */
  readonly type: ProtocolType
  /** A new, unconnected protocol. `type` is the one that was asked for, a member's name for a family. */
  build(type?: ProtocolType): P
}

/** Builders by type. Registering and unregistering while runs are under way does not touch built protocols. */
export class ProtocolRegistry {
  readonly #builders = new Map<ProtocolType, ProtocolBuilder>()

  /** @throws `ATP_PROTOCOL_DUPLICATE` when the type is taken. */
  register(builder: ProtocolBuilder): void {
    if (this.#builders.has(builder.type)) {
      throw stateError('ATP_PROTOCOL_DUPLICATE', `a protocol "${builder.type}" is registered already`, {
        remedy: 'unregister it first',
      })
    }
    this.#builders.set(builder.type, builder)
  }

  unregister(type: ProtocolType): boolean {
    return this.#builders.delete(type)
  }

  get types(): ProtocolType[] {
    return [...this.#builders.keys()]
  }

  /**
   * A new, unconnected protocol of this type. A builder of exactly the type goes before its family's.
   *
   * @throws `ATP_PROTOCOL_UNKNOWN` with the known types.
   */
  create(type: ProtocolType): Protocol {
    const colon = type.indexOf(':')
    const builder = this.#builders.get(type) ?? (colon > 0 ? this.#builders.get(type.slice(0, colon)) : undefined)
    if (!builder) {
      throw configError('ATP_PROTOCOL_UNKNOWN', `no protocol "${type}" is registered`, {
        remedy: `registered: ${this.types.join(', ') || 'none'}`,
      })
    }
    return builder.build(type)
  }
}
