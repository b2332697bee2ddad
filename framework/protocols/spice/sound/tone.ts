import { configError } from '../../../core/errors.ts'
import type { SoundFormat } from '../channels/sound.ts'

export interface ToneOptions {
  /** From 1 to half of the samples a second that the guest records, which are 44,100 or 48,000. */
  frequencyHz: number
  /** Level of the wave's peaks, 0 is full scale. Default −6. */
  levelDbfs?: number | undefined
}

const FULL_SCALE = 32_767
const SAMPLE_BYTES = 2

/** A sine wave, made piece by piece, the same in all channels. */
export class Tone {
  readonly #format: SoundFormat
  readonly #step: number
  readonly #amplitude: number
  #frames = 0

  /** @throws `ATP_SPICE_SOUND_TONE` for a frequency or a level that no samples can hold. */
  constructor(format: SoundFormat, { frequencyHz, levelDbfs = -6 }: ToneOptions) {
    if (!(frequencyHz >= 1 && frequencyHz < format.frequencyHz / 2) || !(levelDbfs <= 0)) {
      throw configError('ATP_SPICE_SOUND_TONE', `no tone of ${frequencyHz} Hz at ${levelDbfs} dBFS can be sent`, {
        remedy: `give a frequency from 1 to ${format.frequencyHz / 2} Hz, and a level of at most 0`,
      })
    }
    this.#format = format
    this.#step = (2 * Math.PI * frequencyHz) / format.frequencyHz
    this.#amplitude = FULL_SCALE * 10 ** (levelDbfs / 20)
  }

  /** The next samples as bytes, where the last ones ended. */
  next(durationMs: number): Uint8Array<ArrayBuffer> {
    const { channels, frequencyHz } = this.#format
    const frames = Math.round((durationMs * frequencyHz) / 1000)
    const bytes = new Uint8Array(frames * channels * SAMPLE_BYTES)
    const view = new DataView(bytes.buffer)
    for (let frame = 0, at = 0; frame < frames; frame++) {
      const sample = Math.round(this.#amplitude * Math.sin(this.#step * this.#frames++))
      for (let channel = 0; channel < channels; channel++, at += SAMPLE_BYTES) view.setInt16(at, sample, true)
    }
    return bytes
  }
}
