import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { isAtpError } from '../../../core/errors.ts'
import type { MainChannel } from '../channels/main.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import { AgentClipboard } from './clipboard.ts'
import { agentAbsentError, agentGoneError, agentProtocolError } from './errors.ts'
import { FileTransfers } from './file-transfers.ts'
import { AgentFramer, frameAgentMessage } from './framer.ts'
import type { AgentLink } from './link.ts'
import { readAnnouncement, writeAnnouncement, writeMonitors, type AgentMonitor } from './messages.ts'
import { AGENT_MESSAGE, DISPLAY_CONFIG, REPLY_SUCCESS, type AgentCapability } from './numbers.ts'

/** The way to the agent: the session's main channel. */
export type AgentCarrier = Pick<
  MainChannel,
  'place' | 'agentConnected' | 'onAgent' | 'onAgentData' | 'startAgent' | 'sendAgentData'
>

/** What a desktop may do without to be faster. */
export type DisplaySetting = Exclude<keyof typeof DISPLAY_CONFIG, 'setColorDepth'>

const READY_MS = 10_000
const OURS: readonly AgentCapability[] = [
  'monitorsConfig',
  'reply',
  'displayConfig',
  'clipboardByDemand',
  'clipboardSelection',
  'monitorsConfigPosition',
  'maxClipboard',
  'fileXferDetailedErrors',
]

/**
 * The SPICE agent of the guest: clipboard, files, arrangement of monitors. It comes and goes with the guest's own
 * program; calls wait for it.
 *
 * An agent that breaks its protocol is not listened to until it connects again; the session goes on without it.
 */
export class SpiceAgent {
  readonly clipboard: AgentClipboard
  /** Called when the agent says whether it took the monitors. A server that arranges them itself lets it say nothing. */
  onMonitorsReply: ((taken: boolean) => void) | undefined
  readonly #main: AgentCarrier
  readonly #link: AgentLink
  readonly #files: FileTransfers
  #known = newlyKnown()
  #knownSettled = false
  #capabilities: ReadonlySet<AgentCapability> = new Set()
  #life: AbortController | undefined
  #framer: AgentFramer | undefined
  #sending: Promise<unknown> = Promise.resolve()

