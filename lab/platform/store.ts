import { chmodSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { configError } from '../../framework/core/index.ts'

/** Names become parts of SQL. */
const TABLE_NAME = /^[a-z_]+$/
const FORMAT = 1

/** The platform's state: rows in memory, each change written through to SQLite at once. */
export class Store {
  readonly #database: DatabaseSync

  /** @throws `ATP_LAB_PLATFORM_DATABASE` for a file of another format. */
  constructor(path: string | undefined) {
    this.#database = new DatabaseSync(path ?? ':memory:')
    // Passwords are in it.
    if (path !== undefined) chmodSync(path, 0o600)
    // What a killed process wrote is in the kernel's hands; only a machine that crashes may lose the last changes.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')
    const { user_version: format } = this.#database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (format !== 0 && format !== FORMAT) {
      this.#database.close()
      throw configError('ATP_LAB_PLATFORM_DATABASE', `${path} is a platform database of format ${format}`, {
        remedy: 'remove the file, or name another one',
      })
    }
    this.#database.exec(`PRAGMA user_version = ${FORMAT}`)
  }

  table<T extends { id: string }>(name: string): Table<T> {
    if (!TABLE_NAME.test(name)) throw new RangeError(`"${name}" is no name of a table`)
    this.#database.exec(`CREATE TABLE IF NOT EXISTS ${name} (id TEXT PRIMARY KEY, place INTEGER, row TEXT NOT NULL)`)
    return new Table<T>(this.#database, name)
  }

  close(): void {
    this.#database.close()
  }
}

/** Rows of one kind, in the order in which they were added. */
export class Table<T extends { id: string }> {
  readonly #rows = new Map<string, T>()
  readonly #write: StatementSync
  readonly #delete: StatementSync
  #last = 0

  constructor(database: DatabaseSync, name: string) {
    for (const { place, row } of database.prepare(`SELECT place, row FROM ${name} ORDER BY place`).iterate()) {
      const value = JSON.parse(row as string) as T
      this.#rows.set(value.id, value)
      this.#last = place as number
    }
    this.#write = database.prepare(
      `INSERT INTO ${name} (id, place, row) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET row = excluded.row`,
    )
    this.#delete = database.prepare(`DELETE FROM ${name} WHERE id = ?`)
  }

  get size(): number {
    return this.#rows.size
  }

  all(): T[] {
    return [...this.#rows.values()]
  }

  /** The row that was added first. */
  oldest(): T | undefined {
    return this.#rows.values().next().value
  }

  get(id: string): T | undefined {
    return this.#rows.get(id)
  }

  add(row: T): T {
    this.#last += 1
    this.#rows.set(row.id, row)
    this.#write.run(row.id, this.#last, JSON.stringify(row))
    return row
  }

  /** Changes a row; one that is gone meanwhile stays gone. */
  change(id: string, changes: Partial<T>): T | undefined {
    const row = this.#rows.get(id)
    if (!row) return undefined
    const next = Object.assign(row, changes)
    this.#write.run(id, this.#last, JSON.stringify(next))
    return next
  }

  delete(id: string): boolean {
    this.#delete.run(id)
    return this.#rows.delete(id)
  }
}
