import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CpioEntry } from '../../../lab/image/cpio.ts'
import { erofsImage } from '../../../lab/image/erofs.ts'

const BLOCK_BYTES = 4096
const SUPER_AT = 1024

/** An independent reader of the format: goes down from the root as the kernel does. */
function read(image: Uint8Array): { path: string; mode: number; body: string }[] {
  const bytes = Buffer.from(image)
  expect(bytes.readUInt32LE(SUPER_AT)).toBe(0xe0f5e1e2)
  expect(bytes.readUInt32LE(SUPER_AT + 36) * BLOCK_BYTES).toBe(bytes.length)
  const tableAt = bytes.readUInt32LE(SUPER_AT + 40) * BLOCK_BYTES
  const inode = (nid: number) => {
    const at = tableAt + nid * 32
    const start = bytes.readUInt32LE(at + 16) * BLOCK_BYTES
    return { mode: bytes.readUInt16LE(at + 4), body: bytes.subarray(start, start + bytes.readUInt32LE(at + 8)) }
  }
  const found: ReturnType<typeof read> = []
  const enter = (nid: number, parent: number, path: string) => {
    const { body } = inode(nid)
    const names: Buffer[] = []
    for (let block = 0; block < body.length; block += BLOCK_BYTES) {
      const entries = body.subarray(block, block + BLOCK_BYTES)
      const count = entries.readUInt16LE(8) / 12
      for (let index = 0; index < count; index++) {
        const end = index + 1 < count ? entries.readUInt16LE((index + 1) * 12 + 8) : entries.length
        const raw = entries.subarray(entries.readUInt16LE(index * 12 + 8), end)
        const padding = raw.indexOf(0)
        const name = padding < 0 ? raw : raw.subarray(0, padding)
        names.push(name)
        const child = Number(entries.readBigUInt64LE(index * 12))
        const { mode, body: content } = inode(child)
        const isFolder = mode >> 12 === 0o04
        expect(entries.readUInt8(index * 12 + 10)).toBe({ 0o04: 2, 0o10: 1, 0o12: 7 }[mode >> 12])
        if (name.toString() === '.') expect(child).toBe(nid)
        else if (name.toString() === '..') expect(child).toBe(parent)
        else {
          const below = path ? `${path}/${name}` : `${name}`
          found.push({ path: below, mode, body: isFolder ? '' : content.toString('latin1') })
          if (isFolder) enter(child, nid, below)
        }
      }
    }
    expect(names).toEqual(names.toSorted(Buffer.compare))
    expect(new Set(names.map(String)).size).toBe(names.length)
  }
  const root = bytes.readUInt16LE(SUPER_AT + 14)
  enter(root, root, '')
  return found
}

const TYPE = { directory: 0o04, file: 0o10, symlink: 0o12 } as const
const name = fc.stringMatching(/^[a-z0-9äü漢_-]{1,40}$/)
const leaf = fc.oneof(
  fc.record({ type: fc.constant('file' as const), mode: fc.nat({ max: 0o777 }), content: fc.uint8Array() }),
  fc.record({ type: fc.constant('symlink' as const), target: name }),
)
/** Two levels of folders, each before what is in it. */
const tree = fc
  .dictionary(name, fc.oneof(leaf, fc.dictionary(name, leaf, { maxKeys: 6 })), { maxKeys: 6 })
  .map((top): CpioEntry[] =>
    Object.entries(top).flatMap(([path, value]) =>
      typeof value['type'] === 'string'
        ? [{ path, ...value } as CpioEntry]
        : [
            { path, type: 'directory' as const, mode: 0o755 },
            ...Object.entries(value).map(([below, entry]) => ({ path: `${path}/${below}`, ...entry }) as CpioEntry),
          ],
    ),
  )

const expected = (entries: readonly CpioEntry[]) =>
  entries.map((entry) => ({
    path: entry.path,
    mode: (TYPE[entry.type] << 12) | (entry.type === 'symlink' ? 0o777 : entry.mode),
    body:
      entry.type === 'file'
        ? Buffer.from(entry.content).toString('latin1')
        : entry.type === 'symlink'
          ? Buffer.from(entry.target).toString('latin1')
          : '',
  }))
const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1)

describe('EROFS image', () => {
  it('holds every file, link and folder', () => {
    fc.assert(
      fc.property(tree, (entries) => {
        expect(read(erofsImage(entries)).toSorted(byPath)).toEqual(expected(entries).toSorted(byPath))
      }),
    )
  })

  it('spreads a large folder over several blocks, and a large file', () => {
    const content = Buffer.alloc(3 * BLOCK_BYTES + 1, 'x')
    const entries: CpioEntry[] = [
      { path: 'many', type: 'directory', mode: 0o755 },
      ...Array.from({ length: 500 }, (_, index) => ({
        path: `many/${'n'.repeat(index % 50)}${index}`,
        type: 'file' as const,
        mode: 0o644,
        content: index === 7 ? content : Buffer.alloc(0),
      })),
    ]
    expect(read(erofsImage(entries)).toSorted(byPath)).toEqual(expected(entries).toSorted(byPath))
  })

  it('refuses what comes before its folder', () => {
    expect(() => erofsImage([{ path: 'a/b', type: 'symlink', target: 'c' }])).toThrow('"a/b" comes before its folder')
  })
})
