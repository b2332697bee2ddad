import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cpioArchive, type CpioEntry } from '../../../lab/image/cpio.ts'

interface Member {
  path: string
  mode: number
  body: Buffer
}

/** An independent reader of the format: fixed header of hexadecimal fields, name and body padded to 4 bytes. */
function members(archive: Uint8Array): Member[] {
  const bytes = Buffer.from(archive)
  const found: Member[] = []
  for (let at = 0; ;) {
    expect(bytes.toString('latin1', at, at + 6)).toBe('070701')
    const field = (index: number) => parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const nameStart = at + 110
    const bodyStart = Math.ceil((nameStart + field(11)) / 4) * 4
    const path = bytes.toString('utf8', nameStart, nameStart + field(11) - 1)
    if (path === 'TRAILER!!!') return found
    found.push({ path, mode: field(1), body: bytes.subarray(bodyStart, bodyStart + field(6)) })
    at = Math.ceil((bodyStart + field(6)) / 4) * 4
  }
}

const path = fc.stringMatching(/^[a-z0-9._-]{1,20}(\/[a-zäü漢-]{1,10}){0,3}$/)
const entry: fc.Arbitrary<CpioEntry> = fc.oneof(
  fc.record({ path, type: fc.constant('directory' as const), mode: fc.integer({ min: 0, max: 0o1777 }) }),
  fc.record({
    path,
    type: fc.constant('file' as const),
    mode: fc.integer({ min: 0, max: 0o777 }),
    content: fc.uint8Array({ maxLength: 40 }),
  }),
  fc.record({ path, type: fc.constant('symlink' as const), target: path }),
)

describe('cpio archive', () => {
  it('holds every member with its bytes, type and mode, in order', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
        const read = members(cpioArchive(entries))
        expect(read.map((member) => member.path)).toEqual(entries.map((item) => item.path))
        read.forEach((member, index) => {
          const wanted = entries[index] as CpioEntry
          const type = { directory: 0o04, file: 0o10, symlink: 0o12 }[wanted.type]
          expect(member.mode >> 12).toBe(type)
          expect(member.mode & 0o7777).toBe(wanted.type === 'symlink' ? 0o777 : wanted.mode)
          const body = wanted.type === 'file' ? wanted.content : wanted.type === 'symlink' ? wanted.target : ''
          expect(member.body.equals(Buffer.from(body as string))).toBe(true)
        })
      }),
    )
  })

  it('is the same for the same entries, so that it can be cached', () => {
    const entries: CpioEntry[] = [{ path: 'init', type: 'file', mode: 0o755, content: Buffer.from('#!/bin/sh\n') }]
    expect(Buffer.from(cpioArchive(entries)).equals(Buffer.from(cpioArchive(entries)))).toBe(true)
  })
})
