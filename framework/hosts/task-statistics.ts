import { LatencyHistogram } from './latency-histogram.ts'

/** What became of tasks. Durations in milliseconds, waiting for a connection included. */
export interface TaskFigures {
  /** Tasks that ended. */
  tasks: number
  running: number
  /** Tasks that failed; one its caller cancelled did not. */
  errors: number
  /** `errors` of `tasks`, 0…1. */
  errorRate: number
  meanMs: number
  p99Ms: number
}

/** Counts tasks: how many, how many failed, how long they took. */
export class TaskStatistics {
  readonly #latency = new LatencyHistogram()
  #running = 0
  #errors = 0

  /** A task begins; call what is returned when it is over. */
  begin(): (outcome: 'ok' | 'error' | 'interrupted') => void {
    const startedMs = performance.now()
    this.#running++
    return (outcome) => {
      this.#running--
      if (outcome === 'error') this.#errors++
      this.#latency.record(performance.now() - startedMs)
    }
  }

  /** Adds the tasks of another host. */
  merge(other: TaskStatistics): void {
    this.#latency.merge(other.#latency)
    this.#running += other.#running
    this.#errors += other.#errors
  }

  figures(): TaskFigures {
    const { count: tasks, meanMs } = this.#latency
    return {
      tasks,
      running: this.#running,
      errors: this.#errors,
      errorRate: tasks === 0 ? 0 : this.#errors / tasks,
      meanMs,
      p99Ms: this.#latency.percentileMs(99),
    }
  }
}
