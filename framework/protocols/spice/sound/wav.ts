import type { SoundFormat } from '../channels/sound.ts'
import { SpiceWriter } from '../wire/writer.ts'

const HEADER_BYTES = 44
const SAMPLE_BYTES = 2

/** A WAV file of samples of 16 bits, channels interleaved. */
export function encodeWav(samples: Int16Array, { channels, frequencyHz }: SoundFormat): Uint8Array<ArrayBuffer> {
  const dataBytes = samples.length * SAMPLE_BYTES
  const frameBytes = channels * SAMPLE_BYTES
  const file = new Uint8Array(HEADER_BYTES + dataBytes)
  const header = new SpiceWriter(HEADER_BYTES)
    .text('RIFF')
    .u32(HEADER_BYTES - 8 + dataBytes)
    .text('WAVEfmt ')
    .u32(16)
    // PCM
    .u16(1)
    .u16(channels)
    .u32(frequencyHz)
    .u32(frequencyHz * frameBytes)
    .u16(frameBytes)
    .u16(8 * SAMPLE_BYTES)
    .text('data')
    .u32(dataBytes)
  file.set(header.finish())
  const view = new DataView(file.buffer, HEADER_BYTES)
  for (const [index, sample] of samples.entries()) view.setInt16(index * SAMPLE_BYTES, sample, true)
  return file
}
