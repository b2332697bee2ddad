import type { SoundFormat } from '../channels/sound.ts'
import { dominantFrequencyHz } from './frequency.ts'
import { silencesOf, timingOf, type PacketTime, type SoundGap } from './gaps.ts'
import { encodeWav } from './wav.ts'

/** What silence is called, since its level has no number. Samples of 16 bits reach down to −90. */
const SILENCE_DBFS = -100
const FULL_SCALE = 32_768
/** −60 dBFS */
const AUDIBLE = 33

/** What was heard, and its figures. */
export interface Sound {
  /** Undefined when the guest played nothing. */
  format: SoundFormat | undefined
  /** How long the samples last. */
  durationMs: number
  /** Level of all samples, and of the loudest; 0 is full scale, −100 silence. */
  rmsDbfs: number
  peakDbfs: number
  /** The strongest frequency; undefined for silence. */
  frequencyHz: number | undefined
  /** In the order of time. Sounds shorter than 30 ms apart have none between them. */
  gaps: readonly SoundGap[]
  /** By how much the packet that was latest came behind the sound that it carries, by the server's clock. */
  latestMs: number
  packets: number
  /** Packets in a codec, which nothing here can decode: they count for nothing else. */
  encodedPackets: number
  /** Signed 16 bits, channels interleaved. */
  samples: Int16Array<ArrayBuffer>
  /** The samples as a file. Without any it is an empty one. */
  wav(): Uint8Array<ArrayBuffer>
}

/** What is known of a recording. */
export interface SoundSource {
  format: SoundFormat | undefined
  samples: Int16Array<ArrayBuffer>
  /** Packets by stretches between which the guest stopped. */
  parts: readonly (readonly PacketTime[])[]
  encodedPackets: number
}

/** Works out the figures. */
export function soundOf({ format, samples, parts, encodedPackets }: SoundSource): Sound {
  const { channels, frequencyHz: rateHz } = format ?? { channels: 2, frequencyHz: 44_100 }
  const frames = Math.floor(samples.length / channels)
  const mono = new Float32Array(frames)
  const loudness = new Uint16Array(frames)
  let [squares, peak] = [0, 0]
  for (const [index, sample] of samples.entries()) {
    const frame = Math.floor(index / channels)
    const size = Math.abs(sample)
    mono[frame] = (mono[frame] ?? 0) + sample / channels
    loudness[frame] = Math.max(loudness[frame] ?? 0, size)
    squares += sample * sample
    peak = Math.max(peak, size)
  }
  const timings = parts.map((packets) => timingOf(packets, rateHz))
  const gaps = [
    ...timings.flatMap((timing) => timing.gaps),
    ...stopsOf(parts, rateHz),
    ...silencesOf(loudness, rateHz, AUDIBLE),
  ]
  return {
    format,
    durationMs: (frames * 1000) / rateHz,
    rmsDbfs: dbfs(Math.sqrt(squares / Math.max(1, samples.length))),
    peakDbfs: dbfs(peak),
    frequencyHz: dominantFrequencyHz(mono, rateHz),
    gaps: gaps.toSorted((a, b) => a.atMs - b.atMs),
    latestMs: timings.reduce((most, { latestMs }) => Math.max(most, latestMs), 0),
    packets: parts.reduce((sum, packets) => sum + packets.length, 0),
    encodedPackets,
    samples,
    wav: () => encodeWav(samples, { channels, frequencyHz: rateHz }),
  }
}

/** The pauses between stretches: from where the samples of one end by the clock to the first packet of the next. */
function stopsOf(parts: readonly (readonly PacketTime[])[], rateHz: number): SoundGap[] {
  return parts.slice(1).flatMap((part, index) => {
    const [before, next] = [parts[index]?.[0], part[0]]
    if (!before || !next) return []
    const playedMs = ((next.framesBefore - before.framesBefore) * 1000) / rateHz
    const durationMs = Math.max(0, ((next.timeMs - before.timeMs) | 0) - playedMs)
    return [{ atMs: (next.framesBefore * 1000) / rateHz, durationMs, kind: 'stopped' as const }]
  })
}

function dbfs(size: number): number {
  return size === 0 ? SILENCE_DBFS : Math.max(SILENCE_DBFS, 20 * Math.log10(size / FULL_SCALE))
}
