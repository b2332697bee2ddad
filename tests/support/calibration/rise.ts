/** A reported latency, as the account has it. */
export interface Reported {
  latencyMs: number
  boundMs: number
  /** How long the proxy really held the request. */
  heldMs: number
}

/** By how much reported latencies rose, and what is said about it. */
export interface Rise {
  /** Median of the paired differences of what was reported. */
  riseMs: number
  /** The same of how long the requests were really held. */
  knownMs: number
  /** Median of the paired differences between what was reported and what was known. */
  errorMs: number
  /** What the clocks allow and what chance allows, together: `errorMs` is within ± this. */
  boundMs: number
}

/** Chance of a median outside of its interval, of both sides together. */
const ERROR = 0.01

/**
 * Compares presses with and without a delay, taken in turns: pair by pair, so that what changes slowly changes both.
 *
 * The bound is the sum of both sides' clock bounds, and the half width of the interval in which the median of the
 * differences lies with 99 % confidence, whatever their distribution: between two of the sorted differences, which the
 * binomial distribution names.
 */
export function riseOf(without: readonly Reported[], delayed: readonly Reported[]): Rise {
  const differences = (of: (sample: Reported) => number) =>
    delayed.map((sample, index) => of(sample) - of(without[index] as Reported)).toSorted((left, right) => left - right)
  const errors = differences(({ latencyMs, heldMs }) => latencyMs - heldMs)
  const errorMs = median(errors)
  const rank = intervalRank(errors.length)
  const [low, high] = [errors[rank - 1] as number, errors[errors.length - rank] as number]
  const clockMs = [without, delayed].reduce((sum, side) => sum + median(side.map(({ boundMs }) => boundMs)), 0)
  return {
    riseMs: median(differences(({ latencyMs }) => latencyMs)),
    knownMs: median(differences(({ heldMs }) => heldMs)),
    errorMs,
    boundMs: clockMs + Math.max(high - errorMs, errorMs - low),
  }
}

/** The k for which the k-th smallest and the k-th largest of n values enclose the median with 99 % confidence. */
function intervalRank(count: number): number {
  let rank = 0
  let probability = 0.5 ** count
  for (let below = probability; below <= ERROR / 2; below += probability) {
    rank++
    probability *= (count - rank + 1) / rank
  }
  if (rank === 0) throw new RangeError(`${count} pairs are too few`)
  return rank
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const half = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}
