import { logger, messageOf, sleep, stateError, unsupportedError, type CallOptions } from '../core/index.ts'
import type { ClockWatch, HostTime } from '../input/api.ts'
import { agree, hull, middle, movedTo, offsetOf, type ClockOffset, type ClockPing } from './clock-offset.ts'

/** Something that tells a guest's time. */
export interface ClockSource {
  /** For the report: `echo`, `guest-get-time`, `agent`. */
  readonly name: string
  /** What its answers are cut to, nanoseconds. */
  readonly resolutionNs: bigint
  ping(options?: CallOptions): Promise<ClockPing>
  close?(): void
}

/** The guest's CLOCK_REALTIME in nanoseconds. */
type Now = (options?: CallOptions) => Promise<bigint>

interface Series {
  pings: ClockPing[]
  source: ClockSource
}

interface Estimate extends ClockOffset {
  source: ClockSource
  settings: bigint | undefined
}

/** The guest's kernel cuts the time stamps of its events to whole microseconds. */
const STAMP_RESOLUTION_NS = 1000n
const PING_TIMEOUT_MS = 2000
/** Pings when nothing is known yet. */
const FIRST_PINGS = 24
/** Later: until the offset is known this well, or they took this long; in any case so many. */
const ENOUGH_NS = 150_000n
const SERIES_MS = 8
const FEWEST_PINGS = 4
const MOST_PINGS = 24
/** An action begins with a comparison no older than this, milliseconds. */
const FRESH_MS = 500
/** Pauses between comparisons during a long action: longer while the clocks agree, milliseconds. */
const WATCH_MS = { shortest: 250, longest: 4000 }
/** Comparisons of four and a half hours. */
const KEPT = 4096

/** Reasons for which a time stamp has no host time. */
const CLOCK_WAS_SET = 'the guest clock was set meanwhile'
const NOT_CONFIRMED = 'the guest clock could not be compared before and after it'

/**
 * The guest's clock as seen from the host's monotonic clock. Valid for one boot or restore: a restored guest's
 * clock resumes where the snapshot left it, so make a new one then.
 *
 * A comparison is a series of pings. What happened between two comparisons counts when they agree; the offset then was
 * somewhere in what either of them allows.
 */
export class GuestClock {
  readonly #fallback: ClockSource
  #source: ClockSource
  readonly #estimates: Estimate[] = []
  #silent = false

  /** @param source of the guest's time; a function is taken for `guest-get-time`, which cuts to microseconds. */
  constructor(source: ClockSource | Now) {
    this.#fallback = typeof source === 'function' ? sourceOf(source) : source
    this.#source = this.#fallback
  }

  /** Name of the source that tells the time now. */
  get source(): string {
    return this.#source.name
  }

  /** Whether a source given to {@link prefer} tells the time. */
  get preferred(): boolean {
    return this.#source !== this.#fallback
  }

  /** Whether a better source is of use: none tells the time, and none was silent from the start. */
  get wantsBetter(): boolean {
    return !this.preferred && !this.#silent
  }

  /** True while the latest comparison is younger than half a second. */
  get fresh(): boolean {
    const last = this.#estimates.at(-1)
    return last !== undefined && process.hrtime.bigint() - last.atNs < BigInt(FRESH_MS) * 1_000_000n
  }

  /** Takes over a better source of the same clock, if it answers. The first one is used again once it does not. */
  async prefer(source: ClockSource, options: CallOptions = {}): Promise<void> {
    try {
      await source.ping({ timeoutMs: PING_TIMEOUT_MS, ...options })
    } catch (error) {
      source.close?.()
      if (options.signal?.aborted) throw error
      this.#silent = true
      logger('input').debug('the guest clock is not asked by {name}: {reason}', {
        name: source.name,
        reason: messageOf(error),
      })
      return
    }
    this.#source = source
  }

