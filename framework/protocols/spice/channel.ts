import { withDeadline, type CallOptions } from '../../core/deadline.ts'
import { MessageQueue } from '../message-queue.ts'
import { channelClosedError, channelLostError } from './errors.ts'
import { linkChannel, placeOf, type ChannelId, type SpiceServer } from './link-channel.ts'
import type { LinkReply } from './link.ts'
import { MessagePump, type AwaitedMessage, type Liveness } from './message-pump.ts'
import type { ChannelName } from './wire/numbers.ts'

/** `lost`: it ended without being asked to; its session opens it again. `failed`: nobody will. */
export type ChannelState = 'closed' | 'connecting' | 'open' | 'lost' | 'failed'

/** One message of a server, without its header. */
export interface SpiceMessage {
  /** `SPICE_MSG_*` of the channel's type. */
  type: number
  body: Uint8Array
}

/** What a channel needs of the session it belongs to. */
export interface ChannelHost {
  readonly server: SpiceServer
  /** Session to join; 0 while there is none. */
  readonly connectionId: number
  /** Streams of closed channels that have not ended yet, by {@link channelKey}. */
  readonly closing: Map<string, Promise<unknown>>
  /** Resolves when other channels have processed these messages. */
  waitFor(awaited: readonly AwaitedMessage[]): Promise<void>
  onNotify(channel: SpiceChannel, text: string): void
}

/** Names a channel within its session. */
export function channelKey({ type, id }: ChannelId): string {
  return `${type}:${id}`
}

export interface ChannelStateEvent {
  from: ChannelState
  to: ChannelState
  /** Why, where it was not asked for. */
  error?: Error
}

/** What a server said of itself when a channel was linked, as words of bits. */
export type OfferedCapabilities = Pick<LinkReply, 'common' | 'channel'>

/** Counted since the channel was made, over all its connections. */
export interface ChannelStatistics {
  messagesIn: number
  bytesIn: number
  messagesOut: number
  /** How often it was opened. */
  connections: number
  /** How long the last link took, and how long the first message came after it. Undefined until then. */
  linkMs: number | undefined
  firstMessageMs: number | undefined
}

/** One try to open a channel. */
interface Attempt {
  /** What the channel was before. */
  before: ChannelState
  /** Settles with the work itself, which may go on after the try is over. */
  work: Promise<void>
  result: Promise<void>
  over: boolean
  /** Ends the try for those who wait for it. */
  abandon(error: Error): void
}

const CONNECT_TIMEOUT_MS = 15_000
/** How long a server that must speak first may take to. */
const LATE_MS = 5000
/** Messages kept for {@link SpiceChannel.receive} when nobody handles them. */
const UNREAD_MAX_BYTES = 4 * 1024 * 1024
/** What an unread message weighs besides its body. */
const UNREAD_EACH_BYTES = 64

/**
 * One channel of a SPICE session: a stream of its own, linked and authenticated. A message goes to the channel's own
 * handling, then to {@link onMessage}, else it waits for {@link receive}.
 *
 * It can be opened and closed again and again; its session opens a lost one again.
 */
