import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { SpiceChannel, type ChannelHost } from '../channel.ts'
import { silentError, spiceUnsupportedError } from '../errors.ts'
import type { ChannelId } from '../link-channel.ts'
import { channelNameOf, MAIN_CAP, MAIN_CLIENT, MAIN_SERVER, MOUSE_MODE } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'
import { AgentTokens } from './agent-tokens.ts'

/** `SpiceMsgMainInit`: what a server says of itself. */
export interface MainInit {
  /** Number other channels join with. */
  sessionId: number
  displayChannelsHint: number
  /** `server`: relative motion, the server draws the pointer; `client`: positions, the client draws it. */
  supportedMouseModes: readonly MouseMode[]
  mouseMode: MouseMode
  agentConnected: boolean
  /** Messages the client may send to the agent at first. */
  agentTokens: number
  /** Server's clock for streams and sound, milliseconds. */
  multiMediaTimeMs: number
}

/** Who moves the pointer, see {@link MainInit.supportedMouseModes}. */
export type MouseMode = keyof typeof MOUSE_MODE

/** `VD_AGENT_MAX_DATA_SIZE` */
const AGENT_CHUNK_MAX_BYTES = 2048
const NAME_MAX_BYTES = 1024
/** Every migration message of the main channel. */
const MIGRATION: ReadonlySet<number> = new Set([
  MAIN_SERVER.migrateBegin,
  MAIN_SERVER.migrateCancel,
  MAIN_SERVER.migrateSwitchHost,
  MAIN_SERVER.migrateEnd,
  MAIN_SERVER.migrateBeginSeamless,
  MAIN_SERVER.migrateDstSeamlessAck,
  MAIN_SERVER.migrateDstSeamlessNack,
])

/** The channel that begins a session: what channels there are, mouse mode, the way to the guest's agent. */
export class MainChannel extends SpiceChannel {
  /** Called when the mouse mode changes. */
  onMouseMode: ((mode: MouseMode) => void) | undefined
  /** Called when the guest's agent comes and goes. */
  onAgent: ((connected: boolean) => void) | undefined
  /** Chunks of the guest's agent, as they come. */
  onAgentData: ((chunk: Uint8Array) => void) | undefined
  #init: MainInit | undefined
  #channels: ChannelId[] | undefined
  #mouseMode: MouseMode = 'server'
  #agentConnected = false
  #name: string | undefined
  #uuid: string | undefined
  readonly #tokens = new AgentTokens()
  #listed: PromiseWithResolvers<void> | undefined

  constructor(host: ChannelHost) {
    super(host, { type: 'main', id: 0 })
  }

  /** Undefined while the channel is not open. */
  get init(): MainInit | undefined {
    return this.#init
  }

  /** Channels of the VM that can be opened, besides this one. Types this client does not know are left out. */
  get channels(): readonly ChannelId[] {
    return this.#channels ?? []
  }

  override get hasHeartbeat(): boolean {
    return true
  }

  get mouseMode(): MouseMode {
    return this.#mouseMode
  }

  get agentConnected(): boolean {
    return this.#agentConnected
  }

  /** The VM's name and UUID, where the server tells. */
  get vmName(): string | undefined {
    return this.#name
  }
  get vmUuid(): string | undefined {
    return this.#uuid
  }

  /** Asks for another mouse mode. The server may not follow; see {@link mouseMode}. */
  async requestMouseMode(mode: MouseMode): Promise<void> {
    await this.send(MAIN_CLIENT.mouseModeRequest, new SpiceWriter(2).u16(MOUSE_MODE[mode]).finish())
  }

  /** Tells the agent that a client is there, and how many messages it may send before it is acknowledged. */
  async startAgent(tokens = 10): Promise<void> {
    await this.send(MAIN_CLIENT.agentStart, new SpiceWriter(4).u32(tokens).finish())
  }

  /** Sends bytes to the guest's agent, in chunks of at most 2048 bytes, as fast as the server allows. */
  async sendAgentData(bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    for (let at = 0; at < bytes.length; at += AGENT_CHUNK_MAX_BYTES) {
      await this.#tokens.take(`${this.place}: waiting to send to the guest's agent`, options)
      await this.send(MAIN_CLIENT.agentData, bytes.subarray(at, at + AGENT_CHUNK_MAX_BYTES))
    }
  }

