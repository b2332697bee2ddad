import { withDeadline, type CallOptions } from '../../core/deadline.ts'
import { channelKey, SpiceChannel } from './channel.ts'
import { DataChannel, PortChannel } from './channels/data.ts'
import { DisplayChannel, type DisplayChannelOptions } from './channels/display.ts'
import { InputsChannel, type InputsHost } from './channels/inputs.ts'
import { MainChannel, type MouseMode } from './channels/main.ts'
import { PlaybackChannel, RecordChannel } from './channels/sound.ts'
import { channelClosedError, noChannelError } from './errors.ts'
import { Heartbeat, type HeartbeatSession } from './heartbeat.ts'
import { placeOf, type ChannelId, type SpiceServer } from './link-channel.ts'
import type { AwaitedMessage } from './message-pump.ts'
import { Recovery } from './recovery.ts'
import { channelNameOf, type ChannelName } from './wire/numbers.ts'

/** Class of each type of channel. */
export interface ChannelClasses {
  main: MainChannel
  display: DisplayChannel
  inputs: InputsChannel
  cursor: SpiceChannel
  playback: PlaybackChannel
  record: RecordChannel
  smartcard: DataChannel
  usbredir: DataChannel
  port: PortChannel
  webdav: PortChannel
}

export interface SpiceConnectionOptions {
  server: SpiceServer
  /** Time between two questions whether the server lives, and the time it has for an answer. Default 10 s; 0: none. */
  heartbeatMs?: number
  /** Whether lost channels are opened again. Default true. */
  reconnect?: boolean
  display?: DisplayChannelOptions
  playback?: { opus?: boolean }
  /** Texts the server wants shown. */
  onNotify?: (channel: SpiceChannel, text: string) => void
}

export interface OpenChannelOptions<C = SpiceChannel> extends CallOptions {
  /** Counts channels of a type from 0. */
  id?: number
  /** Is given a channel that is not open yet: handlers set then miss no message. */
  prepare?: (channel: C) => void
}

const HEARTBEAT_MS = 10_000
/** Longest that one channel may keep another waiting. */
const WAIT_MS = 15_000

/**
 * A SPICE session with one VM: its main channel, and the channels opened besides. Lost channels are opened again, by
 * themselves as long as the main channel lives, else all, main and inputs first.
 */
export class SpiceVmConnection implements InputsHost, HeartbeatSession {
  readonly vmId: string
  readonly server: SpiceServer
  /** The first channel; it begins the session. */
  readonly main: MainChannel
  readonly closing = new Map<string, Promise<unknown>>()
  readonly #options: SpiceConnectionOptions
  readonly #channels = new Map<string, SpiceChannel>()
  readonly #recovery: Recovery | undefined
  readonly #heartbeat: Heartbeat

