import { AsyncLocalStorage } from 'node:async_hooks'
import { readFile } from 'node:fs/promises'
import { logger, messageOf } from '../core/index.ts'

export interface HostsWatchOptions<T> {
  /** The file whose content is watched. */
  path: string
  /** Reads and checks it. What it throws goes to `onError`; the old state stays. */
  load: () => Promise<T> | T
  /** Takes what was loaded. What it throws goes to `onError` as well. */
  apply: (loaded: T) => Promise<void> | void
  /** Told once why a new content was not taken. */
  onError: (error: unknown) => void
  /** Pause between two looks at the file. Default 500. */
  intervalMs?: number
}

/**
 * Takes over a file again whenever its content has changed.
 *
 * It looks at the content, not at the file system's events: those get lost on network file systems, behind symbolic
 * links, and where editors and deployments replace a file or its folder. A new content counts when two looks in a row
 * see the same, so that one that is still being written is left alone; content that did not change is not loaded
 * again.
 */
export class HostsWatch<T> {
  readonly #options: HostsWatchOptions<T>
  readonly #intervalMs: number
  #taken: string
  #seen: string
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> = Promise.resolve()
  /** On behalf of which look code runs. */
  readonly #context = new AsyncLocalStorage<object>()
  /** The last look, or the one under way. */
  #look: object = {}
  #closed = false

  private constructor(options: HostsWatchOptions<T>, content: string) {
    this.#options = options
    this.#intervalMs = options.intervalMs ?? 500
    this.#taken = this.#seen = content
    this.#schedule()
  }

  /** Loads and applies the file, and then whatever becomes of it. @throws what `load` and `apply` throw. */
  static async start<T>(options: HostsWatchOptions<T>): Promise<HostsWatch<T>> {
    // Read before it is loaded: a change between both is seen by the first look.
    const content = await contentOf(options.path)
    await options.apply(await options.load())
    return new HostsWatch(options, content)
  }

  /**
   * Ends the watch. Nothing is applied after this has resolved, but for what calls this from within `load` or `apply`:
   * that would wait for itself. Idempotent.
   */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#context.getStore() !== this.#look) await this.#looking
  }

  #schedule(): void {
    if (this.#closed) return
    this.#timer = setTimeout(() => {
      this.#look = {}
      this.#looking = this.#context.run(this.#look, () => this.#lookAtFile()).finally(() => this.#schedule())
    }, this.#intervalMs).unref()
  }

  #tell(onError: (error: unknown) => void, error: unknown): void {
    try {
      onError(error)
    } catch (also) {
      logger('hosts').error(`the watch of ${this.#options.path}: its handler of errors threw: ${messageOf(also)}`)
    }
  }

  async #lookAtFile(): Promise<void> {
    const { path, load, apply, onError } = this.#options
    const content = await contentOf(path)
    const settled = content === this.#seen
    this.#seen = content
    if (!settled || content === this.#taken || this.#closed) return
    this.#taken = content
    try {
      const loaded = await load()
      if (!this.#closed) await apply(loaded)
    } catch (error) {
      this.#tell(onError, error)
    }
  }
}

/** The text of the file, or why there is none; `load` says that in its own words. */
async function contentOf(path: string): Promise<string> {
  try {
    return `text:${await readFile(path, 'latin1')}`
  } catch (error) {
    return `error:${(error as NodeJS.ErrnoException).code}`
  }
}
