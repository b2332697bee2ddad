import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { configError, remoteError, type AtpError } from '../../../core/errors.ts'
import type { DataChannel } from '../channels/data.ts'
import { channelClosedError, spiceProtocolError } from '../errors.ts'
import type { SpiceVmConnection } from '../vm-connection.ts'
import {
  decodeVsc,
  encodeVsc,
  errorCodeOf,
  initBody,
  NO_READER,
  VSC,
  VSC_ERROR,
  type VscMessage,
} from './vsc-messages.ts'

/** A smart card made in software. */
export interface SmartCard {
  /** What the card answers to a reset (ISO 7816-3): 2 to 33 bytes. */
  atr: Uint8Array
  /** Answers a command (APDU of ISO 7816-4) with data and the two bytes of its status. */
  respond(command: Uint8Array): Uint8Array | Promise<Uint8Array>
}

const ATR_MIN_BYTES = 2
const ATR_MAX_BYTES = 33
/** Longest answer: 65,536 bytes and the status. */
const RESPONSE_MAX_BYTES = 65_538
const STATUS_BYTES = 2
/** "No precise diagnosis" */
const FAILED = Uint8Array.of(0x6f, 0x00)
const ANSWER_TIMEOUT_MS = 10_000
/** A VM has one reader that leads to its client; the server numbers it so. */
const READER_ID = 0
const NOTHING = new Uint8Array(0)

/**
 * The VM's smart-card reader: the guest sees it while a client attaches it, and the card while one is inserted. After a
 * loss of the channel both are put back.
 */
export class SmartCardReader {
  readonly #connection: SpiceVmConnection
  readonly #name: string
  #channel: DataChannel | undefined
  #attached = false
  #card: SmartCard | undefined
  #commands = 0
  #failure: Error | undefined
  /** Who waits for the server's answers, which come in the order of the questions. */
  #waiting: PromiseWithResolvers<number>[] = []
  /** Answers of the card, one after the other. */
  #answering: Promise<void> = Promise.resolve()

  /** @param name of the reader, for the server. */
  constructor(connection: SpiceVmConnection, name = 'ATP reader') {
    this.#connection = connection
    this.#name = name
  }

  /** Whether the guest has the reader. */
  get attached(): boolean {
    return this.#attached
  }

  /** The card in the reader. */
  get card(): SmartCard | undefined {
    return this.#card
  }

  /** Commands that the guest sent to cards. */
  get commands(): number {
    return this.#commands
  }