  constructor(vmId: string, options: SpiceConnectionOptions) {
    this.vmId = vmId
    this.server = options.server
    this.#options = options
    this.main = new MainChannel(this)
    this.#channels.set(channelKey(this.main), this.main)
    this.#heartbeat = new Heartbeat(this, options.heartbeatMs ?? HEARTBEAT_MS)
    this.main.onStateChange(({ to }) => (to === 'open' ? this.#heartbeat.start() : this.#heartbeat.stop()))
    if (options.reconnect !== false) this.#recovery = new Recovery()
    this.#recovery?.watch(this.main)
  }

  /** Number of the session, 0 while there is none. */
  get connectionId(): number {
    return this.main.init?.sessionId ?? 0
  }

  get mouseMode(): MouseMode {
    return this.main.mouseMode
  }

  /** All channels that were opened and not closed, whatever their state. */
  get channels(): readonly SpiceChannel[] {
    return [...this.#channels.values()]
  }

  /** State of the session: that of its main channel. */
  get state(): SpiceChannel['state'] {
    return this.main.state
  }

  /** Begins the session. A client that is connected to this VM already is thrown out by the server. */
  async connectMainChannel(options?: CallOptions): Promise<MainChannel> {
    await this.main.connect(options)
    return this.main
  }

  /**
   * Opens a channel of the session; one that is open is returned as it is.
   *
   * @throws `ATP_SPICE_NO_CHANNEL` when the VM has none, what {@link SpiceChannel.connect} throws.
   */
  async openChannel<T extends ChannelName>(
    type: T,
    { id = 0, prepare, ...bounds }: OpenChannelOptions<ChannelClasses[T]> = {},
  ): Promise<ChannelClasses[T]> {
    const known = this.getChannel(type, id)
    const channel = known ?? (this.#make({ type, id }) as ChannelClasses[T])
    if (type !== 'main') await this.#assertOffered({ type, id }, bounds)
    this.#channels.set(channelKey(channel), channel)
    if (!known) this.#recovery?.watch(channel)
    if (channel.state === 'closed') prepare?.(channel)
    try {
      await channel.connect(bounds)
    } catch (error) {
      if (!known && channel.state === 'closed') this.#forget(channel)
      throw error
    }
    return channel
  }

  /** A channel that was opened and not closed. */
  getChannel<T extends ChannelName>(type: T, id = 0): ChannelClasses[T] | undefined {
    return this.#channels.get(channelKey({ type, id })) as ChannelClasses[T] | undefined
  }

  /** Closes a channel. Closing the main channel ends the session. */
  async closeChannel(type: ChannelName, id = 0): Promise<void> {
    if (type === 'main') return this.disconnectAll()
    const channel = this.getChannel(type, id)
    if (!channel) return
    this.#forget(channel)
    await channel.disconnect()
  }

  /** Closes everything. {@link connectMainChannel} begins a new session. */
  async disconnectAll(): Promise<void> {
    this.#recovery?.stop()
    const others = [...this.#channels.values()].filter((channel) => channel !== this.main)
    for (const channel of others) this.#forget(channel)
    await Promise.all(others.map((channel) => channel.disconnect()))
    // With the main channel the server would end those at once.
    await Promise.all(this.closing.values())
    await this.main.disconnect()
  }

  /** Resolves when other channels have processed these messages, or are gone. */
  async waitFor(awaited: readonly AwaitedMessage[]): Promise<void> {
    const processed = awaited.map(async ({ channelType, channelId, serial }) => {
      const type = channelNameOf(channelType)
      await (type && this.getChannel(type, channelId)?.processed(serial))
    })
    const what = `${this.server.name}: waiting for messages of other channels`
    await withDeadline(what, { timeoutMs: WAIT_MS }, () => Promise.all(processed))
  }

  onNotify(channel: SpiceChannel, text: string): void {
    this.#options.onNotify?.(channel, text)
  }

  /** A channel that does not answer is lost alone; with the main channel the server is, as a whole. */
  silent(channel: SpiceChannel, error: Error): void {
    const whole = channel === this.main ? this.#channels.values() : [channel]
    for (const each of whole) each.lose(error)
  }

  #forget(channel: SpiceChannel): void {
    this.#channels.delete(channelKey(channel))
    this.#recovery?.forget(channel)
  }

  async #assertOffered(channel: ChannelId, options: CallOptions): Promise<void> {
    const place = placeOf(this.server, channel)
    if (this.main.state !== 'open') {
      if (this.main.state === 'closed') throw channelClosedError(place, this.main.error)
      await this.main.connect(options)
    }
    const { channels } = this.main
    if (channels.some(({ type, id }) => type === channel.type && id === channel.id)) return
    throw noChannelError(
      place,
      channels.map(({ type, id }) => `${type} ${id}`),
    )
  }

  #make(channel: ChannelId): SpiceChannel {
    const { type, id } = channel
    switch (type) {
      case 'main':
        return this.main
      case 'display':
        return new DisplayChannel(this, id, this.#options.display)
      case 'inputs':
        return new InputsChannel(this, id)
      case 'playback':
        return new PlaybackChannel(this, id, this.#options.playback)
      case 'record':
        return new RecordChannel(this, id)
      case 'port':
      case 'webdav':
        return new PortChannel(this, type, id)
      case 'usbredir':
      case 'smartcard':
        return new DataChannel(this, type, id)
      case 'cursor':
        return new SpiceChannel(this, channel)
    }
  }
}
