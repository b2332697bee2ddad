import { Secret } from '../core/index.ts'
import { fill, joinTexts, type Scope } from './model/index.ts'
import type { LoopVariables } from './step-kind.ts'

export interface VariableSources {
  vars: Readonly<Record<string, unknown>>
  matrix: Readonly<Record<string, unknown>>
  env: Readonly<Record<string, string | undefined>>
  /** @throws for a name that is not configured. */
  secret(name: string): Secret
}

/** What `${…}` sees while a scenario runs. Values of the environment and secrets stay opaque. */
export class RunVariables implements Scope {
  readonly #sources: VariableSources
  readonly #vars: Record<string, unknown>
  readonly #captures: Map<string, unknown>
  readonly #loop: LoopVariables | undefined

  constructor(sources: VariableSources, captures = new Map<string, unknown>(), loop?: LoopVariables) {
    this.#sources = sources
    this.#captures = captures
    this.#loop = loop
    this.#vars = {}
    // In the order written, so that a variable may use those above it.
    for (const [name, value] of Object.entries(sources.vars)) this.#vars[name] = this.fill(value)
  }

  /** The same variables inside one round of a loop. */
  inLoop(loop: LoopVariables): RunVariables {
    return new RunVariables(this.#sources, this.#captures, loop)
  }

  /** Variables of another scenario that runs inside: its own `vars` and captures, the same matrix and secrets. */
  forScenario(vars: Readonly<Record<string, unknown>>): RunVariables {
    return new RunVariables({ ...this.#sources, vars })
  }

  capture(name: string, value: unknown): void {
    this.#captures.set(name, value)
  }

  get(root: string, first?: string | number): { value: unknown } | undefined {
    if (this.#captures.has(root)) return { value: this.#captures.get(root) }
    if (root === 'vars') return { value: this.#vars }
    if (root === 'matrix') return { value: this.#sources.matrix }
    if (root === 'loop') return this.#loop && { value: this.#loop }
    if (root === 'secret') return { value: first === undefined ? {} : { [first]: this.#sources.secret(String(first)) } }
    if (root === 'env') return { value: this.#environment(String(first)) }
    return Object.hasOwn(this.#vars, root) ? { value: this.#vars[root] } : undefined
  }

  reveal(value: unknown): unknown {
    return revealed(value)
  }

  /** Fills in expressions; a text made with a secret is secret. */
  fill(value: unknown): unknown {
    return fill(value, this, (parts) => {
      const secrets = parts.filter((part) => part instanceof Secret)
      const text = joinTexts(parts.map(revealed))
      return secrets.length === 0 ? text : new Secret(secrets.map((secret) => secret.name).join('+'), text)
    })
  }

  #environment(name: string): Record<string, unknown> {
    const value = this.#sources.env[name]
    return value === undefined ? {} : { [name]: new Secret(`env.${name}`, value) }
  }
}

/** The clear value of a secret; other values, and what is inside them, the same way. */
export function revealed(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(revealed)
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revealed(inner)]))
  }
  return value
}
