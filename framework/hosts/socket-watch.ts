import { existsSync, statSync, watch, type FSWatcher } from 'node:fs'
import { basename, dirname } from 'node:path'
import { logger, messageOf } from '../core/index.ts'

/** Sockets of a daemon, beside the one that was named: which of them it makes depends on how it is set up. */
const SOCKET = /-sock$/

/**
 * Watches for a Unix socket that is made anew, so that nobody has to try again and again. Its folder may be missing
 * or be replaced as well: then the nearest folder above it is watched.
 *
 * Nothing but a hint: where watching is impossible it never calls.
 */
export class SocketWatch {
  readonly #path: string
  readonly #onSign: () => void
  #watched: { folder: string; inode: number; watcher: FSWatcher } | undefined
  #closed = false

  /** @param onSign called at every change that may mean that somebody listens on the socket now. */
  constructor(path: string, onSign: () => void) {
    this.#path = path
    this.#onSign = onSign
    this.#follow()
  }

  /** The folder that is watched; undefined once closed, and where nothing can be watched. */
  get folder(): string | undefined {
    return this.#watched?.folder
  }

  close(): void {
    this.#closed = true
    this.#unwatch()
  }

  /** Watches the folder, or the nearest there is. True if that is another one than before. */
  #follow(): boolean {
    let moved = false
    // Again after each step: folders may be made while nobody watches them.
    for (;;) {
      const { folder, inode } = nearestFolder(dirname(this.#path))
      if (this.#closed || (this.#watched?.folder === folder && this.#watched.inode === inode)) return moved
      this.#unwatch()
      moved = true
      try {
        // Whoever waits for the host keeps the process alive, not the watching.
        const watcher = watch(folder, { persistent: false }, (_, name) => this.#onEvent(folder, name))
        watcher.on('error', (error) => this.#giveUp(folder, error))
        this.#watched = { folder, inode, watcher }
      } catch (error) {
        this.#giveUp(folder, error)
        return moved
      }
    }
  }

  #onEvent(folder: string, name: string | null): void {
    if (this.#closed) return
    const there = folder === dirname(this.#path)
    const named = there && (name === null || name === basename(this.#path) || SOCKET.test(name))
    const arrived = this.#follow() && existsSync(this.#path)
    if (named || arrived) this.#onSign()
  }

  #unwatch(): void {
    this.#watched?.watcher.close()
    this.#watched = undefined
  }

  #giveUp(folder: string, error: unknown): void {
    logger('hosts').debug(`${folder} cannot be watched: ${messageOf(error)}`)
    this.#unwatch()
  }
}

function nearestFolder(path: string): { folder: string; inode: number } {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = statSync(folder, { throwIfNoEntry: false })
    if (found?.isDirectory()) return { folder, inode: found.ino }
    if (folder === dirname(folder)) return { folder, inode: 0 }
  }
}
