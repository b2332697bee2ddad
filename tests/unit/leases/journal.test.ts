import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Journal } from '../../../framework/leases/journal.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'atp-journal-'))
  path = join(dir, 'journal.jsonl')
})
afterEach(() => rmSync(dir, { recursive: true }))

const intent = (name: string) => ({ event: 'intent' as const, name, host: 'a', run: 'r', lease: 'l' })

describe('Journal', () => {
  it('knows after a crash what was begun and not destroyed', () => {
    const journal = Journal.open(path)
    for (const name of ['vm-001', 'vm-002', 'vm-003']) journal.write(intent(name))
    journal.write({ event: 'created', name: 'vm-002', uuid: 'u2' })
    journal.write({ event: 'owned', name: 'vm-002', run: 'standby', lease: '' })
    journal.write({ event: 'created', name: 'vm-003', uuid: 'u3' })
    journal.write({ event: 'destroyed', name: 'vm-003' })
    appendFileSync(path, '{"event":"destroyed","name":"vm-0')
    const again = Journal.open(path)
    expect([...again.vms.values()]).toEqual([
      { name: 'vm-001', host: 'a', run: 'r', lease: 'l' },
      { name: 'vm-002', host: 'a', run: 'standby', lease: '', uuid: 'u2' },
    ])
    again.write({ event: 'destroyed', name: 'vm-001' })
    expect([...Journal.read(path).keys()]).toEqual(['vm-002'])
    again.close()
    journal.close()
  })

  it('holds an entry in the file as soon as write returns', () => {
    const journal = Journal.open(path)
    journal.write(intent('vm-001'))
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject(intent('vm-001'))
    journal.close()
  })

  it('stays small however long the broker lives, and private', () => {
    const journal = Journal.open(path)
    journal.write(intent('kept'))
    const holder = 'x'.repeat(100_000)
    for (let index = 0; index < 60; index++)
      journal.write({ event: 'leased', lease: `l${index}`, run: 'r', holder, vms: [], locks: [] })
    expect(statSync(path).size).toBeLessThan(4.5 * 1024 * 1024)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect([...Journal.read(path).keys()]).toEqual(['kept'])
    journal.close()
  })

  it('throws when an intent cannot be written, but only notes what has happened already', () => {
    const journal = Journal.open(path)
    journal.close()
    expect(() => journal.write(intent('vm-001'))).toThrow(/EBADF/)
    expect(journal.vms.has('vm-001')).toBe(false)
    journal.note(intent('vm-001'))
    expect(journal.vms.has('vm-001')).toBe(true)
  })
})
