import type { CpioEntry } from './cpio.ts'

const BLOCK_BITS = 12
const BLOCK_BYTES = 1 << BLOCK_BITS
const SUPER_AT = 1024
const MAGIC = 0xe0f5e1e2
const INODE_BYTES = 32
const DIRENT_BYTES = 12
const MODE = { directory: 0o040000, file: 0o100000, symlink: 0o120000 } as const
/** `EROFS_FT_*`: what a directory says about its entries. */
const DIRENT_TYPE = { file: 1, directory: 2, symlink: 7 } as const

interface Node {
  entry: CpioEntry
  parent: Node
  children: Map<string, Node>
  /** Position in the table of inodes. */
  nid: number
  body: Uint8Array
}

/**
 * A read-only file system in the EROFS format, uncompressed (kernel documentation, `filesystems/erofs`, and
 * `fs/erofs/erofs_fs.h`), which a guest mounts from a disk: unlike an archive that is unpacked into the guest's
 * memory, only what is used of it is read. Owner is root, times are 0, so that the same input gives the same bytes.
 *
 * Entries as for `cpioArchive`. Resolves to whole blocks of 4 KiB.
 */
export function erofsImage(entries: readonly CpioEntry[]): Uint8Array {
  const nodes = treeOf(entries)
  // The super block has the first block; the table of inodes follows, then the bodies, each in blocks of its own.
  const tableBlocks = blocks(nodes.length * INODE_BYTES)
  for (const node of nodes) node.body = bodyOf(node)
  let nextBlock = 1 + tableBlocks
  const table = Buffer.alloc(tableBlocks * BLOCK_BYTES)
  const bodies: Uint8Array[] = []
  for (const node of nodes) {
    inode(node, nextBlock).copy(table, node.nid * INODE_BYTES)
    bodies.push(node.body, Buffer.alloc(blocks(node.body.length) * BLOCK_BYTES - node.body.length))
    nextBlock += blocks(node.body.length)
  }
  return Buffer.concat([superBlock(nodes.length, nextBlock), table, ...bodies])
}

const blocks = (bytes: number) => Math.ceil(bytes / BLOCK_BYTES)

function treeOf(entries: readonly CpioEntry[]): Node[] {
  const root = { entry: { path: '', type: 'directory', mode: 0o755 }, children: new Map(), nid: 0 } as unknown as Node
  root.parent = root
  const byPath = new Map([['', root]])
  const nodes = [root]
  for (const entry of entries) {
    const slash = entry.path.lastIndexOf('/')
    const parent = byPath.get(entry.path.slice(0, Math.max(slash, 0)))
    if (!parent) throw new Error(`"${entry.path}" comes before its folder`)
    const node = { entry, parent, children: new Map(), nid: nodes.length, body: new Uint8Array() } satisfies Node
    parent.children.set(entry.path.slice(slash + 1), node)
    byPath.set(entry.path, node)
    nodes.push(node)
  }
  return nodes
}

function bodyOf(node: Node): Uint8Array {
  const { entry } = node
  if (entry.type === 'file') return entry.content
  return entry.type === 'symlink' ? Buffer.from(entry.target, 'utf8') : directory(node)
}

/** Entries sorted by the bytes of their names, for a binary search; in each block first they, then their names. */
function directory(node: Node): Uint8Array {
  const names: [Buffer, Node][] = [['.', node] as const, ['..', node.parent] as const, ...node.children].map(
    ([name, child]) => [Buffer.from(name, 'utf8'), child],
  )
  const parts: Buffer[] = []
  let block: typeof names = []
  let used = 0
  const endBlock = (last: boolean) => {
    const bytes = Buffer.alloc(last ? used : BLOCK_BYTES)
    let nameAt = block.length * DIRENT_BYTES
    block.forEach(([name, child], index) => {
      bytes.writeBigUInt64LE(BigInt(child.nid), index * DIRENT_BYTES)
      bytes.writeUInt16LE(nameAt, index * DIRENT_BYTES + 8)
      bytes.writeUInt8(DIRENT_TYPE[child.entry.type], index * DIRENT_BYTES + 10)
      name.copy(bytes, nameAt)
      nameAt += name.length
    })
    parts.push(bytes)
    block = []
    used = 0
  }
  for (const item of names.toSorted(([a], [b]) => Buffer.compare(a, b))) {
    const size = DIRENT_BYTES + item[0].length
    if (used + size > BLOCK_BYTES) endBlock(false)
    block.push(item)
    used += size
  }
  endBlock(true)
  return Buffer.concat(parts)
}

/** `struct erofs_inode_compact`, its body uncompressed in one piece. */
function inode({ entry, children, nid, body }: Node, firstBlock: number): Buffer {
  const bytes = Buffer.alloc(INODE_BYTES)
  const folders = [...children.values()].filter((child) => child.entry.type === 'directory').length
  bytes.writeUInt16LE(MODE[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode), 4)
  bytes.writeUInt16LE(entry.type === 'directory' ? 2 + folders : 1, 6)
  bytes.writeUInt32LE(body.length, 8)
  bytes.writeUInt32LE(firstBlock, 16)
  bytes.writeUInt32LE(nid + 1, 20)
  return bytes
}

/** `struct erofs_super_block`; the root is inode 0 of the table. */
function superBlock(inodes: number, allBlocks: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES)
  bytes.writeUInt32LE(MAGIC, SUPER_AT)
  bytes.writeUInt8(BLOCK_BITS, SUPER_AT + 12)
  bytes.writeBigUInt64LE(BigInt(inodes), SUPER_AT + 16)
  bytes.writeUInt32LE(allBlocks, SUPER_AT + 36)
  bytes.writeUInt32LE(1, SUPER_AT + 40) // where the table begins
  return bytes
}
