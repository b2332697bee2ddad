import type { ByteStream } from '../../wire/byte-stream.ts'
import { channelClosedError, channelLostError, disconnectingError, spiceUnsupportedError } from './errors.ts'
import type { HandshakeStream } from './handshake-stream.ts'
import type { LinkedChannel } from './link-channel.ts'
import { usesMiniHeader } from './link.ts'
import { MessageFramer } from './message-framer.ts'
import { BASE_CLIENT, BASE_SERVER } from './wire/numbers.ts'
import { SpiceReader } from './wire/reader.ts'
import { SpiceWriter } from './wire/writer.ts'

/** A message of another channel that must have been processed before this channel goes on. */
export interface AwaitedMessage {
  /** `SPICE_CHANNEL_*` */
  channelType: number
  channelId: number
  serial: bigint
}

export interface PumpOptions {
  /** For messages. */
  place: string
  /** Longest body accepted from the server. */
  maxBytes: number
  /** Whether bodies are only lent: they hold until {@link onMessage} returns then. */
  lends: boolean
  /** A message of the channel itself. What it throws ends the channel. */
  onMessage(type: number, body: Uint8Array): void
  /** Called once, with the reason unless {@link MessagePump.end} was called without one. */
  onClose(reason?: Error): void
  /** A text that the server wants shown. */
  onNotify(text: string): void
  /** Resolves when the messages were processed. */
  waitFor(awaited: readonly AwaitedMessage[]): Promise<void>
}

/** When a server last spoke, and how often it pings. */
export interface Liveness {
  /** How long nothing has come, milliseconds; 0 while nothing is read. */
  silentMs: number
  /** The longest time between two of its pings, of which some come in pairs; 0 while none is known. */
  pingGapMs: number
}

const EMPTY = new Uint8Array(0)
const NOTIFY_MAX_BYTES = 4096
/**
 * Pings that measure the network follow one another as soon as one is answered: sooner than this, also where machines are
 * busy and networks slow.
 */
const PING_GAP_MIN_MS = 10_000

/**
 * Moves the messages of one open channel: cuts the stream, answers what is common to all channels (acknowledgement
 * windows, pings, waiting for other channels), hands over the rest. It owns the stream.
 */
export class MessagePump {
  readonly #options: PumpOptions
  readonly #mini: boolean
  readonly #framer: MessageFramer
  readonly #handshake: HandshakeStream
  readonly #stream: ByteStream
  #serialIn = 0n
  #serialOut = 0n
  #bytesIn = 0
  #heardAtMs = performance.now()
  #pingedAtMs: number | undefined
  #pingGapMs = 0
  #ackWindow = 0
  #untilAck = 0
  #reason: Error | undefined
  #ending = false
  #spoken = false
  #endsLate = false
  #waiting: { serial: bigint; resolve(): void }[] = []
  readonly #over = Promise.withResolvers<void>()
  #lateTimer: ReturnType<typeof setTimeout> | undefined
  #closed = false
  #holds = 0

