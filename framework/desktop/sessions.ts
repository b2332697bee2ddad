import { stateError, type CallOptions } from '../core/index.ts'
import { parseDomainXml, type DomainXml } from '../protocols/libvirt/index.ts'
import type { Protocol, ProtocolRegistry, ProtocolTarget, ProtocolType } from '../protocols/protocol.ts'
import { QgaClient } from '../protocols/qga/index.ts'
import { QmpClient, qmpNoSocketError } from '../protocols/qmp/index.ts'
import { connectConsole } from '../protocols/spice/protocol.ts'
import type { TranscriptRecorder } from '../protocols/transcript.ts'
import {
  findPort,
  openChannel,
  virtioSerialPorts,
  type VirtioSerialChannel,
  type VirtioSerialOptions,
  type VirtioSerialPort,
} from '../protocols/virtio-serial/index.ts'
import { connectUnix } from '../transport/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { LazySession } from './lazy-session.ts'
import { ScreenRecordings } from './screen-recording.ts'
import { SpiceSession, type SpiceSessionHooks } from './spice-session.ts'

export interface SessionsOptions extends Pick<SpiceSessionHooks, 'onFigures' | 'onEncodings' | 'isRunning'> {
  /** Records what SPICE displays show while they are open. Default false. */
  video?: boolean | undefined
}

/** Something open in the guest. */
interface GuestSession {
  ended(): boolean
  end(reason: unknown): void
}

/**
 * The protocol sessions of one VM: opened when first needed, owned here, closed together.
 *
 * Whatever speaks to a program in the guest ends when the guest starts anew; see {@link void}.
 */
export class Sessions {
  readonly target: ProtocolTarget
  readonly transcript: TranscriptRecorder
  /** What SPICE displays showed lately; undefined where it is not recorded. */
  readonly recordings: ScreenRecordings | undefined
  readonly #registry: ProtocolRegistry
  readonly #qmp: LazySession<QmpClient>
  readonly #qga: LazySession<QgaClient>
  readonly #spice: LazySession<SpiceSession>
  readonly #guestSide = new Set<GuestSession>()
  readonly #qmpSockets = new Set<QmpClient>()
  readonly #protocols = new Set<Protocol>()
  readonly #closing = new AbortController()

