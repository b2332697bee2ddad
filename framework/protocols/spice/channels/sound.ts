import { SpiceChannel, type ChannelHost } from '../channel.ts'
import { AUDIO_MODE, PLAYBACK_CAP, PLAYBACK_SERVER, RECORD_CAP, RECORD_CLIENT, RECORD_SERVER } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'

/** How samples come and go: signed 16 bits, channels interleaved. */
export interface SoundFormat {
  channels: number
  /** Samples of a channel per second. */
  frequencyHz: number
}

export type SoundMode = keyof typeof AUDIO_MODE

export interface PlaybackEvents {
  onStart?(format: SoundFormat): void
  /** How the samples of the packets that follow are encoded. */
  onMode?(mode: SoundMode): void
  /** One packet; `timeMs` is the server's multimedia clock. */
  onData?(timeMs: number, packet: Uint8Array): void
  onStop?(): void
  /** 0 to 65535 for each channel. */
  onVolume?(volumes: readonly number[]): void
  onMute?(muted: boolean): void
}

/** `SPICE_AUDIO_FMT_S16`, the only one there is. */
const FORMAT_S16 = 1
const CHANNELS_MAX = 8
/** Twice of what sound cards have. */
const FREQUENCY_MAX_HZ = 768_000

/** Sound from the VM. It names no codec unless told to: packets are samples then. */
export class PlaybackChannel extends SpiceChannel {
  events: PlaybackEvents = {}
  readonly #opus: boolean

  constructor(host: ChannelHost, id = 0, { opus = false }: { opus?: boolean } = {}) {
    super(host, { type: 'playback', id })
    this.#opus = opus
  }

  protected override get capabilities(): readonly number[] {
    return [PLAYBACK_CAP.volume, PLAYBACK_CAP.latency, ...(this.#opus ? [PLAYBACK_CAP.opus] : [])]
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    const reader = new SpiceReader(body, `${this.place}, message ${type}`)
    switch (type) {
      // What nobody listens to must be right all the same.
      case PLAYBACK_SERVER.data: {
        const timeMs = reader.u32()
        this.events.onData?.(timeMs, reader.rest())
        return true
      }
      case PLAYBACK_SERVER.mode: {
        reader.skip(4)
        const mode = modeOf(reader)
        this.events.onMode?.(mode)
        return true
      }
      case PLAYBACK_SERVER.start: {
        const format = readFormat(reader)
        this.events.onStart?.(format)
        return true
      }
      case PLAYBACK_SERVER.stop:
        this.events.onStop?.()
        return true
      case PLAYBACK_SERVER.volume: {
        const volumes = readVolumes(reader)
        this.events.onVolume?.(volumes)
        return true
      }
      case PLAYBACK_SERVER.mute: {
        const isMuted = reader.u8() !== 0
        this.events.onMute?.(isMuted)
        return true
      }
      // What the server would like to be told of the latency here; nobody plays the sound here.
      case PLAYBACK_SERVER.latency:
        return true
      default:
        return false
    }
  }
}

export interface RecordEvents {
  /** The guest begins to record: {@link RecordChannel.sendData} is of use from now on. */
  onStart?(format: SoundFormat): void
  onStop?(): void
}

/** Sound to the VM, as samples. */
export class RecordChannel extends SpiceChannel {
  events: RecordEvents = {}

  constructor(host: ChannelHost, id = 0) {
    super(host, { type: 'record', id })
  }

  /** Says how packets are encoded, and that they begin at `timeMs` of our clock. Before the first packet. */
  async begin(timeMs: number): Promise<void> {
    await this.send(RECORD_CLIENT.mode, new SpiceWriter(6).u32(timeMs).u16(AUDIO_MODE.raw).finish())
    await this.send(RECORD_CLIENT.startMark, new SpiceWriter(4).u32(timeMs).finish())
  }

  /** Sends samples. */
  async sendData(timeMs: number, samples: Uint8Array): Promise<void> {
    await this.send(RECORD_CLIENT.data, new SpiceWriter(4 + samples.length).u32(timeMs).bytes(samples).finish())
  }

  protected override get capabilities(): readonly number[] {
    return [RECORD_CAP.volume]
  }

  protected override handle(type: number, body: Uint8Array): boolean {
    switch (type) {
      case RECORD_SERVER.start: {
        const format = readFormat(new SpiceReader(body, `${this.place}, start`))
        this.events.onStart?.(format)
        return true
      }
      case RECORD_SERVER.stop:
        this.events.onStop?.()
        return true
      // The guest's mixer; there is no microphone here that it could move.
      case RECORD_SERVER.volume:
      case RECORD_SERVER.mute:
        return true
      default:
        return false
    }
  }
}

/** `channels u32, format u16, frequency u32`; playback adds a time. */
function readFormat(reader: SpiceReader): SoundFormat {
  const [channels, format, frequencyHz] = [reader.u32(), reader.u16(), reader.u32()]
  if (
    format !== FORMAT_S16 ||
    channels < 1 ||
    channels > CHANNELS_MAX ||
    !(frequencyHz >= 1 && frequencyHz <= FREQUENCY_MAX_HZ)
  )
    throw reader.error(`sound of ${channels} channels at ${frequencyHz} Hz in format ${format}`)
  return { channels, frequencyHz }
}

function readVolumes(reader: SpiceReader): number[] {
  const count = reader.counted(reader.u8(), 2, 'volumes')
  return Array.from({ length: count }, () => reader.u16())
}

function modeOf(reader: SpiceReader): SoundMode {
  const number = reader.u16()
  const mode = (Object.keys(AUDIO_MODE) as SoundMode[]).find((name) => AUDIO_MODE[name] === number)
  if (!mode) throw reader.error(`sound in mode ${number}`)
  return mode
}
