import { messageOf, stateError, unsupportedError, type CallOptions } from '../core/index.ts'

/** One question for the guest's time, asked and answered at known host times. */
export interface ClockPing {
  /** Host monotonic time before the question left. */
  sentNs: bigint
  /** The guest's answer: its CLOCK_REALTIME in nanoseconds since the epoch. */
  guestNs: bigint
  /** Host monotonic time after the answer arrived. */
  receivedNs: bigint
}

/** `guest − host` lies within `[lowNs, highNs]` at host time `atNs`. */
export interface ClockOffset {
  lowNs: bigint
  highNs: bigint
  atNs: bigint
}

/** The guest agent and evdev both cut their timestamps to whole microseconds. */
const RESOLUTION_NS = 1000n
/**
 * How far two clocks of one machine may drift apart, in parts per million. 8 was measured under software
 * emulation; the allowance is the usual tolerance of a quartz.
 */
const DRIFT_PPM = 50n
const PINGS = 24
const PING_TIMEOUT_MS = 2000
const FRESH_MS = 5000
const KEPT = 64

/**
 * What a series of pings says about the offset.
 *
 * The guest read its clock at some moment between question and answer, so each ping bounds the offset from both
 * sides; all bounds hold at once, so the offset lies in their intersection. It is half as wide as the fastest
 * round trip, and narrower where delays fell on different sides.
 *
 * @returns undefined when the pings contradict one another: a clock was set in between.
 */
export function offsetOf(pings: readonly ClockPing[]): ClockOffset | undefined {
  const atNs = pings.at(-1)?.receivedNs
  if (atNs === undefined) return undefined
  const bounds = pings.map(({ sentNs, guestNs, receivedNs }) => ({
    lowNs: guestNs - receivedNs,
    highNs: guestNs + RESOLUTION_NS - sentNs,
    atNs: receivedNs,
  }))
  return intersect(bounds.map((bound) => movedTo(bound, atNs)))
}

/** The offset at another moment: wider by the drift that may have happened. */
function movedTo({ lowNs, highNs, atNs }: ClockOffset, toNs: bigint): ClockOffset {
  const age = toNs > atNs ? toNs - atNs : atNs - toNs
  const drift = (age * DRIFT_PPM) / 1_000_000n
  return { lowNs: lowNs - drift, highNs: highNs + drift, atNs: toNs }
}

function intersect(offsets: readonly ClockOffset[]): ClockOffset | undefined {
  const [first] = offsets
  if (!first) return undefined
  let { lowNs, highNs } = first
  for (const offset of offsets) {
    if (offset.lowNs > lowNs) lowNs = offset.lowNs
    if (offset.highNs < highNs) highNs = offset.highNs
  }
  return lowNs <= highNs ? { lowNs, highNs, atNs: first.atNs } : undefined
}

/**
 * The guest's clock as seen from the host's monotonic clock. Valid for one boot or restore: a restored guest's
 * clock resumes where the snapshot left it, so make a new one then.
 */
export class GuestClock {
  readonly #now: (options?: CallOptions) => Promise<bigint>
  readonly #estimates: ClockOffset[] = []

  /** @param now the guest's CLOCK_REALTIME in nanoseconds (`guest-get-time`). */
  constructor(now: (options?: CallOptions) => Promise<bigint>) {
    this.#now = now
  }

  /** True while the latest estimate is younger than 5 s. */
  get fresh(): boolean {
    const last = this.#estimates.at(-1)
    return last !== undefined && process.hrtime.bigint() - last.atNs < BigInt(FRESH_MS) * 1_000_000n
  }

  /**
   * Asks the guest 24 times and keeps what follows.
   *
   * @throws `ATP_CLOCK` when the guest does not tell its time, `ATP_CLOCK_UNSTEADY` when its clock jumps.
   */
  async estimate(options: CallOptions = {}): Promise<ClockOffset> {
    // A second series tells a clock that was set once, between two pings, from one that keeps jumping.
    for (let attempt = 1; attempt <= 2; attempt++) {
      const offset = offsetOf(await this.#ping(options))
      if (!offset) continue
      this.#forgetIfSet(offset)
      this.#estimates.push(offset)
      if (this.#estimates.length > KEPT) this.#estimates.shift()
      return offset
    }
    throw unsupportedError('ATP_CLOCK_UNSTEADY', "the guest's clock jumped between two readings, twice", {
      verdict: 'infrastructure',
      remedy: 'stop what sets the clock in the guest (time synchronisation) while latency is measured',
    })
  }

  /** Estimates again unless that happened within the last 5 s. */
  async refresh(options: CallOptions = {}): Promise<void> {
    if (!this.fresh) await this.estimate(options)
  }

  /**
   * Host monotonic time of a guest timestamp. The estimates before and after it are combined, so that a moment
   * between two of them is known as well as the nearer one.
   */
  toHostTime(guestNs: bigint): { hostNs: bigint; boundNs: bigint } {
    const last = this.#estimates.at(-1)
    if (!last) {
      throw stateError('ATP_CLOCK_UNKNOWN', 'the guest clock was never compared with the host clock')
    }
    const roughlyNs = guestNs - middle(last)
    const after = this.#estimates.findIndex((estimate) => estimate.atNs >= roughlyNs)
    const around = after < 0 ? [last] : this.#estimates.slice(Math.max(0, after - 1), after + 1)
    const moved = around.map((estimate) => movedTo(estimate, roughlyNs))
    const offset = intersect(moved) ?? movedTo(last, roughlyNs)
    return {
      // The timestamp was cut to a microsecond: on average the event happened half of one later.
      hostNs: guestNs + RESOLUTION_NS / 2n - middle(offset),
      boundNs: (offset.highNs - offset.lowNs + 1n) / 2n + RESOLUTION_NS / 2n,
    }
  }

  /** Estimates that the newest one contradicts belong to a time before the clock was set. */
  #forgetIfSet(newest: ClockOffset): void {
    const last = this.#estimates.at(-1)
    if (last && !intersect([movedTo(last, newest.atNs), newest])) this.#estimates.length = 0
  }

  async #ping(options: CallOptions): Promise<ClockPing[]> {
    const pings: ClockPing[] = []
    for (let count = 0; count < PINGS; count++) {
      const sentNs = process.hrtime.bigint()
      try {
        const guestNs = await this.#now({ timeoutMs: PING_TIMEOUT_MS, ...options })
        pings.push({ sentNs, guestNs, receivedNs: process.hrtime.bigint() })
      } catch (error) {
        if (options.signal?.aborted) throw error
        throw unsupportedError('ATP_CLOCK', `the guest did not tell its time: ${messageOf(error)}`, {
          cause: error,
          verdict: 'infrastructure',
        })
      }
    }
    return pings
  }
}

function middle({ lowNs, highNs }: ClockOffset): bigint {
  return (lowNs + highNs) / 2n
}
