import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { CpioEntry } from './cpio.ts'

/** What a file system is to hold, by path. Folders come before what is in them, and are made as they are needed. */
export class Tree {
  readonly #entries = new Map<string, CpioEntry>()

  add(entry: CpioEntry): void {
    this.#addFolders(entry.path)
    this.#entries.set(entry.path, entry)
  }

  has(path: string): boolean {
    return this.#entries.has(path)
  }

  /** Adds the files and links below a folder of this machine. `place` says where each goes, by its path below `root`. */
  async addFrom(root: string, place: (path: string) => string): Promise<void> {
    const items = (await readdir(root, { recursive: true, withFileTypes: true })).toSorted((a, b) =>
      join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
    )
    for (const item of items) {
      const file = join(item.parentPath, item.name)
      const path = place(file.slice(root.length + 1))
      if (item.isSymbolicLink()) this.add({ path, type: 'symlink', target: await readlink(file) })
      else if (item.isFile())
        this.add({ path, type: 'file', mode: (await stat(file)).mode & 0o777, content: await readFile(file) })
    }
  }

  entries(): CpioEntry[] {
    return [...this.#entries.values()]
  }

  #addFolders(path: string): void {
    const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0))
    if (!parent || this.#entries.has(parent)) return
    this.#addFolders(parent)
    this.#entries.set(parent, { path: parent, type: 'directory', mode: 0o755 })
  }
}