export class SpiceChannel {
  readonly type: ChannelName
  readonly id: number
  /** Server and channel, for messages. */
  readonly place: string
  /**
   * Takes the messages that the channel does not handle itself. What it throws ends the channel. The body of a display's
   * message holds until it returns; others belong to the receiver.
   */
  onMessage: ((type: number, body: Uint8Array) => void) | undefined
  readonly #host: ChannelHost
  readonly #handlers = new Set<(event: ChannelStateEvent) => void>()
  readonly #statistics: ChannelStatistics = {
    messagesIn: 0,
    bytesIn: 0,
    messagesOut: 0,
    connections: 0,
    linkMs: undefined,
    firstMessageMs: undefined,
  }
  #state: ChannelState = 'closed'
  #error: Error | undefined
  #attempt: Attempt | undefined
  #pump: MessagePump | undefined
  #messages: MessageQueue<SpiceMessage> | undefined
  #offered: OfferedCapabilities | undefined

  constructor(host: ChannelHost, channel: ChannelId) {
    this.#host = host
    this.type = channel.type
    this.id = channel.id
    this.place = placeOf(host.server, channel)
  }

  get state(): ChannelState {
    return this.#state
  }

  /** Why the channel is not open, where that was not asked for. */
  get error(): Error | undefined {
    return this.#error
  }

  get statistics(): ChannelStatistics {
    return { ...this.#statistics, bytesIn: this.#statistics.bytesIn + (this.#pump?.bytesIn ?? 0) }
  }

  /** What the server can do on this channel, by its last link. Undefined before there was one. */
  get offered(): OfferedCapabilities | undefined {
    return this.#offered
  }

  /** Serial number of the last message processed on this connection; 0 without one. */
  get serialIn(): bigint {
    return this.#pump?.serialIn ?? 0n
  }

  /** Whether the server still speaks; undefined without a connection. */
  get liveness(): Liveness | undefined {
    return this.#pump?.liveness
  }

  /** Whether the server can be asked for a sign of life. */
  get hasHeartbeat(): boolean {
    return false
  }

  /**
   * Asks the server for a sign of life, where that is possible.
   *
   * @throws `ATP_SPICE_SILENT`, `ATP_SPICE_CLOSED`, what ended the channel.
   */
  async heartbeat(_timeoutMs: number): Promise<void> {}

  /** Resolves when a message of the server was processed, or when the connection is over. */
  async processed(serial: bigint): Promise<void> {
    await this.#pump?.processed(serial)
  }

  /** Tells of every change of state, until the returned function is called. */
  onStateChange(handler: (event: ChannelStateEvent) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  /**
   * Opens the channel. Does nothing when it is open; joins an opening under way.
   *
   * @throws what `linkChannel` throws; `ATP_SPICE_LOST` when it ends before it is of use; `ATP_SPICE_CLOSED` when it
   *   is closed meanwhile; `ATP_TIMEOUT`, `ATP_INTERRUPTED`. The channel is in the state it was in then.
   */
  async connect({ signal, timeoutMs = CONNECT_TIMEOUT_MS }: CallOptions = {}): Promise<void> {
    if (this.#state === 'open') return
    const attempt = (this.#attempt ??= this.#begin())
    try {
      await withDeadline(`opening ${this.place}`, { signal, timeoutMs }, () => attempt.result)
    } catch (error) {
      this.#abandon(attempt, error as Error)
      throw error
    }
  }

  /** Closes the channel. Where the server could not stand that yet, the stream itself ends a moment later. */
  async disconnect(): Promise<void> {
    const error = channelClosedError(this.place)
    if (this.#attempt) this.#abandon(this.#attempt, error)
    this.#drop(error)
    this.#setState('closed')
  }

  /** Ends the connection, or the try to open one, for this reason; a channel that was open is lost. */
  lose(reason: Error): void {
    if (this.#attempt) return this.#abandon(this.#attempt, reason)
    if (!this.#pump) return
    this.#drop(reason)
    this.#setState('lost', reason)
  }

  /** A lost channel will not be opened again. */
  fail(error: Error): void {
    if (this.#state === 'lost') this.#setState('failed', error)
  }

  /** Sends one message. @throws `ATP_SPICE_CLOSED` */
  async send(type: number, body?: Uint8Array): Promise<void> {
    const pump = this.#pump
    if (!pump) throw channelClosedError(this.place, this.#error)
    this.#statistics.messagesOut++
    await pump.send(type, body)
  }

  /**
   * The next message that nobody else took.
   *
   * @throws `ATP_SPICE_CLOSED`, the reason of the loss, `ATP_PROTOCOL_OVERFLOW` when more than 4 MiB waited unread.
   */
  async receive(options?: CallOptions): Promise<SpiceMessage> {
    if (!this.#messages) throw channelClosedError(this.place, this.#error)
    return await this.#messages.next(options)
  }

  /** Stops taking messages, which slows the server down, until the returned function is called or the connection ends. */
  hold(): () => void {
    return this.#pump?.hold() ?? (() => {})
  }

  /** Bits of the channel's own capabilities. */
  protected get capabilities(): readonly number[] {
    return []
  }

  /** Longest message accepted. */
  protected get maxMessageBytes(): number {
    return 1024 * 1024
  }

  /** Whether bodies hold only until they are handled: saves memory and copies where messages are large. */
  protected get lendsBodies(): boolean {
    return false
  }

  /** What this client has to say first. */
  protected get greeting(): SpiceMessage | undefined {
    return undefined
  }

  /** Whether the server breaks when the channel is closed before it has said something. */
  protected get closesLate(): boolean {
    return false
  }

  /** Whether the channel is of use already. Asked after each message while it is opened. */
  protected get ready(): boolean {
    return true
  }

  /** Takes a message; false leaves it to others. What it throws ends the channel. */
  protected handle(_type: number, _body: Uint8Array): boolean {
    return false
  }

  /** Runs when a connection ended: what was known of it is void. */
  protected reset(_reason: Error): void {}

  #begin(): Attempt {
    const abandoned = Promise.withResolvers<never>()
    const stop = new AbortController()
    const attempt: Attempt = {
      before: this.#state,
      work: abandoned.promise,
      result: abandoned.promise,
      over: false,
      abandon: (error) => {
        attempt.over = true
        abandoned.reject(error)
        stop.abort(error)
      },
    }
    this.#setState('connecting', this.#error)
    attempt.work = this.#open(attempt, stop.signal)
    attempt.result = Promise.race([attempt.work, abandoned.promise])
    attempt.result.catch(() => {})
    return attempt
  }

  #abandon(attempt: Attempt, error: Error): void {
    if (this.#attempt !== attempt) return
    this.#attempt = undefined
    attempt.abandon(error)
    if (this.closesLate) this.#closes(attempt.work)
    this.#drop(error)
    this.#setState(attempt.before, error)
  }

  async #open(attempt: Attempt, stop: AbortSignal): Promise<void> {
    const { server, connectionId } = this.#host
    const startedMs = performance.now()
    // A server that must not be left halfway is not left halfway, whoever loses patience.
    const bounds = { timeoutMs: CONNECT_TIMEOUT_MS, ...(this.closesLate ? {} : { signal: stop }) }
    const { capabilities, greeting } = this
    const channel = { type: this.type, id: this.id }
    // The server refuses a second channel of the same name.
    await this.#host.closing.get(channelKey(this))
    if (attempt.over) return
    const linked = await linkChannel(server, channel, { ...bounds, connectionId, capabilities })
    const linkedMs = performance.now()
    this.#offered = { common: linked.reply.common, channel: linked.reply.channel }
    const becameReady = Promise.withResolvers<void>()
    becameReady.promise.catch(() => {})
    let spoken = false
    const pump: MessagePump = new MessagePump(
      {
        place: this.place,
        maxBytes: this.maxMessageBytes,
        lends: this.lendsBodies,
        onMessage: (type, body) => {
          if (!spoken) this.#statistics.firstMessageMs = performance.now() - linkedMs
          spoken = true
          this.#receive(type, body)
          if (this.ready) becameReady.resolve()
        },
        onClose: (reason = channelClosedError(this.place)) => {
          becameReady.reject(reason)
          this.#lost(pump, reason)
        },
        onNotify: (text) => this.#host.onNotify(this, text),
        waitFor: (awaited) => this.#host.waitFor(awaited),
      },
      linked,
    )
    if (!attempt.over) {
      this.#pump = pump
      this.#messages = this.#newQueue()
      Object.assign(this.#statistics, { linkMs: linkedMs - startedMs, firstMessageMs: undefined })
    }
    pump.start()
    if (greeting) await pump.send(greeting.type, greeting.body)
    if (attempt.over) {
      this.#closePump(pump)
      return await pump.over
    }
    if (!this.ready) await becameReady.promise
    if (attempt.over) return
    if (this.#pump !== pump) throw channelLostError(this.place, this.#error)
    this.#attempt = undefined
    this.#statistics.connections++
    this.#setState('open')
  }

  #newQueue(): MessageQueue<SpiceMessage> {
    return new MessageQueue({
      what: `messages of ${this.place}`,
      limit: UNREAD_MAX_BYTES,
      sizeOf: ({ body }) => body.length + UNREAD_EACH_BYTES,
    })
  }

  #receive(type: number, body: Uint8Array): void {
    this.#statistics.messagesIn++
    if (this.handle(type, body)) return
    if (this.onMessage) this.onMessage(type, body)
    else this.#messages?.push({ type, body: this.lendsBodies ? new Uint8Array(body) : body })
  }

  /** The connection ended; unless it was ended here, the channel is lost. */
  #lost(pump: MessagePump, reason: Error): void {
    if (this.#pump !== pump) return
    this.#drop(reason)
    // An opening that fails says so itself.
    if (this.#attempt) this.#error = reason
    else this.#setState('lost', reason)
  }

  /** Ends the present connection. */
  #drop(reason: Error): void {
    const pump = this.#pump
    if (!pump) return
    this.#pump = undefined
    this.#statistics.bytesIn += pump.bytesIn
    this.#messages?.end(reason)
    this.reset(reason)
    this.#closePump(pump)
  }

  #closePump(pump: MessagePump): void {
    if (!this.closesLate) return pump.end()
    pump.endLate(LATE_MS)
    this.#closes(pump.over)
  }

  /** Notes that a stream of this channel has yet to end. */
  #closes(over: Promise<unknown>): void {
    const { closing } = this.#host
    const key = channelKey(this)
    const all = Promise.allSettled([closing.get(key), over]).then(() => {
      if (closing.get(key) === all) closing.delete(key)
    })
    closing.set(key, all)
  }

  #setState(to: ChannelState, error?: Error): void {
    const from = this.#state
    this.#error = to === 'open' || to === 'closed' ? undefined : error
    if (from === to) return
    this.#state = to
    for (const handler of this.#handlers) handler({ from, to, ...(error && { error }) })
  }
}
