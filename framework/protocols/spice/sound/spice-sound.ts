import { sleep, withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { stateError, timeoutError } from '../../../core/errors.ts'
import type { PlaybackChannel, RecordChannel, SoundFormat, SoundMode } from '../channels/sound.ts'
import { channelClosedError } from '../errors.ts'
import type { SpiceVmConnection } from '../vm-connection.ts'
import { soundLengthError, SoundRecording } from './recording.ts'
import type { Sound } from './sound.ts'
import { Tone, type ToneOptions } from './tone.ts'

const SOUND_MAX_MS = 300_000
/** How long the guest may take to begin to record. */
const RECORD_TIMEOUT_MS = 10_000
/** How much is sent ahead of its time, and in one message. */
const LEAD_MS = 100
const CHUNK_MS = 20

export interface ListenOptions extends CallOptions {
  /** How long to listen, from 1 to 300,000. */
  forMs: number
}

/** Listening under way. */
export interface Listening {
  /** Ends it. @throws `ATP_SPICE_SOUND_LENGTH` after more than five minutes of sound, what ended the channel. */
  stop(): Sound
}

export interface SendToneOptions extends ToneOptions, CallOptions {
  /** How long the tone is, from 1 to 300,000. */
  forMs: number
}

/** What the guest was sent. */
export interface SentTone {
  /** Shorter than asked for when the guest stopped recording. */
  sentMs: number
  format: SoundFormat
}

/**
 * The sound of a VM: listens to what it plays, and plays to what it records. The channels are opened when they are first
 * used, and are this object's from then on.
 */
export class SpiceSound {
  readonly #connection: SpiceVmConnection
  readonly #recordings = new Set<SoundRecording>()
  #playing: SoundFormat | undefined
  #mode: SoundMode = 'raw'
  #playback: PlaybackChannel | undefined
  #record: RecordChannel | undefined
  #recorded: SoundFormat | undefined
  #recordChanged = Promise.withResolvers<void>()

  constructor(connection: SpiceVmConnection) {
    this.#connection = connection
  }

  /**
   * Listens for a time that begins now, whether the guest plays something or not.
   *
   * @throws `ATP_SPICE_SOUND_LENGTH`, what {@link startListening} throws, `ATP_INTERRUPTED`.
   */
  async listen({ forMs, ...options }: ListenOptions): Promise<Sound> {
    assertLength(forMs)
    const listening = await this.startListening(options)
    try {
      await sleep(forMs, options.signal)
    } catch (error) {
      listening.stop()
      throw error
    }
    return listening.stop()
  }

  /**
   * Listens until the returned object is told to stop.
   *
   * @throws `ATP_SPICE_SOUND_TAKEN`, `ATP_SPICE_NO_CHANNEL` when the VM has no sound card whose sound goes over SPICE.
   */
  async startListening(options?: CallOptions): Promise<Listening> {
    const channel = await this.#openPlayback(options)
    const recording = new SoundRecording(channel.place)
    if (this.#playing) recording.start(this.#playing)
    this.#recordings.add(recording)
    return {
      stop: () => {
        this.#recordings.delete(recording)
        if (channel.state === 'closed' || channel.state === 'failed') {
          throw channel.error ?? channelClosedError(channel.place)
        }
        return recording.finish()
      },
    }
  }

  /**
   * Sends a tone to the guest at the pace of time, once the guest records. It ends early when the guest stops.
   *
   * @throws `ATP_SPICE_SOUND_UNHEARD` when the guest does not record within `timeoutMs` (default 10 s),
   *   `ATP_SPICE_SOUND_TONE`, `ATP_SPICE_SOUND_LENGTH`, `ATP_SPICE_SOUND_TAKEN`, `ATP_SPICE_NO_CHANNEL`,
   *   `ATP_INTERRUPTED`, what ended the channel.
   */
  async sendTone({ forMs, frequencyHz, levelDbfs, ...options }: SendToneOptions): Promise<SentTone> {
    assertLength(forMs)
    const channel = await this.#openRecord(options)
    const format = await this.#untilRecorded(channel, options)
    const tone = new Tone(format, { frequencyHz, levelDbfs })
    await channel.begin(0)
    const startedMs = performance.now()
    let sentMs = 0
    while (sentMs < forMs && this.#recorded) {
      const chunkMs = Math.min(CHUNK_MS, forMs - sentMs)
      await channel.sendData(Math.floor(sentMs), tone.next(chunkMs))
      sentMs += chunkMs
      const aheadMs = sentMs - (performance.now() - startedMs)
      if (aheadMs > LEAD_MS) await sleep(aheadMs - LEAD_MS, options.signal)
    }
    if (channel.state !== 'open') throw channel.error ?? channelClosedError(channel.place)
    // What was sent ahead is still to be heard.
    if (this.#recorded) await sleep(Math.max(0, sentMs - (performance.now() - startedMs)), options.signal)
    return { sentMs, format }
  }

  async #openPlayback(options?: CallOptions): Promise<PlaybackChannel> {
    const channel = await this.#connection.openChannel('playback', {
      ...options,
      prepare: (opening) => this.#preparePlayback(opening),
    })
    if (channel !== this.#playback) throw takenError(channel.place, 'listen')
    return channel
  }

  #preparePlayback(channel: PlaybackChannel): void {
    if (channel === this.#playback) return
    this.#playback = channel
    const stop = () => {
      this.#playing = undefined
      for (const recording of this.#recordings) recording.stop()
    }
    channel.events = {
      onMode: (mode) => (this.#mode = mode),
      onStart: (format) => {
        this.#playing = format
        for (const recording of this.#recordings) recording.start(format)
      },
      onData: (timeMs, packet) => {
        for (const recording of this.#recordings) {
          if (this.#mode === 'raw') recording.add(timeMs, packet)
          else recording.addEncoded()
        }
      },
      onStop: stop,
    }
    channel.onStateChange(({ to }) => (to === 'lost' ? stop() : undefined))
  }

  async #openRecord(options: CallOptions): Promise<RecordChannel> {
    const channel = await this.#connection.openChannel('record', {
      ...options,
      prepare: (opening) => this.#prepareRecord(opening),
    })
    if (channel !== this.#record) throw takenError(channel.place, 'sendTone')
    return channel
  }

  #prepareRecord(channel: RecordChannel): void {
    if (channel === this.#record) return
    this.#record = channel
    const set = (format: SoundFormat | undefined) => {
      this.#recorded = format
      this.#recordChanged.resolve()
      this.#recordChanged = Promise.withResolvers()
    }
    channel.events = { onStart: set, onStop: () => set(undefined) }
    channel.onStateChange(({ to }) => (to === 'open' || to === 'connecting' ? undefined : set(undefined)))
  }

  async #untilRecorded(channel: RecordChannel, { signal, timeoutMs = RECORD_TIMEOUT_MS }: CallOptions) {
    try {
      return await withDeadline(`${channel.place}: the guest to record`, { signal, timeoutMs }, async (bound) => {
        while (!this.#recorded && !bound.aborted) await this.#recordChanged.promise
        return this.#recorded as SoundFormat
      })
    } catch (error) {
      if ((error as { code?: string }).code !== 'ATP_TIMEOUT') throw error
      throw timeoutError(
        'ATP_SPICE_SOUND_UNHEARD',
        `${channel.place}: the guest did not record within ${timeoutMs} ms`,
        {
          context: { place: channel.place, timeoutMs },
          remedy: 'start a program in the guest that records',
        },
      )
    }
  }
}

function assertLength(forMs: number): void {
  if (!(forMs >= 1 && forMs <= SOUND_MAX_MS)) throw soundLengthError()
}

function takenError(place: string, verb: string): Error {
  return stateError('ATP_SPICE_SOUND_TAKEN', `${place}: the channel was opened past the VM's sound`, {
    context: { place },
    remedy: `use sound.${verb}() instead of connection.openChannel`,
  })
}
