/** A stretch in which a listener hears nothing although sound goes on before and after it. */
export interface SoundGap {
  /** When it begins, milliseconds of sound since the first sample. */
  atMs: number
  durationMs: number
  /**
   * `missing`: by the server's clock more time went by than samples came, and they never came. `stopped`: the guest
   * stopped playing and began again, or the channel was lost. `silent`: samples came, and they are silence.
   */
  kind: 'missing' | 'stopped' | 'silent'
}

/** One packet of a stretch in which the guest played without stopping. */
export interface PacketTime {
  /** The server's clock in ms; begins anew after 2^32. */
  timeMs: number
  /** Samples of a channel before this packet, since the first of all. */
  framesBefore: number
}

/** Shorter ones are not told from the rhythm in which a hypervisor serves its sound card. */
const GAP_MIN_MS = 30
/** What is late at the very end may only have had no time to be made up for. */
const JUDGED_BEFORE_END_MS = 100

export interface Timing {
  gaps: SoundGap[]
  /** How late a packet came at most, gaps apart: what a player must hold back. */
  latestMs: number
}

/** What the times of one stretch's packets say. A packet is late by what the clock is ahead of the samples. */
export function timingOf(packets: readonly PacketTime[], frequencyHz: number): Timing {
  const first = packets[0]
  if (!first) return { gaps: [], latestMs: 0 }
  const msOf = (frames: number) => (frames * 1000) / frequencyHz
  const late = packets.map(
    ({ timeMs, framesBefore }) => ((timeMs - first.timeMs) | 0) - msOf(framesBefore - first.framesBefore),
  )
  // Lateness that a later packet does not have is made up for; what stays is a gap.
  const staying = new Float64Array(late.length)
  let least = Infinity
  for (let at = late.length - 1; at >= 0; at--) staying[at] = least = Math.min(least, late[at] as number)
  const endMs = msOf((packets.at(-1) ?? first).framesBefore)
  const gaps: SoundGap[] = []
  let latestMs = 0
  let known = staying[0] as number
  for (const [at, { framesBefore }] of packets.entries()) {
    const atMs = msOf(framesBefore)
    const stays = staying[at] as number
    if (stays - known >= GAP_MIN_MS && atMs <= endMs - JUDGED_BEFORE_END_MS) {
      gaps.push({ atMs, durationMs: stays - known, kind: 'missing' })
      known = stays
    }
    latestMs = Math.max(latestMs, (late[at] as number) - known)
  }
  return { gaps, latestMs }
}

/** Stretches of silence between the first and the last sample that is none. `loudness` has one value for each frame. */
export function silencesOf(loudness: ArrayLike<number>, frequencyHz: number, audible: number): SoundGap[] {
  const gaps: SoundGap[] = []
  let heardAt: number | undefined
  for (let at = 0; at < loudness.length; at++) {
    if ((loudness[at] as number) < audible) continue
    const durationMs = heardAt === undefined ? 0 : ((at - heardAt - 1) * 1000) / frequencyHz
    if (durationMs >= GAP_MIN_MS) {
      gaps.push({ atMs: (((heardAt as number) + 1) * 1000) / frequencyHz, durationMs, kind: 'silent' })
    }
    heardAt = at
  }
  return gaps
}
