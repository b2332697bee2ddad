import type { ExpectedInput, InputKind, Nanoseconds } from '../protocol/index.ts'
import type { SeenInput } from './input-source.ts'
import { longestRise } from './longest-rise.ts'
import { MotionMatcher } from './motion-matcher.ts'

/** What was seen, and after it so many inputs that were not expected. */
export interface SeenReport {
  seen: [index: number, guestNs: Nanoseconds][]
  unexpected: number
}

/** The account of one expectation: `details` of its result. */
export interface ExpectationAccount {
  /** How many entries were expected and seen, without the optional ones. */
  expected: number
  seen: number
  lost: number
  unexpected: number
  /** Fewest of the seen keys and positions that would have to move for all to be in order. */
  reordered: number
}

/** Most inputs that wait for an entry which may still be added. */
const UNDECIDED_MAX = 4096
const AUTOREPEAT = 2
/** Entries of one report, so that its message stays far below the largest. */
const REPORT_MAX = 5000

/**
 * Compares input as it is seen with what one action expects, while the action goes on.
 *
 * An input belongs to the first entry with the same kind, code and value that was not seen yet, so that indices
 * tell the order. Positions may be within a tolerance, for sources that see pixels. Autorepeat is nobody's input and ignored. Relative motion is compared by its sum per axis, since
 * mice split and join it: an entry is seen when the axis has moved as far as it and those before it.
 *
 * Input may overtake the message that expects it. What matches nothing therefore stays undecided until a later
 * input matches, or until nothing more can be added; only then it is unexpected.
 */
export class ExpectationMatcher {
  /** Entries of positions that were not seen yet, for sources that know positions only nearly. */
  readonly #near: { code: number; value: number; index: number }[] = []
  readonly #tolerance: number
  readonly #open = new Map<number, { indices: number[]; next: number }>()
  readonly #motions = new Map<number, MotionMatcher>()
  readonly #optional = new Set<number>()
  /** Indices of the required keys and positions, as they were seen. */
  readonly #order: number[] = []
  #undecided: SeenInput[] = []
  #reports: SeenReport[] = []
  #count = 0
  #seen = 0
  #unexpected = 0
  #complete = false

  /** @param tolerance how far a seen position may be from the expected one, in its units. Default 0. */
  constructor(tolerance = 0) {
    this.#tolerance = tolerance
  }

  /** How many entries it was given. */
  get count(): number {
    return this.#count
  }

  /** Appends entries; their indices count on. With `last` there will be no more. */
  add(entries: readonly ExpectedInput[], last: boolean): void {
    for (const [kind, code, value, optional] of entries) {
      const index = this.#count++
      if (optional) this.#optional.add(index)
      if (kind === 'rel') this.#motion(code).add(index, value)
      else if (kind === 'abs' && this.#tolerance > 0) this.#near.push({ code, value, index })
      else this.#enqueue(symbolOf(kind, code, value), index)
    }
    for (const motion of this.#motions.values()) this.#follow(motion)
    const again = this.#undecided
    this.#undecided = []
    this.#complete = last
    for (const input of again) this.#match(input)
    if (last) this.#giveUp()
  }

  see(input: SeenInput): void {
    if (input.kind === 'key' && input.value === AUTOREPEAT) return
    if (input.kind !== 'rel') return this.#match(input)
    const motion = this.#motion(input.code)
    motion.moved(input.value, input.guestNs)
    this.#follow(motion)
  }

  /** What there is to tell since the last call, in order. */
  take(): SeenReport[] {
    const reports = this.#reports
    this.#reports = []
    return reports
  }

  /** Ends it: what was not seen is lost. {@link take} may have more to tell afterwards. */
  finish(): ExpectationAccount {
    this.#complete = true
    this.#giveUp()
    for (const motion of this.#motions.values()) if (motion.strayed()) this.#surplus()
    const cancelled = [...this.#motions.values()].flatMap((motion) => motion.cancelled())
    const expected = this.#count - this.#optional.size
    const seen = this.#seen + cancelled.filter((index) => !this.#optional.has(index)).length
    return {
      expected,
      seen,
      lost: expected - seen,
      unexpected: this.#unexpected,
      reordered: this.#order.length - longestRise(this.#order),
    }
  }

  #enqueue(symbol: number, index: number): void {
    const queue = this.#open.get(symbol)
    if (queue) queue.indices.push(index)
    else this.#open.set(symbol, { indices: [index], next: 0 })
  }

  #motion(axis: number): MotionMatcher {
    const known = this.#motions.get(axis)
    if (known) return known
    const motion = new MotionMatcher()
    this.#motions.set(axis, motion)
    return motion
  }

  #follow(motion: MotionMatcher): void {
    const { indices, atNs } = motion.reached()
    for (const index of indices) this.#saw(index, atNs)
  }

  #match(input: SeenInput): void {
    const index = this.#find(input)
    if (index !== undefined) {
      // What came before an expected input and is still not expected never will be.
      this.#giveUp()
      if (!this.#optional.has(index)) this.#order.push(index)
      this.#saw(index, input.guestNs)
    } else if (this.#complete || this.#undecided.length >= UNDECIDED_MAX) this.#surplus()
    else this.#undecided.push(input)
  }

  /** The first entry that this input is, which is taken. */
  #find({ kind, code, value }: SeenInput): number | undefined {
    if (kind === 'abs' && this.#tolerance > 0) {
      const place = this.#near.findIndex(
        (entry) => entry.code === code && Math.abs(entry.value - value) <= this.#tolerance,
      )
      return place < 0 ? undefined : this.#near.splice(place, 1)[0]?.index
    }
    const queue = this.#open.get(symbolOf(kind, code, value))
    const index = queue?.indices[queue.next]
    if (queue && index !== undefined) queue.next++
    return index
  }

  #giveUp(): void {
    for (let count = this.#undecided.length; count > 0; count--) this.#surplus()
    this.#undecided = []
  }

  #saw(index: number, guestNs: bigint): void {
    if (!this.#optional.has(index)) this.#seen++
    const last = this.#reports.at(-1)
    const open = last && last.unexpected === 0 && last.seen.length < REPORT_MAX ? last : this.#newReport()
    open.seen.push([index, String(guestNs)])
  }

  #surplus(): void {
    this.#unexpected++
    const report = this.#reports.at(-1) ?? this.#newReport()
    report.unexpected++
  }

  #newReport(): SeenReport {
    const report: SeenReport = { seen: [], unexpected: 0 }
    this.#reports.push(report)
    return report
  }
}

const KIND_NUMBERS: Readonly<Record<InputKind, number>> = { key: 0, abs: 1, rel: 2 }

/** One number for kind, code (16 bits) and value (32 bits, signed): exact in a double. */
function symbolOf(kind: InputKind, code: number, value: number): number {
  return (KIND_NUMBERS[kind] * 0x1_0000 + code) * 0x1_0000_0000 + (value >>> 0)
}
