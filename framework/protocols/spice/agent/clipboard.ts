import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError } from '../../../core/errors.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { agentCannotError, clipboardEmptyError, clipboardSizeError } from './errors.ts'
import { AGENT_MESSAGE_MAX_BYTES } from './framer.ts'
import type { AgentLink } from './link.ts'
import { readGrabTypes, readSelection, writeSelection } from './messages.ts'
import { AGENT_MESSAGE, CLIPBOARD_SELECTION, CLIPBOARD_TYPE, type AgentCapability } from './numbers.ts'

type Capabilities = ReadonlySet<AgentCapability>

const READ_MS = 5000
const TEXT_MAX_BYTES = AGENT_MESSAGE_MAX_BYTES - 8
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Text of the clipboard that guest and client share. Whoever copied last gives it to the other when that one pastes. */
export class AgentClipboard {
  readonly #link: AgentLink
  /** What this side copied last, while the guest has copied nothing since. */
  #ours: string | undefined
  /** What the guest copied: settled once that is text. */
  #offered = newOffer()
  #guestHolds: 'nothing' | 'no text' | 'text' = 'nothing'
  #asked: PromiseWithResolvers<string> | undefined

  constructor(link: AgentLink) {
    this.#link = link
  }

  /**
   * Copies text for the guest, which fetches it when somebody pastes there; until then this side must live.
   *
   * @throws `ATP_SPICE_CLIPBOARD_SIZE`, `ATP_SPICE_AGENT_ABSENT`, `ATP_SPICE_AGENT_CANNOT`, `ATP_TIMEOUT`.
   */
  async write(text: string, options: CallOptions = {}): Promise<void> {
    const sizeBytes = encoder.encode(lineEnds(text, '\r\n')).length
    if (sizeBytes > TEXT_MAX_BYTES) throw clipboardSizeError(sizeBytes, TEXT_MAX_BYTES)
    const capabilities = await this.#capabilities(options)
    this.#ours = text
    this.#guestCopied('nothing')
    const grab = this.#message(capabilities).u32(CLIPBOARD_TYPE.utf8Text).finish()
    await this.#link.send(AGENT_MESSAGE.clipboardGrab, grab, options)
  }

  /**
   * The text that was copied in the guest; waited for when there is none yet, 5 s by default.
   *
   * @throws `ATP_SPICE_CLIPBOARD_EMPTY`, `ATP_SPICE_AGENT_ABSENT`, `ATP_SPICE_AGENT_CANNOT`, `ATP_SPICE_AGENT_GONE`.
   */
  async read({ signal, timeoutMs = READ_MS }: CallOptions = {}): Promise<string> {
    const { place } = this.#link
    await this.#capabilities({ signal, timeoutMs })
    try {
      return await withDeadline(`reading the clipboard of ${place}`, { signal, timeoutMs }, async (stop) => {
        await this.#offered.promise
        return await this.#ask(await this.#capabilities({ signal: stop }))
      })
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      const why = this.#guestHolds === 'text' ? 'it was not delivered' : `it holds ${this.#guestHolds}`
      throw clipboardEmptyError(place, `${why} after ${timeoutMs} ms`, error)
    }
  }

  /** Takes a message of the agent; false for one that is not about clipboards. @throws `ATP_SPICE_PROTOCOL` */
  handle(type: number, reader: SpiceReader, capabilities: Capabilities): boolean {
    const selections = capabilities.has('clipboardSelection')
    switch (type) {
      case AGENT_MESSAGE.clipboardGrab: {
        if (readSelection(reader, selections) !== CLIPBOARD_SELECTION.clipboard) return true
        const types = readGrabTypes(reader)
        this.#ours = undefined
        this.#guestCopied(types.includes(CLIPBOARD_TYPE.utf8Text) ? 'text' : 'no text')
        return true
      }
      case AGENT_MESSAGE.clipboardRelease:
        if (readSelection(reader, selections) === CLIPBOARD_SELECTION.clipboard) this.#guestCopied('nothing')
        return true
      case AGENT_MESSAGE.clipboardRequest: {
        const selection = readSelection(reader, selections)
        this.#give(selection, reader.u32(), capabilities)
        return true
      }
      case AGENT_MESSAGE.clipboard: {
        if (readSelection(reader, selections) !== CLIPBOARD_SELECTION.clipboard) return true
        this.#answered(reader.u32(), reader.rest(), capabilities)
        return true
      }
      default:
        return false
    }
  }

  /** The agent is gone, and what it held with it. */
  reset(reason: Error): void {
    this.#ours = undefined
    this.#guestHolds = 'nothing'
    this.#offered.reject(reason)
    this.#offered = newOffer()
    this.#asked?.reject(reason)
    this.#asked = undefined
  }

  async #capabilities(options: CallOptions): Promise<Capabilities> {
    const capabilities = await this.#link.ready(options)
    if (capabilities.has('clipboardByDemand')) return capabilities
    throw agentCannotError(this.#link.place, 'clipboards', [...capabilities])
  }

  #message(capabilities: Capabilities, selection: number = CLIPBOARD_SELECTION.clipboard) {
    return writeSelection(selection, capabilities.has('clipboardSelection'))
  }

  #guestCopied(what: 'nothing' | 'no text' | 'text'): void {
    if (what !== 'text' && this.#guestHolds === 'text') this.#offered = newOffer()
    this.#guestHolds = what
    if (what === 'text') this.#offered.resolve()
  }

  /** Answers carry no number, so one question is under way at a time; who asks meanwhile shares its answer. */
  #ask(capabilities: Capabilities): Promise<string> {
    if (this.#asked) return this.#asked.promise
    const asked = Promise.withResolvers<string>()
    this.#asked = asked
    asked.promise.catch(() => {})
    const request = this.#message(capabilities).u32(CLIPBOARD_TYPE.utf8Text).finish()
    this.#link.send(AGENT_MESSAGE.clipboardRequest, request).catch((error: Error) => {
      asked.reject(error)
      if (this.#asked === asked) this.#asked = undefined
    })
    return asked.promise
  }

  #answered(type: number, bytes: Uint8Array, capabilities: Capabilities): void {
    const asked = this.#asked
    this.#asked = undefined
    if (type !== CLIPBOARD_TYPE.utf8Text) {
      return asked?.reject(clipboardEmptyError(this.#link.place, 'its owner did not give it'))
    }
    const text = decoder.decode(bytes)
    asked?.resolve(capabilities.has('guestLineendCrlf') ? lineEnds(text, '\n') : text)
  }

  /** The guest wants what was copied here. What is not there is answered, too: the guest waits. */
  #give(selection: number, type: number, capabilities: Capabilities): void {
    const writer = this.#message(capabilities, selection)
    const ours = selection === CLIPBOARD_SELECTION.clipboard ? this.#ours : undefined
    if (ours === undefined || type !== CLIPBOARD_TYPE.utf8Text) writer.u32(CLIPBOARD_TYPE.none)
    else writer.u32(type).text(capabilities.has('guestLineendCrlf') ? lineEnds(ours, '\r\n') : ours)
    // Nobody waits here: if it cannot be sent, the agent is gone.
    void this.#link.send(AGENT_MESSAGE.clipboard, writer.finish()).catch(() => {})
  }
}

function newOffer(): PromiseWithResolvers<void> {
  const offer = Promise.withResolvers<void>()
  offer.promise.catch(() => {})
  return offer
}

function lineEnds(text: string, end: '\n' | '\r\n'): string {
  return text.replaceAll(/\r?\n/g, end)
}
