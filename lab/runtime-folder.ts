import { createHash } from 'node:crypto'
import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { giveTo, type DaemonUser } from './daemon-user.ts'

const MEMORY = '/dev/shm'

/**
 * Makes the folder of a daemon's sockets and of its notes on running VMs, empty.
 *
 * libvirt writes a VM's notes anew and syncs them with every monitor command. System daemons do that in memory
 * (`/run`); so does the lab where it can, behind a link, since on a disk the commands take twice as long.
 */
export async function makeRuntimeFolder(path: string, user: DaemonUser): Promise<void> {
  await removeRuntimeFolder(path)
  const folder = (await makeInMemory(path, user)) ?? path
  if (folder === path) await mkdir(path, { mode: 0o700 })
  else await symlink(folder, path)
  await giveTo(user, folder)
}

/** Removes what {@link makeRuntimeFolder} made. */
export async function removeRuntimeFolder(path: string): Promise<void> {
  const folder = memoryFolder(path)
  if ((await readlink(path).catch(() => undefined)) === folder) await rm(folder, { recursive: true, force: true })
  await rm(path, { recursive: true, force: true })
}

/** The same for the same path, so that homes that were deleted by hand leave no more than one behind. */
const memoryFolder = (path: string) =>
  join(MEMORY, `atp-${createHash('sha256').update(path).digest('hex').slice(0, 16)}`)

async function makeInMemory(path: string, user: DaemonUser): Promise<string | undefined> {
  const folder = memoryFolder(path)
  try {
    const left = await lstat(folder).catch(() => undefined)
    // Everybody may make folders there: one of somebody else's is not used.
    if (left?.isDirectory() && left.uid === user.uid) await rm(folder, { recursive: true })
    await mkdir(folder, { mode: 0o700 })
    return folder
  } catch {
    return undefined
  }
}
