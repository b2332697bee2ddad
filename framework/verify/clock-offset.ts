/** One question for the guest's time, asked and answered at known host times. */
export interface ClockPing {
  /** Host monotonic time before the question left. */
  sentNs: bigint
  /** The guest's answer: the clock that stamps its events, in nanoseconds since its epoch. */
  guestNs: bigint
  /** Host monotonic time after the answer arrived. */
  receivedNs: bigint
  /** How often the guest's clock was set so far, counted from any number; absent where nobody counts. */
  settings?: bigint
}

/** `guest − host` lies within `[lowNs, highNs]` from host time `fromNs` to `atNs`. */
export interface ClockOffset {
  lowNs: bigint
  highNs: bigint
  fromNs: bigint
  atNs: bigint
}

/**
 * How far two clocks of one machine may drift apart, in parts per million. 8 was measured under software
 * emulation; the allowance is the usual tolerance of a quartz.
 */
const DRIFT_PPM = 50n

/**
 * What a series of pings says about the offset.
 *
 * The guest read its clock at some moment between question and answer, so each ping bounds the offset from both
 * sides; all bounds hold at once, so the offset lies in their intersection. It is half as wide as the fastest
 * round trip, and narrower where delays fell on different sides.
 *
 * @param resolutionNs what the guest's answers are cut to.
 * @returns undefined when the pings contradict one another: the clock was set in between.
 */
export function offsetOf(pings: readonly ClockPing[], resolutionNs = 1000n): ClockOffset | undefined {
  const [first, last] = [pings.at(0), pings.at(-1)]
  if (!first || !last || first.settings !== last.settings) return undefined
  const bounds = pings.map(({ sentNs, guestNs, receivedNs }) => ({
    lowNs: guestNs - receivedNs,
    highNs: guestNs + resolutionNs - sentNs,
    fromNs: sentNs,
    atNs: receivedNs,
  }))
  const offset = intersection(bounds.map((bound) => movedTo(bound, last.receivedNs)))
  return offset && { ...offset, fromNs: first.sentNs }
}

/** Whether both may be true of a clock that nobody set in between. */
export function agree(earlier: ClockOffset, later: ClockOffset): boolean {
  return intersection([movedTo(earlier, later.atNs), later]) !== undefined
}

/** Where the offset was all the time from the first to the last of these, also if it crept from one to the other. */
export function hull(offsets: readonly [ClockOffset, ...ClockOffset[]]): ClockOffset {
  const all = { ...offsets[0] }
  for (const { lowNs, highNs, fromNs, atNs } of offsets) {
    if (lowNs < all.lowNs) all.lowNs = lowNs
    if (highNs > all.highNs) all.highNs = highNs
    if (fromNs < all.fromNs) all.fromNs = fromNs
    if (atNs > all.atNs) all.atNs = atNs
  }
  return all
}

/** The offset at another moment: wider by the drift that may have happened. */
export function movedTo({ lowNs, highNs, fromNs, atNs }: ClockOffset, toNs: bigint): ClockOffset {
  const age = toNs > atNs ? toNs - atNs : toNs < fromNs ? fromNs - toNs : 0n
  const drift = (age * DRIFT_PPM) / 1_000_000n
  return { lowNs: lowNs - drift, highNs: highNs + drift, fromNs: toNs, atNs: toNs }
}

function intersection(offsets: readonly ClockOffset[]): ClockOffset | undefined {
  const [first] = offsets
  if (!first) return undefined
  let { lowNs, highNs } = first
  for (const offset of offsets) {
    if (offset.lowNs > lowNs) lowNs = offset.lowNs
    if (offset.highNs < highNs) highNs = offset.highNs
  }
  return lowNs <= highNs ? { ...first, lowNs, highNs } : undefined
}

export function middle({ lowNs, highNs }: ClockOffset): bigint {
  return (lowNs + highNs) / 2n
}
