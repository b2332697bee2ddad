import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { interrupted, isAtpError, messageOf, remoteError, type CallOptions } from '../../framework/core/index.ts'
import { withLock } from '../lock.ts'
import type { LabPaths } from '../paths.ts'
import { runProgram } from '../run-program.ts'
import { cpioArchive, type CpioEntry } from './cpio.ts'
import { GUEST_FILES } from './guest-files.ts'
import { diskFull, fetchPackages, unpack } from './packages.ts'
import { GUEST_FOLDERS, GUEST_PACKAGES, RECIPE_HASH } from './recipe.ts'

/** A built guest image. */
export interface GuestImage {
  /** Changes with the recipe and with the version of every package in it. */
  id: string
  kernel: string
  initrd: string
  /** Package archives it was made from: name, version, architecture. */
  packages: string[]
}

export interface ImageOptions extends CallOptions {
  /** One line for whoever watches. */
  onProgress?: (text: string) => void
}

/** The newest image of the present recipe, or undefined when none is built. */
export async function findImage(paths: LabPaths): Promise<GuestImage | undefined> {
  const names = await readdir(paths.images).catch(() => [] as string[])
  const built = await Promise.all(
    names
      .filter((name) => name.startsWith(`${RECIPE_HASH}-`))
      .map(async (name) => ({ name, time: (await stat(join(paths.images, name))).mtimeMs })),
  )
  const newest = built.toSorted((a, b) => b.time - a.time)[0]
  if (!newest) return undefined
  const folder = join(paths.images, newest.name)
  const packages = JSON.parse(await readFile(join(folder, 'packages.json'), 'utf8')) as string[]
  return { id: newest.name, kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd'), packages }
}

/**
 * The guest image: found in the cache, else built there from distribution packages. Several processes may ask
 * at once: one builds. An interrupted or failed build leaves nothing behind.
 *
 * @throws `ATP_LAB_IMAGE_*`, `ATP_INTERRUPTED`, `ATP_TIMEOUT`.
 */
export async function ensureImage(paths: LabPaths, options: ImageOptions = {}): Promise<GuestImage> {
  const found = await findImage(paths)
  if (found) return found
  const { onProgress, ...bounds } = options
  return await withLock(
    `image ${paths.home}`,
    { ...bounds, onWait: () => onProgress?.('waiting for another process that builds the guest image') },
    async () => (await findImage(paths)) ?? (await build(paths, options)),
  )
}

async function build(paths: LabPaths, { onProgress, signal }: ImageOptions): Promise<GuestImage> {
  let staging: string | undefined
  try {
    await mkdir(paths.images, { recursive: true })
    await removeAbandoned(paths.images)
    staging = await mkdtemp(join(paths.images, '.building-'))
    const debs = join(staging, 'debs')
    const root = join(staging, 'root')
    await Promise.all([mkdir(debs), mkdir(root)])
    onProgress?.(`fetching ${GUEST_PACKAGES.length} Debian packages for the guest image`)
    const fetched = await fetchPackages(GUEST_PACKAGES, { folder: debs, aptState: join(staging, 'apt'), signal })
    onProgress?.('unpacking and assembling the guest image')
    for (const item of fetched) await unpack(item, root, signal)
    const packages = fetched.map((item) => basename(item.file, '.deb')).toSorted()
    const id = `${RECIPE_HASH}-${createHash('sha256').update(packages.join()).digest('hex').slice(0, 8)}`
    const made = join(staging, 'made')
    await mkdir(made)
    await rename(await kernelIn(root), join(made, 'vmlinuz'))
    await writeFile(join(made, 'initrd'), cpioArchive(await guestTree(root, signal)))
    await writeFile(join(made, 'packages.json'), JSON.stringify(packages, undefined, 2))
    // Package members come with the modes of their package; the daemons' user must be able to read these.
    await Promise.all([chmod(made, 0o755), chmod(join(made, 'vmlinuz'), 0o644), chmod(join(made, 'initrd'), 0o644)])
    await rename(made, join(paths.images, id))
    onProgress?.(`guest image ${id} built`)
  } catch (error) {
    throw signal?.aborted ? interrupted('building the guest image', signal) : asImageError(error, paths.images)
  } finally {
    if (staging) await rm(staging, { recursive: true, force: true })
  }
  return (await findImage(paths)) as GuestImage
}

/** Called under the lock, so whatever is there was left by a process that was killed. */
async function removeAbandoned(images: string): Promise<void> {
  for (const name of await readdir(images)) {
    if (name.startsWith('.building-')) await rm(join(images, name), { recursive: true, force: true })
  }
}

function asImageError(error: unknown, place: string): unknown {
  if (isAtpError(error)) return error
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(`${place}: ${messageOf(error)}`)
  return remoteError('ATP_LAB_IMAGE_BUILD', `building the guest image in ${place} failed: ${messageOf(error)}`, {
    cause: error,
    remedy: 'set ATP_HOME to a folder where this user may write, or mend what the message names',
  })
}

async function kernelIn(root: string): Promise<string> {
  const [kernel] = await readdir(join(root, 'boot'))
  return join(root, 'boot', kernel as string)
}

/** Unpacked packages, busybox's applets, and the lab's own files, as members of the guest's root. */
async function guestTree(root: string, signal?: AbortSignal): Promise<CpioEntry[]> {
  const entries = new Map<string, CpioEntry>()
  const addFolders = (path: string) => {
    const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0))
    if (!parent || entries.has(parent)) return
    addFolders(parent)
    entries.set(parent, { path: parent, type: 'directory', mode: 0o755 })
  }
  const add = (entry: CpioEntry) => {
    addFolders(entry.path)
    entries.set(entry.path, entry)
  }
  const names = (await readdir(root, { recursive: true, withFileTypes: true })).toSorted((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  )
  for (const item of names) {
    const file = join(item.parentPath, item.name)
    // All modules sit in one folder in the guest: it loads them by name, in a fixed order.
    const path = item.name.endsWith('.ko') ? `lib/modules/${item.name}` : file.slice(root.length + 1)
    if (item.isSymbolicLink()) add({ path, type: 'symlink', target: await readlink(file) })
    else if (item.isFile())
      add({ path, type: 'file', mode: (await stat(file)).mode & 0o777, content: await readFile(file) })
  }
  const applets = await runProgram(join(root, 'bin/busybox'), ['--list-full'], { signal, timeoutMs: 10_000 })
  for (const path of applets.stdout.split('\n').filter(Boolean)) {
    if (!entries.has(path)) add({ path, type: 'symlink', target: '/bin/busybox' })
  }
  for (const path of GUEST_FOLDERS) add({ path, type: 'directory', mode: path === 'tmp' ? 0o1777 : 0o755 })
  for (const { path, mode, content } of GUEST_FILES) add({ path, type: 'file', mode, content: Buffer.from(content) })
  add({ path: 'var/run', type: 'symlink', target: '../run' })
  add({ path: 'etc/hostname', type: 'symlink', target: '/proc/sys/kernel/hostname' })
  add({ path: 'init', type: 'symlink', target: 'sbin/init' })
  return [...entries.values()]
}