  /** @param main of the session; its `onAgent` and `onAgentData` belong to this object from now on. */
  constructor(main: AgentCarrier) {
    this.#main = main
    this.#link = {
      place: main.place,
      ready: (options) => this.ready(options),
      send: (type, body, options) => this.#send(type, body, options),
    }
    this.clipboard = new AgentClipboard(this.#link)
    this.#files = new FileTransfers(this.#link)
    main.onAgent = (connected) => (connected ? this.#begin() : this.#end(agentGoneError(main.place)))
    main.onAgentData = (chunk) => this.#receive(chunk)
    if (main.agentConnected) this.#begin()
  }

  /** Whether an agent is there. */
  get connected(): boolean {
    return this.#life !== undefined
  }

  /**
   * Waits until the agent has said what it can do, 10 s by default.
   *
   * @throws `ATP_SPICE_AGENT_ABSENT`; `ATP_SPICE_AGENT` when it broke its protocol.
   */
  async ready({ signal, timeoutMs = READY_MS }: CallOptions = {}): Promise<ReadonlySet<AgentCapability>> {
    const { place } = this.#main
    try {
      return await withDeadline(`waiting for the agent of ${place}`, { signal, timeoutMs }, () => this.#known.promise)
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      throw agentAbsentError(place, timeoutMs, this.#main.agentConnected, error)
    }
  }

  /** Sends a file into the guest, see {@link FileTransfers.send}. A `Blob` is read piece by piece. */
  sendFile(name: string, content: Uint8Array | Blob, options: CallOptions = {}): Promise<void> {
    return this.#files.send(name, content, options)
  }

  /**
   * Asks the guest to arrange its monitors so. Resolves when that was sent: what the guest makes of it shows on its
   * screen, since a server with QXL displays hands it to the driver, which does not answer.
   *
   * @throws `ATP_SPICE_MONITORS`, `ATP_SPICE_AGENT_ABSENT`, `ATP_TIMEOUT`.
   */
  async setMonitors(monitors: readonly AgentMonitor[], options: CallOptions = {}): Promise<void> {
    const message = writeMonitors(monitors)
    await this.ready(options)
    await this.#send(AGENT_MESSAGE.monitorsConfig, message, options)
  }

  /** Tells what the desktop shall do without. @throws `ATP_SPICE_AGENT_ABSENT`, `ATP_TIMEOUT`. */
  async setDisplay(settings: readonly DisplaySetting[], options: CallOptions = {}): Promise<void> {
    await this.ready(options)
    const flags = settings.reduce((bits, name) => bits | DISPLAY_CONFIG[name], 0)
    await this.#send(AGENT_MESSAGE.displayConfig, new SpiceWriter(8).u32(flags).u32(0).finish(), options)
  }

  /** Tells the agent how much a clipboard may hold to be sent here. @throws `ATP_SPICE_AGENT_ABSENT`, `ATP_TIMEOUT`. */
  async setMaxClipboard(maxBytes: number, options: CallOptions = {}): Promise<void> {
    await this.ready(options)
    await this.#send(AGENT_MESSAGE.maxClipboard, new SpiceWriter(4).i32(maxBytes).finish(), options)
  }

  #begin(): void {
    this.#end(agentGoneError(this.#main.place))
    this.#forget()
    const life = new AbortController()
    this.#life = life
    this.#framer = new AgentFramer(`${this.#main.place}, agent`, (type, body) => this.#handle(type, body))
    this.#sending = this.#main.startAgent().catch((error: Error) => life.abort(error))
    void this.#announce(true)
  }

  #end(reason: Error): void {
    const life = this.#life
    if (!life) return
    this.#life = undefined
    this.#framer = undefined
    this.#capabilities = new Set()
    this.#forget()
    this.clipboard.reset(reason)
    this.#files.reset(reason)
    life.abort(reason)
  }

  /** Who waits for an agent that has not said anything yet goes on waiting for the next one. */
  #forget(): void {
    if (this.#knownSettled) this.#known = newlyKnown()
    this.#knownSettled = false
  }

  #receive(chunk: Uint8Array): void {
    try {
      this.#framer?.push(chunk)
    } catch (cause) {
      const error = agentProtocolError(this.#main.place, cause as Error)
      this.#end(error)
      this.#known.reject(error)
      this.#knownSettled = true
    }
  }

  #handle(type: number, body: Uint8Array): void {
    const reader = new SpiceReader(body, `message ${type}`)
    switch (type) {
      case AGENT_MESSAGE.announceCapabilities: {
        const { request, capabilities } = readAnnouncement(reader)
        this.#capabilities = capabilities
        this.#known.resolve(capabilities)
        this.#knownSettled = true
        if (request) void this.#announce(false)
        return
      }
      case AGENT_MESSAGE.fileXferStatus:
        return this.#files.handle(reader)
      case AGENT_MESSAGE.reply: {
        const [what, error] = [reader.u32(), reader.u32()]
        if (what === AGENT_MESSAGE.monitorsConfig) this.onMonitorsReply?.(error === REPLY_SUCCESS)
        return
      }
      default:
        // Of the rest (volumes, graphics devices) nothing concerns a client that did not ask for it.
        this.clipboard.handle(type, reader, this.#capabilities)
    }
  }

  async #announce(request: boolean): Promise<void> {
    // If it cannot be sent, the agent is gone.
    await this.#send(AGENT_MESSAGE.announceCapabilities, writeAnnouncement(request, OURS)).catch(() => {})
  }

  /** One whole message after the other: half a message would make nonsense of all that follow. */
  async #send(type: number, body: Uint8Array, options: CallOptions = {}): Promise<void> {
    const life = this.#life
    if (!life) throw agentGoneError(this.#main.place)
    const { signal } = life
    const sent = this.#sending.then(async () => {
      try {
        signal.throwIfAborted()
        await this.#main.sendAgentData(frameAgentMessage(type, body), { signal })
      } catch (error) {
        throw signal.aborted ? signal.reason : error
      }
    })
    this.#sending = sent.catch(() => {})
    await withDeadline(`sending to the agent of ${this.#main.place}`, options, () => sent)
  }
}

function newlyKnown(): PromiseWithResolvers<ReadonlySet<AgentCapability>> {
  const known = Promise.withResolvers<ReadonlySet<AgentCapability>>()
  known.promise.catch(() => {})
  return known
}
