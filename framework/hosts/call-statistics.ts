import type { CallOutcome, SettledCall } from '../protocols/libvirt/call-observer.ts'
import { LatencyHistogram } from './latency-histogram.ts'

/** What became of some calls. Durations in milliseconds, from handing a call in to its settling. */
export interface CallFigures {
  calls: number
  /** Refused, timed out or lost with their connection; a call its caller cancelled is none. */
  errors: number
  /** `errors` of `calls`, 0…1. */
  errorRate: number
  meanMs: number
  p99Ms: number
}

/** All calls together, and by operation. */
export interface CallSummary extends CallFigures {
  operations: Record<string, CallFigures>
}

class Tally {
  readonly latency = new LatencyHistogram()
  errors = 0

  record(durationMs: number, outcome: CallOutcome): void {
    this.latency.record(durationMs)
    if (outcome !== 'ok' && outcome !== 'interrupted') this.errors++
  }

  merge(other: Tally): void {
    this.latency.merge(other.latency)
    this.errors += other.errors
  }

  figures(): CallFigures {
    const { count, meanMs } = this.latency
    return {
      calls: count,
      errors: this.errors,
      errorRate: count === 0 ? 0 : this.errors / count,
      meanMs,
      p99Ms: this.latency.percentileMs(99),
    }
  }
}

/** Counts calls: how many, how many failed, how long they took. */
export class CallStatistics {
  readonly #operations = new Map<string, Tally>()

  record({ operation, outcome, durationMs }: SettledCall): void {
    this.#tally(operation).record(durationMs, outcome)
  }

  /** Adds the calls of another host. */
  merge(other: CallStatistics): void {
    for (const [operation, tally] of other.#operations) this.#tally(operation).merge(tally)
  }

  summary(): CallSummary {
    const all = new Tally()
    for (const tally of this.#operations.values()) all.merge(tally)
    const operations = [...this.#operations].map(([operation, tally]) => [operation, tally.figures()] as const)
    return { ...all.figures(), operations: Object.fromEntries(operations) }
  }

  #tally(operation: string): Tally {
    let tally = this.#operations.get(operation)
    if (!tally) this.#operations.set(operation, (tally = new Tally()))
    return tally
  }
}