  /**
   * Asks the server for a sign of life: the list of channels, which it sends as often as it is asked.
   *
   * @throws `ATP_SPICE_SILENT`, `ATP_SPICE_CLOSED`, what ended the channel.
   */
  override async heartbeat(timeoutMs: number): Promise<void> {
    const listed = (this.#listed ??= newlyResolvers())
    await this.send(MAIN_CLIENT.attachChannels)
    try {
      await withDeadline('heartbeat', { timeoutMs }, () => listed.promise)
    } catch (error) {
      if ((error as { code?: string }).code === 'ATP_TIMEOUT') throw silentError(this.place, timeoutMs)
      throw error
    }
  }

  protected override get capabilities(): readonly number[] {
    return [MAIN_CAP.nameAndUuid, MAIN_CAP.agentConnectedTokens]
  }

  protected override get ready(): boolean {
    return this.#channels !== undefined
  }

  protected override reset(reason: Error): void {
    this.#init = undefined
    this.#channels = undefined
    this.#listed?.reject(reason)
    this.#listed = undefined
    this.#tokens.reset(0, reason)
    this.#setAgent(false)
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    const reader = new SpiceReader(body, `${this.place}, message ${type}`)
    switch (type) {
      case MAIN_SERVER.init:
        this.#begin(readInit(reader))
        return true
      case MAIN_SERVER.channelsList:
        this.#channels = readChannels(reader)
        this.#listed?.resolve()
        this.#listed = undefined
        return true
      case MAIN_SERVER.mouseMode:
        reader.skip(2)
        this.#mouseMode = mouseModeOf(reader.u16())
        this.onMouseMode?.(this.#mouseMode)
        return true
      case MAIN_SERVER.agentConnected:
        this.#setAgent(true)
        return true
      case MAIN_SERVER.agentConnectedTokens:
        this.#tokens.reset(reader.u32())
        this.#setAgent(true)
        return true
      case MAIN_SERVER.agentDisconnected:
        reader.u32()
        this.#setAgent(false)
        return true
      case MAIN_SERVER.agentData:
        this.onAgentData?.(body)
        // Each message used up one of the tokens the agent was given.
        void this.send(MAIN_CLIENT.agentToken, new SpiceWriter(4).u32(1).finish()).catch(() => {})
        return true
      case MAIN_SERVER.agentToken:
        this.#tokens.add(reader.u32())
        return true
      case MAIN_SERVER.name:
        this.#name = reader.text(Math.min(reader.u32(), NAME_MAX_BYTES))
        return true
      case MAIN_SERVER.uuid:
        this.#uuid = uuidText(reader.bytes(16))
        return true
      default:
        if (MIGRATION.has(type)) throw spiceUnsupportedError(this.place, 'following a VM that migrates')
        return false
    }
  }

  #begin(init: MainInit): void {
    this.#init = init
    this.#mouseMode = init.mouseMode
    this.#tokens.reset(init.agentTokens)
    this.#setAgent(init.agentConnected)
    void this.send(MAIN_CLIENT.attachChannels).catch(() => {})
  }

  #setAgent(connected: boolean): void {
    if (this.#agentConnected === connected) return
    this.#agentConnected = connected
    this.onAgent?.(connected)
  }
}

function newlyResolvers(): PromiseWithResolvers<void> {
  const resolvers = Promise.withResolvers<void>()
  resolvers.promise.catch(() => {})
  return resolvers
}

function readInit(reader: SpiceReader): MainInit {
  const [sessionId, displayChannelsHint, modes, mode] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()]
  const [agentConnected, agentTokens, multiMediaTimeMs] = [reader.u32() !== 0, reader.u32(), reader.u32()]
  const supportedMouseModes = (['server', 'client'] as const).filter((name) => (modes & MOUSE_MODE[name]) !== 0)
  const mouseMode = mouseModeOf(mode)
  return {
    sessionId,
    displayChannelsHint,
    supportedMouseModes,
    mouseMode,
    agentConnected,
    agentTokens,
    multiMediaTimeMs,
  }
}

function readChannels(reader: SpiceReader): ChannelId[] {
  const count = reader.count32(2, 'channels')
  return Array.from({ length: count }, () => ({ type: channelNameOf(reader.u8()), id: reader.u8() })).filter(
    (channel): channel is ChannelId => channel.type !== undefined && channel.type !== 'main',
  )
}

function mouseModeOf(number: number): MouseMode {
  return number === MOUSE_MODE.client ? 'client' : 'server'
}

function uuidText(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
