import { configError, stateError } from '../core/index.ts'
import type { StepCatalog } from './model/index.ts'
import type { StepHandler, StepKind } from './step-kind.ts'

/** Step kinds by name, and the handlers of `custom` steps. Changing it does not touch runs under way. */
export class StepRegistry implements StepCatalog {
  readonly #kinds = new Map<string, StepKind>()
  readonly #names = new Map<string, string>()
  readonly #handlers = new Map<string, StepHandler>()

  /**
   * Adds a step kind under its action and all its aliases.
   *
   * @throws `ATP_SCENARIO_DUPLICATE_STEP` when one of the names is taken; nothing is registered then.
   */
  register(kind: StepKind): void {
    const names = [kind.action, ...kind.aliases]
    for (const name of names) {
      const owner = this.#names.get(name)
      if (owner === undefined) continue
      throw stateError('ATP_SCENARIO_DUPLICATE_STEP', `the step name "${name}" belongs to ${owner} already`, {
        remedy: `unregister ${owner} first, or choose another name`,
      })
    }
    this.#kinds.set(kind.action, kind)
    for (const name of names) this.#names.set(name, kind.action)
  }

  /** Removes a step kind and its aliases. `false` when there is none of this action. */
  unregister(action: string): boolean {
    if (!this.#kinds.delete(action)) return false
    for (const [name, owner] of this.#names) if (owner === action) this.#names.delete(name)
    return true
  }

  find(name: string): StepKind | undefined {
    const action = this.#names.get(name)
    return action === undefined ? undefined : this.#kinds.get(action)
  }

  /** @throws `ATP_SCENARIO_UNKNOWN_ACTION`. */
  get(name: string): StepKind {
    const kind = this.find(name)
    if (kind) return kind
    throw configError('ATP_SCENARIO_UNKNOWN_ACTION', `there is no action "${name}"`, {
      remedy: 'register it before the scenario runs',
    })
  }

  get actions(): string[] {
    return [...this.#kinds.keys()]
  }

  get kinds(): StepKind[] {
    return [...this.#kinds.values()]
  }

  /** A text that changes whenever a file could be read differently. */
  fingerprint(): string {
    return JSON.stringify([this.kinds, [...this.#handlers.keys()]])
  }

  /** @throws `ATP_SCENARIO_DUPLICATE_HANDLER`. */
  registerHandler(name: string, handler: StepHandler): void {
    if (this.#handlers.has(name)) {
      throw stateError('ATP_SCENARIO_DUPLICATE_HANDLER', `a handler "${name}" is registered already`, {
        remedy: 'unregister it first',
      })
    }
    this.#handlers.set(name, handler)
  }

  unregisterHandler(name: string): boolean {
    return this.#handlers.delete(name)
  }

  hasHandler(name: string): boolean {
    return this.#handlers.has(name)
  }

  /** @throws `ATP_SCENARIO_NO_HANDLER` with the known handlers. */
  handler(name: string): StepHandler {
    const handler = this.#handlers.get(name)
    if (handler) return handler
    throw configError('ATP_SCENARIO_NO_HANDLER', `no handler "${name}" is registered for custom steps`, {
      remedy: `registered: ${[...this.#handlers.keys()].join(', ') || 'none'}`,
    })
  }
}
