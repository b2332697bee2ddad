import { withDeadline } from './deadline.ts'
import { interruptedError, messageOf } from './errors.ts'

export interface ScopeOptions {
  /** Milliseconds one teardown may take before the scope goes on without it. Default 30000. */
  teardownTimeoutMs?: number
  /** Aborted when the owner gives up (test timed out, run cancelled): new resources are refused from then on. */
  signal?: AbortSignal
}

interface Entry {
  name: string
  /** Settles when creation is over; never rejects. */
  created: Promise<void>
  teardown: (() => Promise<void>) | undefined
}

/**
 * Owns resources so that none can leak: whatever was created through {@link Scope.use} is destroyed by
 * {@link Scope.close}, in reverse order, also when creation is still under way while the scope closes, when
 * another teardown fails, or when a teardown hangs.
 *
 * A closed scope refuses new resources, which ends test bodies that outlived their time limit.
 */
export class Scope {
  readonly name: string
  readonly #entries: Entry[] = []
  readonly #abort = new AbortController()
  readonly #teardownTimeoutMs: number
  #closing: Promise<Error[]> | undefined

  constructor(name: string, options: ScopeOptions = {}) {
    this.name = name
    this.#teardownTimeoutMs = options.teardownTimeoutMs ?? 30_000
    const outer = options.signal
    if (outer?.aborted) this.#abort.abort(outer.reason)
    else outer?.addEventListener('abort', () => this.#abort.abort(outer.reason), { once: true })
  }

  /** Aborted as soon as the scope closes or its owner gives up. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get closed(): boolean {
    return this.#closing !== undefined
  }

  /** @throws `ATP_SCOPE_CLOSED` once the scope is closed or its owner gave up. */
  assertOpen(what: string): void {
    if (this.#abort.signal.aborted) {
      throw interruptedError('ATP_SCOPE_CLOSED', `${what} after "${this.name}" was over`, {
        cause: this.#abort.signal.reason,
      })
    }
  }

  /**
   * Creates a resource and binds its end to this scope.
   *
   * If the scope closes while `create` is under way the resource is destroyed as soon as it exists and the
   * call rejects with `ATP_SCOPE_CLOSED`.
   */
  async use<T>(
    name: string,
    create: (signal: AbortSignal) => Promise<T> | T,
    destroy: (resource: T) => Promise<void> | void,
  ): Promise<T> {
    this.assertOpen(`creating ${name}`)
    let settle!: () => void
    const entry: Entry = { name, created: new Promise((resolve) => (settle = resolve)), teardown: undefined }
    this.#entries.push(entry)
    try {
      const resource = await create(this.#abort.signal)
      entry.teardown = async () => destroy(resource)
      this.assertOpen(`using ${name}`)
      return resource
    } finally {
      settle()
    }
  }

  /** Binds a clean-up step to this scope. */
  defer(name: string, teardown: () => Promise<void> | void): void {
    this.assertOpen(`registering ${name}`)
    this.#entries.push({ name, created: Promise.resolve(), teardown: async () => teardown() })
  }

  /**
   * Destroys everything, newest first. Idempotent; never rejects. Returns the teardown errors, each with the
   * resource's name in its message.
   */
  close(reason?: unknown): Promise<Error[]> {
    this.#closing ??= this.#close(reason)
    return this.#closing
  }

  async #close(reason: unknown): Promise<Error[]> {
    this.#abort.abort(reason ?? interruptedError('ATP_SCOPE_CLOSED', `"${this.name}" is over`))
    const errors: Error[] = []
    for (const entry of this.#entries.toReversed()) {
      try {
        await withDeadline(`tearing down ${entry.name}`, { timeoutMs: this.#teardownTimeoutMs }, async () => {
          await entry.created
          await entry.teardown?.()
        })
      } catch (error) {
        errors.push(new Error(`teardown of ${entry.name} failed: ${messageOf(error)}`, { cause: error }))
        // A creation that outlives its teardown slot is destroyed whenever it finishes.
        void entry.created.then(() => entry.teardown?.()).catch(() => {})
      }
    }
    return errors
  }
}
