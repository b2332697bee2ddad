import { configError, unsupportedError, type AtpError } from '../../../core/errors.ts'
import type { SoundFormat } from '../channels/sound.ts'
import { spiceProtocolError } from '../errors.ts'
import type { PacketTime } from './gaps.ts'
import { soundOf, type Sound } from './sound.ts'

/** Six minutes of 44.1 kHz in two channels. */
const SAMPLES_MAX_BYTES = 64 * 1024 * 1024
/** Seven minutes of packets of a millisecond. */
const PACKETS_MAX = 400_000
const SAMPLE_BYTES = 2

/** Keeps what a playback channel brings, packet by packet. */
export class SoundRecording {
  readonly #place: string
  readonly #packets: Uint8Array[] = []
  readonly #parts: PacketTime[][] = []
  #part: PacketTime[] | undefined
  #format: SoundFormat | undefined
  #bytes = 0
  #encodedPackets = 0
  #failure: AtpError | undefined

  /** @param place of the channel, for messages. */
  constructor(place: string) {
    this.#place = place
  }

  /** The guest begins to play, or plays already. */
  start(format: SoundFormat): void {
    const { channels, frequencyHz } = (this.#format ??= format)
    if (channels !== format.channels || frequencyHz !== format.frequencyHz) {
      const what = `sound of ${channels} channels at ${frequencyHz} Hz goes on with ${format.channels} at ${format.frequencyHz} Hz`
      this.#failure ??= unsupportedError('ATP_SPICE_UNSUPPORTED', `${this.#place}: ${what}`)
    }
    this.#part = undefined
  }

  /** The guest stopped, or the channel was lost: what comes next is another stretch. */
  stop(): void {
    this.#part = undefined
  }

  /** One packet of samples. @throws `ATP_SPICE_PROTOCOL` for samples without a format, or for half of a sample. */
  add(timeMs: number, packet: Uint8Array): void {
    if (!this.#format) throw spiceProtocolError(this.#place, 'samples came before their format')
    const frameBytes = this.#format.channels * SAMPLE_BYTES
    if (packet.length % frameBytes !== 0) {
      throw spiceProtocolError(this.#place, `a packet of ${packet.length} bytes for samples of ${frameBytes}`)
    }
    // Without samples it says nothing but that the guest plays.
    if (packet.length === 0) return
    const isTooMuch = this.#bytes + packet.length > SAMPLES_MAX_BYTES || this.#packets.length >= PACKETS_MAX
    if (isTooMuch) this.#failure ??= soundLengthError()
    if (this.#failure) return
    if (!this.#part) this.#parts.push((this.#part = []))
    this.#part.push({ timeMs, framesBefore: this.#bytes / frameBytes })
    this.#packets.push(packet.slice())
    this.#bytes += packet.length
  }

  /** One packet in a codec. */
  addEncoded(): void {
    this.#encodedPackets++
  }

  /** @throws `ATP_SPICE_SOUND_LENGTH`, `ATP_SPICE_UNSUPPORTED` when the format changed on the way. */
  finish(): Sound {
    if (this.#failure) throw this.#failure
    const samples = new Int16Array(this.#bytes / SAMPLE_BYTES)
    let next = 0
    for (const packet of this.#packets) {
      const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
      for (let at = 0; at < packet.length; at += SAMPLE_BYTES) samples[next++] = view.getInt16(at, true)
    }
    return soundOf({ format: this.#format, samples, parts: this.#parts, encodedPackets: this.#encodedPackets })
  }
}

/** A time of listening, or a sound, that is too long to be kept, or no time at all. */
export function soundLengthError(): AtpError {
  return configError('ATP_SPICE_SOUND_LENGTH', 'sound is kept for at most 5 minutes', {
    remedy: 'give a time from 1 to 300,000 ms; listen to longer sound in parts',
  })
}
