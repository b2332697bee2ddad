/** Ways to choose a connection. */
export const POOL_STRATEGIES = ['round-robin', 'least-connections', 'random'] as const
export type PoolStrategy = (typeof POOL_STRATEGIES)[number]

/** What a choice goes by. */
export interface Candidate {
  /** Uses under way. */
  readonly uses: number
}

/** Chooses one of `candidates`, which are all usable, oldest first, and at least one. */
export type Choice = <C extends Candidate>(candidates: readonly C[]) => C

/**
 * A choice by this strategy.
 *
 * - `round-robin`: in turns, the one whose last turn is longest ago.
 * - `least-connections`: the one with the fewest uses, of several the oldest, so that young ones become idle.
 * - `random`: each with the same chance. `random` yields 0 ≤ x < 1.
 */
export function choiceBy(strategy: PoolStrategy, random: () => number): Choice {
  switch (strategy) {
    case 'round-robin':
      return roundRobin()
    case 'least-connections':
      return (candidates) => candidates.reduce((least, one) => (one.uses < least.uses ? one : least))
    case 'random':
      return (candidates) => candidates[Math.floor(random() * candidates.length)] as (typeof candidates)[number]
  }
}

function roundRobin(): Choice {
  // Turns are counted by candidate, not by position: those come and go.
  const lastTurn = new WeakMap<Candidate, number>()
  let turn = 0
  return (candidates) => {
    const next = candidates.reduce((first, one) =>
      (lastTurn.get(one) ?? 0) < (lastTurn.get(first) ?? 0) ? one : first,
    )
    lastTurn.set(next, ++turn)
    return next
  }
}
