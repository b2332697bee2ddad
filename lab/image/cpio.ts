/** One member of an archive. Owner is root, times are 0, so that the same input gives the same bytes. */
export type CpioEntry =
  | { path: string; type: 'directory'; mode: number }
  | { path: string; type: 'file'; mode: number; content: Uint8Array }
  | { path: string; type: 'symlink'; target: string }

const FILE_TYPE = { directory: 0o040000, file: 0o100000, symlink: 0o120000 } as const
const ALIGNMENT = 4

/**
 * A cpio archive in the "newc" format, which the Linux kernel unpacks as initial RAM file system
 * (kernel documentation, `driver-api/early-userspace/buffer-format`).
 *
 * Paths are relative to the root, without a leading slash; a directory must come before what is in it.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Buffer[] = []
  entries.forEach((entry, index) => {
    const body =
      entry.type === 'file'
        ? Buffer.from(entry.content)
        : Buffer.from(entry.type === 'symlink' ? entry.target : '', 'utf8')
    const mode = FILE_TYPE[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode)
    parts.push(...member(entry.path, index + 1, mode, entry.type === 'directory' ? 2 : 1, body))
  })
  parts.push(...member('TRAILER!!!', 0, 0, 1, Buffer.alloc(0)))
  return Buffer.concat(parts)
}

function member(path: string, inode: number, mode: number, links: number, body: Buffer): Buffer[] {
  const name = Buffer.from(`${path}\0`, 'utf8')
  // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, links, 0, body.length, 0, 0, 0, 0, name.length, 0]
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`, 'latin1')
  return [header, name, padding(header.length + name.length), body, padding(body.length)]
}

function padding(length: number): Buffer {
  return Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT)
}