  constructor(
    target: ProtocolTarget,
    transcript: TranscriptRecorder,
    registry: ProtocolRegistry,
    { video = false, onFigures, onEncodings, isRunning }: SessionsOptions = {},
  ) {
    const recordings = video ? new ScreenRecordings() : undefined
    this.recordings = recordings
    this.target = target
    this.transcript = transcript
    this.#registry = registry
    this.#qmp = new LazySession({
      what: `QMP of ${target.name}`,
      open: () => QmpClient.overLibvirt(target, { transcript }),
      close: (client) => client.close(),
      alive: (client) => !client.closed,
    })
    this.#qga = new LazySession({
      what: `the guest agent of ${target.name}`,
      open: () => this.#openAgent(),
      close: (client, reason) => client.close(reason),
      alive: (client) => !client.closed,
    })
    this.#spice = new LazySession({
      what: `SPICE of ${target.name}`,
      open: async () => {
        const bounds = { signal: this.#closing.signal }
        const session = new SpiceSession(target.name, await connectConsole(target, {}, bounds), {
          onPicture: (display, picture) => recordings?.record(display, picture),
          onFigures,
          onEncodings,
          isRunning,
        })
        try {
          await session.inputs(bounds)
          return session
        } catch (error) {
          await session.close()
          throw error
        }
      },
      close: (session) => session.close(),
      alive: ({ connection }) => connection.state !== 'closed' && connection.state !== 'failed',
    })
  }

  async qmp(options?: CallOptions): Promise<QmpClient> {
    this.assertOpen()
    return this.#qmp.get(options)
  }

  /**
   * QMP straight from QEMU's own socket, for a host on this machine. A session of its own each time.
   *
   * @throws `ATP_QMP_NO_SOCKET` when the XML names none.
   */
  async qmpSocket(options?: CallOptions): Promise<QmpClient> {
    const { name } = this.target
    const [path] = (await this.xml(options)).qmpSocketPaths
    if (path === undefined) throw qmpNoSocketError(name)
    const client = await QmpClient.overStream(await connectUnix(path, options), {
      transcript: this.transcript,
      ...options,
    })
    if (!this.#closing.signal.aborted) {
      this.#qmpSockets.add(client)
      return client
    }
    await client.close()
    throw this.#closedError()
  }

  /** Ready: a guest that is starting is waited for, 60 s at most. */
  async qga(options?: CallOptions): Promise<QgaClient> {
    this.assertOpen()
    return this.#qga.get(options)
  }

  /** One session for all: a server ends a session when another one begins. */
  async spice(options?: CallOptions): Promise<SpiceSession> {
    this.assertOpen()
    return this.#spice.get(options)
  }

  /** The live XML, read anew: the state of channels changes. */
  async xml(options?: CallOptions): Promise<DomainXml> {
    this.assertOpen()
    return parseDomainXml(await this.target.xml(options))
  }

  async ports(options?: CallOptions): Promise<VirtioSerialPort[]> {
    return virtioSerialPorts((await this.xml(options)).channels)
  }

  /** Messages over a channel. Only one opener at a time: the same name twice rejects. */
  async channel(name: string, how?: VirtioSerialOptions, options?: CallOptions): Promise<VirtioSerialChannel> {
    findPort(this.target.name, await this.ports(options), name)
    const channel = await openChannel(this.target, name, { transcript: this.transcript, ...how }, options)
    return this.#own(channel, { ended: () => channel.closed, end: (reason) => channel.close(reason) })
  }

  /** A channel as plain bytes. */
  async stream(name: string, options?: CallOptions): Promise<ByteStream> {
    findPort(this.target.name, await this.ports(options), name)
    const stream = await this.target.openChannel(name, options)
    return this.#own(stream, {
      ended: () => stream.isOver === true,
      end: (reason) => stream.destroy(reason instanceof Error ? reason : undefined),
    })
  }

  /** A connected protocol of any registered type. */
  async protocol(type: ProtocolType, options?: CallOptions): Promise<Protocol> {
    this.assertOpen()
    const protocol = this.#registry.create(type)
    await protocol.connect(this.target, options)
    if (this.#closing.signal.aborted) await protocol.disconnect()
    this.assertOpen()
    this.#protocols.add(protocol)
    return protocol
  }

  /** Ends every session with the guest's inside. Calls on them reject, with `reason` as the cause. */
  async void(reason: unknown): Promise<void> {
    this.#endGuestSide(reason)
    await this.#qga.dropOpen(reason)
  }

  /** Ends everything. Later requests reject with `ATP_VM_CLOSED`. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#endGuestSide(undefined)
    this.recordings?.stop()
    const results = await Promise.allSettled([
      this.#qga.drop(undefined),
      this.#qmp.drop(undefined),
      this.#spice.drop(undefined),
      ...[...this.#qmpSockets].map((client) => client.close()),
      ...[...this.#protocols].map((protocol) => protocol.disconnect()),
    ])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  assertOpen(): void {
    if (this.#closing.signal.aborted) throw this.#closedError()
  }

  #endGuestSide(reason: unknown): void {
    for (const { end } of this.#guestSide) end(reason)
    this.#guestSide.clear()
  }

  #closedError(): Error {
    return stateError('ATP_VM_CLOSED', `${this.target.name} was given back`, {
      remedy: 'use the VM only inside the test that leased it, and await every call',
    })
  }

  async #openAgent(): Promise<QgaClient> {
    const client = new QgaClient(this.target, { transcript: this.transcript })
    try {
      await client.waitReady({ signal: this.#closing.signal })
    } catch (error) {
      client.close()
      throw error
    }
    return client
  }

  /** Something opened while this closed is ended at once. */
  #own<T>(session: T, owned: GuestSession): T {
    if (this.#closing.signal.aborted) {
      owned.end(undefined)
      throw this.#closedError()
    }
    // Those that ended by themselves, with the connections they were on.
    for (const other of this.#guestSide) if (other.ended()) this.#guestSide.delete(other)
    this.#guestSide.add(owned)
    return session
  }
}
