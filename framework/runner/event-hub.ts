import { messageOf } from '../core/index.ts'
import type { RunEvent, RunReporter } from '../evidence/events.ts'

/** Hands every event to every reporter. A reporter that throws is taken out and named, never swallowed. */
export class EventHub {
  #reporters: RunReporter[]
  /** What went wrong in reporters; a run with any of these did not report everything. */
  readonly failures: string[] = []

  constructor(reporters: RunReporter[]) {
    this.#reporters = [...reporters]
  }

  emit(event: RunEvent): void {
    for (const reporter of this.#reporters) {
      try {
        reporter.onEvent(event)
      } catch (error) {
        this.#reporters = this.#reporters.filter((other) => other !== reporter)
        this.failures.push(`${reporter.constructor.name}: ${messageOf(error)}`)
      }
    }
  }

  async close(): Promise<void> {
    for (const reporter of this.#reporters) {
      try {
        await reporter.close?.()
      } catch (error) {
        this.failures.push(`${reporter.constructor.name}: ${messageOf(error)}`)
      }
    }
  }
}