  constructor(options: PumpOptions, { stream, reply }: LinkedChannel) {
    this.#handshake = stream
    this.#stream = stream.inner
    this.#options = options
    this.#mini = usesMiniHeader(reply)
    const { place, maxBytes, lends } = options
    const onMessage = (type: number, body: Uint8Array, subList: number) => {
      // Whoever ended the channel in the middle of a chunk wants to hear no more of it.
      if (!this.#ending) this.#receive(type, body, subList)
    }
    this.#framer = new MessageFramer({ place, maxBytes, lends, mini: this.#mini, onMessage })
  }

  /** Serial number of the last message that was processed. */
  get serialIn(): bigint {
    return this.#serialIn
  }

  /** Resolves when the message with this serial number was processed, or when the connection is over. */
  async processed(serial: bigint): Promise<void> {
    if (this.#serialIn >= serial || this.#ending) return
    await new Promise<void>((resolve) => this.#waiting.push({ serial, resolve }))
  }

  /** Resolves when the stream has ended. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  /** Bytes received since the channel was opened. */
  get bytesIn(): number {
    return this.#bytesIn
  }

  get liveness(): Liveness {
    const silentMs = this.#holds > 0 ? 0 : performance.now() - this.#heardAtMs
    return { silentMs, pingGapMs: this.#pingGapMs }
  }

  /** Begins to deliver, with what came behind the handshake. */
  start(): void {
    this.#handshake.handOver({
      onData: (chunk) => this.#push(chunk),
      onClose: (error) => this.#onEnd(error),
    })
  }

  /** Sends one message. @throws `ATP_SPICE_CLOSED` */
  async send(type: number, body: Uint8Array = EMPTY): Promise<void> {
    if (this.#ending) throw channelClosedError(this.#options.place, this.#reason)
    const writer = new SpiceWriter(18 + body.length)
    if (!this.#mini) writer.u64(++this.#serialOut)
    writer.u16(type).u32(body.length)
    if (!this.#mini) writer.u32(0)
    try {
      await this.#stream.write(writer.bytes(body).finish())
    } catch (error) {
      throw channelClosedError(this.#options.place, this.#reason ?? error)
    }
  }

  /** Ends the channel at once. Idempotent. */
  end(reason?: Error): void {
    if (this.#ending) return
    this.#ending = true
    this.#reason = reason
    this.#stream.destroy(reason)
  }

  /**
   * Ends the channel once the server has spoken, or after `limitMs`. Until then nothing is delivered, and the server
   * gets the answers it waits for.
   */
  endLate(limitMs: number): void {
    if (this.#spoken || this.#ending) return this.end()
    this.#endsLate = true
    this.#lateTimer = setTimeout(() => this.end(), limitMs)
  }

  /** Stops delivering, which slows the server down, until the returned function was called. */
  hold(): () => void {
    if (this.#holds++ === 0) {
      this.#framer.block(true)
      this.#stream.pause()
    }
    let held = true
    return () => {
      if (!held) return
      held = false
      if (--this.#holds > 0 || this.#ending) return
      this.#heardAtMs = performance.now()
      this.#guarded(() => this.#framer.block(false))
      // What was kept may have made somebody hold it again.
      if (this.#holds === 0) this.#stream.resume()
    }
  }

  #push(chunk: Uint8Array): void {
    if (this.#ending) return
    this.#bytesIn += chunk.length
    this.#heardAtMs = performance.now()
    this.#guarded(() => this.#framer.push(chunk))
  }

  /** Errors of the server and of whoever handles its messages end the channel. */
  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.end(error as Error)
    }
  }

  #onEnd(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    const asked = this.#ending
    this.#ending = true
    clearTimeout(this.#lateTimer)
    this.#over.resolve()
    for (const { resolve } of this.#waiting.splice(0)) resolve()
    const { place, onClose } = this.#options
    if (asked) onClose(this.#reason)
    else onClose(this.#reason ?? channelLostError(place, error))
  }

  #receive(type: number, body: Uint8Array, subList: number): void {
    if (subList > 0) this.#subMessages(body, subList)
    this.#dispatch(type, body)
    this.#serialIn++
    if (this.#waiting.length > 0) {
      const ready = this.#waiting.filter(({ serial }) => serial <= this.#serialIn)
      this.#waiting = this.#waiting.filter(({ serial }) => serial > this.#serialIn)
      for (const { resolve } of ready) resolve()
    }
    // The answer to a window is its first message's own, it does not count.
    if (type !== BASE_SERVER.setAck && this.#ackWindow > 0 && --this.#untilAck === 0) {
      this.#untilAck = this.#ackWindow
      this.#reply(BASE_CLIENT.ack)
    }
  }

  #dispatch(type: number, body: Uint8Array): void {
    if (type > BASE_SERVER.list) {
      this.#spoken = true
      if (this.#endsLate) return this.end()
      return this.#options.onMessage(type, body)
    }
    const { place } = this.#options
    const reader = (name: string) => new SpiceReader(body, `${place}, ${name}`)
    switch (type) {
      case BASE_SERVER.setAck:
        return this.#setAck(reader('set_ack'))
      case BASE_SERVER.ping: {
        this.#pinged()
        const ping = reader('ping')
        const pong = new SpiceWriter(12).u32(ping.u32()).u64(ping.u64())
        return this.#reply(BASE_CLIENT.pong, pong.finish())
      }
      case BASE_SERVER.waitForChannels:
        return this.#wait(reader('wait_for_channels'))
      case BASE_SERVER.disconnecting: {
        const disconnecting = reader('disconnecting')
        disconnecting.skip(8)
        return this.end(disconnectingError(place, disconnecting.u32()))
      }
      case BASE_SERVER.notify: {
        const notify = reader('notify')
        notify.skip(8 + 3 * 4)
        return this.#options.onNotify(notify.text(Math.min(notify.u32(), NOTIFY_MAX_BYTES, notify.remaining)))
      }
      case BASE_SERVER.list:
        return this.#subMessages(body, 0)
      case BASE_SERVER.migrate:
      case BASE_SERVER.migrateData:
        throw spiceUnsupportedError(place, 'following a VM that migrates')
      default:
        throw reader('message').error(`a message of type ${type}`)
    }
  }

  /** `SpiceSubMessageList`: offsets of messages within the body. */
  #subMessages(body: Uint8Array, at: number): void {
    const list = new SpiceReader(body, `${this.#options.place}, sub-messages`, at)
    const count = list.counted(list.u16(), 4, 'sub-messages')
    for (let index = 0; index < count; index++) {
      const message = list.at(list.u32())
      const type = message.u16()
      // Lists within lists would let a few bytes keep this machine busy for ever.
      if (type === BASE_SERVER.list) throw list.error('a list within a list')
      this.#dispatch(type, message.bytes(message.u32()))
    }
  }

  #pinged(): void {
    const nowMs = performance.now()
    const gapMs = nowMs - (this.#pingedAtMs ?? nowMs)
    if (gapMs >= PING_GAP_MIN_MS) this.#pingGapMs = Math.max(this.#pingGapMs, gapMs)
    this.#pingedAtMs = nowMs
  }

  #setAck(reader: SpiceReader): void {
    const generation = reader.u32()
    this.#ackWindow = reader.u32()
    this.#untilAck = this.#ackWindow
    this.#reply(BASE_CLIENT.ackSync, new SpiceWriter(4).u32(generation).finish())
  }

  #wait(reader: SpiceReader): void {
    const count = reader.counted(reader.u8(), 10, 'channels')
    const awaited = Array.from({ length: count }, () => ({
      channelType: reader.u8(),
      channelId: reader.u8(),
      serial: reader.u64(),
    }))
    this.#options.waitFor(awaited).then(this.hold(), (error: unknown) => this.end(error as Error))
  }

  /** Nobody waits for these: if they cannot be sent, the stream's end tells. */
  #reply(type: number, body?: Uint8Array): void {
    void this.send(type, body).catch(() => {})
  }
}