  /**
   * Compares the clocks and keeps what follows.
   *
   * @throws `ATP_CLOCK` when the guest does not tell its time, `ATP_CLOCK_UNSTEADY` when its clock jumps.
   */
  async estimate(options: CallOptions = {}): Promise<ClockOffset> {
    // A second series tells a clock that was set once, between two pings, from one that keeps jumping.
    for (let attempt = 1; attempt <= 2; attempt++) {
      const { pings, source } = await this.#series(options)
      const offset = offsetOf(pings, source.resolutionNs)
      if (!offset) continue
      this.#estimates.push({ ...offset, source, settings: pings.at(-1)?.settings })
      if (this.#estimates.length > KEPT) this.#estimates.shift()
      return offset
    }
    throw unsupportedError('ATP_CLOCK_UNSTEADY', "the guest's clock jumped between two readings, twice", {
      verdict: 'infrastructure',
      remedy: 'stop what sets the clock in the guest (time synchronisation) while latency is measured',
    })
  }

  /** Compares again unless that happened within the last half second. */
  async refresh(options: CallOptions = {}): Promise<void> {
    if (!this.fresh) await this.estimate(options)
  }

  /**
   * Compares the clocks before an action, and now and then while it lasts.
   *
   * @throws as {@link estimate}
   */
  async watch(options: CallOptions = {}): Promise<ClockWatch> {
    await this.refresh(options)
    const over = new AbortController()
    const watching = this.#keepComparing(over.signal)
    const stop = async () => {
      over.abort()
      await watching
    }
    return {
      stop,
      confirm: async (bounds) => {
        await stop()
        await this.estimate(bounds)
      },
    }
  }

  /**
   * Host monotonic time of a guest timestamp.
   *
   * @param within host times between which it was given. Without it the latest comparison is taken to hold, whatever
   * happened since.
   */
  toHostTime(guestNs: bigint, within?: { fromNs: bigint; toNs: bigint }): HostTime {
    const last = this.#estimates.at(-1)
    if (!last) {
      throw stateError('ATP_CLOCK_UNKNOWN', 'the guest clock was never compared with the host clock')
    }
    if (!within) return hostTime(guestNs, movedTo(last, guestNs - middle(last)))
    const before = this.#estimates.findLastIndex(({ atNs }) => atNs <= within.fromNs)
    // From there on, so that the samples of a long run do not go through all of its comparisons each.
    const later = this.#estimates.slice(Math.max(0, before))
    const after = later.findIndex(({ fromNs }) => fromNs >= within.toNs)
    const [first, ...rest] = later.slice(0, after < 0 ? undefined : after + 1)
    if (!first || before < 0 || after < 0) return { ...hostTime(guestNs, last), invalid: NOT_CONFIRMED }
    const around = [first, ...rest] as const
    const set = rest.some((estimate, index) => wasSet(around[index] as Estimate, estimate))
    return { ...hostTime(guestNs, hull(around)), ...(set ? { invalid: CLOCK_WAS_SET } : {}) }
  }

  /** Ends the preferred source. */
  close(): void {
    if (this.preferred) this.#source.close?.()
    this.#source = this.#fallback
  }

  async #keepComparing(signal: AbortSignal): Promise<void> {
    let pauseMs = WATCH_MS.shortest
    while (!signal.aborted) {
      try {
        await sleep(pauseMs, signal)
        const before = this.#estimates.at(-1)
        await this.estimate()
        const after = this.#estimates.at(-1)
        const steady = before !== undefined && after !== undefined && !wasSet(before, after)
        pauseMs = steady ? Math.min(pauseMs * 2, WATCH_MS.longest) : WATCH_MS.shortest
      } catch (error) {
        // What was not compared meanwhile is left to the comparison at the end.
        if (!signal.aborted) logger('input').debug('{reason}', { reason: messageOf(error) })
      }
    }
  }

  async #series(options: CallOptions): Promise<Series> {
    const preferred = this.#source
    try {
      return await this.#pings(preferred, options)
    } catch (error) {
      if (options.signal?.aborted) throw error
      if (preferred === this.#fallback) throw unknownTime(error)
      const series = await this.#fallbackSeries(options)
      // A guest that stands still answers nobody; that is not the source's fault.
      if (this.#source === preferred) this.close()
      logger('input').debug('the guest clock is asked by {name} again: {reason}', {
        name: this.#fallback.name,
        reason: messageOf(error),
      })
      return series
    }
  }

  async #fallbackSeries(options: CallOptions): Promise<Series> {
    try {
      return await this.#pings(this.#fallback, options)
    } catch (error) {
      if (options.signal?.aborted) throw error
      throw unknownTime(error)
    }
  }

  async #pings(source: ClockSource, options: CallOptions): Promise<Series> {
    const known = this.#estimates.at(-1)?.source === source
    const endMs = performance.now() + SERIES_MS
    const pings: ClockPing[] = []
    const enough = () => {
      if (!known) return pings.length >= FIRST_PINGS
      if (pings.length < FEWEST_PINGS) return false
      if (pings.length >= MOST_PINGS || performance.now() > endMs) return true
      const offset = offsetOf(pings, source.resolutionNs)
      return offset === undefined || offset.highNs - offset.lowNs <= 2n * ENOUGH_NS
    }
    while (!enough()) pings.push(await source.ping({ timeoutMs: PING_TIMEOUT_MS, ...options }))
    return { pings, source }
  }
}

function wasSet(earlier: Estimate, later: Estimate): boolean {
  return (earlier.source === later.source && earlier.settings !== later.settings) || !agree(earlier, later)
}

function hostTime(guestNs: bigint, offset: ClockOffset): HostTime {
  return {
    // The timestamp was cut to a microsecond: on average the event happened half of one later.
    hostNs: guestNs + STAMP_RESOLUTION_NS / 2n - middle(offset),
    boundNs: (offset.highNs - offset.lowNs + 1n) / 2n + STAMP_RESOLUTION_NS / 2n,
  }
}

function sourceOf(now: Now): ClockSource {
  return {
    name: 'guest-get-time',
    resolutionNs: 1000n,
    ping: async (options) => {
      const sentNs = process.hrtime.bigint()
      const guestNs = await now(options)
      return { sentNs, guestNs, receivedNs: process.hrtime.bigint() }
    },
  }
}

function unknownTime(cause: unknown): Error {
  return unsupportedError('ATP_CLOCK', `the guest did not tell its time: ${messageOf(cause)}`, {
    cause,
    verdict: 'infrastructure',
  })
}
