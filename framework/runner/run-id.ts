import { randomBytes } from 'node:crypto'

/** A new run id: sortable by time, unique across machines. */
export function newRunId(): string {
  const stamp = new Date().toISOString().replaceAll(/[-:]/g, '').slice(0, 15)
  return `${stamp}-${randomBytes(3).toString('hex')}`
}
