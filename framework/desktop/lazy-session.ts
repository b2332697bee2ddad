import { withDeadline, type CallOptions } from '../core/index.ts'

export interface LazySessionOptions<T> {
  /** For messages: `QMP of vm-001`. */
  what: string
  open: () => Promise<T>
  close: (session: T, reason: unknown) => Promise<void> | void
  /** Whether it can still be used; one that cannot is replaced at the next request. Default: always. */
  alive?: (session: T) => boolean
}

/**
 * A session that is opened when first asked for, shared by everybody who asks, and closed by its owner whether or
 * not opening has finished. A failed opening is forgotten, so that the next request tries again.
 */
export class LazySession<T> {
  readonly #options: LazySessionOptions<T>
  #opening: Promise<T> | undefined
  #session: T | undefined

  constructor(options: LazySessionOptions<T>) {
    this.#options = options
  }

  /** The bounds end this caller's waiting, not the opening, which others may wait for too. */
  async get(bounds: CallOptions = {}): Promise<T> {
    const { alive = () => true, what } = this.#options
    if (this.#session !== undefined && alive(this.#session)) return this.#session
    if (this.#session !== undefined) await this.drop(undefined)
    this.#opening ??= this.#open()
    const opening = this.#opening
    return withDeadline(`opening ${what}`, bounds, () => opening)
  }

  /** Closes it if it is open. An opening under way goes on: it has not met the peer yet, only who comes after it. */
  async dropOpen(reason: unknown): Promise<void> {
    if (this.#session !== undefined) await this.drop(reason)
  }

  /** Closes what is or is being opened; the next {@link get} opens anew. */
  async drop(reason: unknown): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    this.#session = undefined
    if (!opening) return
    const [result] = await Promise.allSettled([opening])
    if (result.status === 'fulfilled') await this.#options.close(result.value, reason)
  }

  #open(): Promise<T> {
    const opening = this.#options.open()
    opening.then(
      (session) => {
        if (this.#opening === opening) this.#session = session
      },
      () => {
        if (this.#opening === opening) this.#opening = undefined
      },
    )
    return opening
  }
}