  /** Why a card did not answer, or was not put back after a loss. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /**
   * Gives the guest the reader, without a card. Does nothing when it has it.
   *
   * @throws `ATP_SPICE_NO_CHANNEL` when the VM has no reader, `ATP_SPICE_CARD_REFUSED`, `ATP_TIMEOUT` when the server
   *   does not answer within `timeoutMs` (default 10 s), what ended the channel.
   */
  async attach(options: CallOptions = {}): Promise<void> {
    if (this.#attached) return
    const channel = await this.#open(options)
    await channel.sendData(encodeVsc({ type: VSC.init, readerId: NO_READER, body: initBody() }))
    await this.#ask(VSC.readerAdd, new TextEncoder().encode(`${this.#name}\0`), options)
    this.#attached = true
  }

  /**
   * Inserts a card; one that is in the reader is taken out first. The guest is given the reader if it has none.
   *
   * @throws `ATP_SPICE_CARD_ATR`, what {@link attach} throws.
   */
  async insert(card: SmartCard, options: CallOptions = {}): Promise<void> {
    const { length } = card.atr
    if (length < ATR_MIN_BYTES || length > ATR_MAX_BYTES) throw atrError(length)
    await this.attach(options)
    await this.eject(options)
    await this.#ask(VSC.atr, card.atr, options)
    this.#card = card
  }

  /** Takes the card out. Does nothing without one. @throws what {@link attach} throws. */
  async eject(options: CallOptions = {}): Promise<void> {
    if (!this.#card) return
    this.#card = undefined
    await this.#ask(VSC.cardRemove, NOTHING, options)
  }

  /** Takes the reader from the guest, with its card, and closes the channel. */
  async detach(options: CallOptions = {}): Promise<void> {
    if (!this.#channel) return
    try {
      await this.eject(options)
      if (this.#attached) await this.#ask(VSC.readerRemove, NOTHING, options)
    } finally {
      this.#attached = false
      this.#channel = undefined
      await this.#connection.closeChannel('smartcard')
    }
  }

  async #open(options: CallOptions): Promise<DataChannel> {
    const channel = await this.#connection.openChannel('smartcard', options)
    if (channel === this.#channel) return channel
    this.#channel = channel
    channel.onData = (bytes) => this.#take(channel, decodeVsc(bytes, channel.place))
    channel.onStateChange(({ from, to, error }) => {
      if (from === 'open') this.#void(error ?? channelClosedError(channel.place))
      if (to === 'open') void this.#putBack()
      if (to === 'closed' || to === 'failed') [this.#attached, this.#card] = [false, undefined]
    })
    return channel
  }

  #take(channel: DataChannel, message: VscMessage): void {
    if (message.type === VSC.error) this.#waiting.shift()?.resolve(errorCodeOf(message, channel.place))
    else if (message.type === VSC.apdu) this.#answer(channel, message)
    // A server asks for what is under way to be ended: nothing is, since answers leave at once.
    else if (message.type === VSC.flush) void this.#send(channel, VSC.flushComplete, NOTHING)
    else if (message.type !== VSC.init) {
      throw spiceProtocolError(channel.place, `a smart-card message of type ${message.type}`)
    }
  }

  #answer(channel: DataChannel, { body }: VscMessage): void {
    this.#commands++
    const card = this.#card
    const command = body.slice()
    this.#answering = this.#answering.then(async () => {
      let response: Uint8Array = FAILED
      try {
        if (card) response = await card.respond(command)
        if (response.length < STATUS_BYTES || response.length > RESPONSE_MAX_BYTES) throw responseError(response.length)
      } catch (error) {
        this.#failure = error as Error
        response = FAILED
      }
      await this.#send(channel, VSC.apdu, response)
    })
  }

  /** What cannot be sent is the loss of the channel, which is told elsewhere. */
  #send(channel: DataChannel, type: number, body: Uint8Array): Promise<void> {
    return channel.sendData(encodeVsc({ type, readerId: READER_ID, body })).catch(() => {})
  }

  async #ask(type: number, body: Uint8Array, { signal, timeoutMs = ANSWER_TIMEOUT_MS }: CallOptions): Promise<void> {
    const channel = this.#channel as DataChannel
    const answer = Promise.withResolvers<number>()
    answer.promise.catch(() => {})
    this.#waiting.push(answer)
    const what = `${channel.place}: the server's answer`
    const code = await withDeadline(what, { signal, timeoutMs }, async () => {
      await channel.sendData(encodeVsc({ type, readerId: READER_ID, body }))
      return await answer.promise
    })
    if (code !== VSC_ERROR.success) throw refusedError(channel.place, code)
  }

  #void(reason: Error): void {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(reason)
  }

  /** The channel is open anew: the server knows nothing of reader and card. */
  async #putBack(): Promise<void> {
    if (!this.#attached) return
    const card = this.#card
    this.#attached = false
    this.#card = undefined
    try {
      if (card) await this.insert(card)
      else await this.attach()
    } catch (error) {
      this.#failure = error as Error
    }
  }
}

function atrError(length: number): AtpError {
  return configError('ATP_SPICE_CARD_ATR', `${length} bytes are no answer to reset of a smart card`, {
    remedy: `give ${ATR_MIN_BYTES} to ${ATR_MAX_BYTES} bytes`,
  })
}

function responseError(length: number): AtpError {
  return configError('ATP_SPICE_CARD_RESPONSE', `${length} bytes are no answer of a smart card to a command`, {
    remedy: `answer with data and two bytes of status, at most ${RESPONSE_MAX_BYTES} bytes`,
  })
}

function refusedError(place: string, code: number): AtpError {
  const name = Object.entries(VSC_ERROR).find(([, number]) => number === code)?.[0] ?? 'unknown'
  return remoteError('ATP_SPICE_CARD_REFUSED', `${place}: the VM refuses the card or its reader (${name}, ${code})`, {
    context: { place, code, reason: name },
  })
}
