import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { interrupted, isAtpError, messageOf, remoteError, type CallOptions } from '../../framework/core/index.ts'
import { withLock } from '../lock.ts'
import type { LabPaths } from '../paths.ts'
import { diskFull, fetchPackages, unpack } from './packages.ts'
import type { PackageUse } from './recipe.ts'

/** Something that is made of distribution packages. */
export interface Recipe {
  /** For messages: "guest image". */
  label: string
  /** Changes with the recipe. */
  hash: string
  packages: readonly PackageUse[]
  /** Writes what is to be kept into the folder `made`, from the packages unpacked in `root`. */
  assemble(root: string, made: string, signal?: AbortSignal): Promise<void>
}

/** Something made by a recipe, in the cache. */
export interface Built {
  /** Changes with the recipe and with the version of every package in it. */
  id: string
  folder: string
  /** Package archives it was made from: name, version, architecture. */
  packages: string[]
}

export interface BuildOptions extends CallOptions {
  /** One line for whoever watches. */
  onProgress?: (text: string) => void
}

/** The newest that was made by the present recipe, or undefined when none is built. */
export async function findBuilt(paths: LabPaths, { hash }: Recipe): Promise<Built | undefined> {
  const names = await readdir(paths.images).catch(() => [] as string[])
  const built = await Promise.all(
    names
      .filter((name) => name.startsWith(`${hash}-`))
      .map(async (name) => ({ name, time: (await stat(join(paths.images, name))).mtimeMs })),
  )
  const newest = built.toSorted((a, b) => b.time - a.time)[0]
  if (!newest) return undefined
  const folder = join(paths.images, newest.name)
  const packages = JSON.parse(await readFile(join(folder, 'packages.json'), 'utf8')) as string[]
  return { id: newest.name, folder, packages }
}

/**
 * Found in the cache, else built there from distribution packages. Several processes may ask at once: one builds. An
 * interrupted or failed build leaves nothing behind.
 *
 * @throws `ATP_LAB_IMAGE_*`, `ATP_INTERRUPTED`, `ATP_TIMEOUT`.
 */
export async function ensureBuilt(paths: LabPaths, recipe: Recipe, options: BuildOptions = {}): Promise<Built> {
  const found = await findBuilt(paths, recipe)
  if (found) return found
  const { onProgress, ...bounds } = options
  return await withLock(
    `image ${paths.home}`,
    { ...bounds, onWait: () => onProgress?.(`waiting for another process that builds the ${recipe.label}`) },
    async () => (await findBuilt(paths, recipe)) ?? (await build(paths, recipe, options)),
  )
}

async function build(paths: LabPaths, recipe: Recipe, { onProgress, signal }: BuildOptions): Promise<Built> {
  const { label, hash, packages: uses } = recipe
  let staging: string | undefined
  try {
    await mkdir(paths.images, { recursive: true })
    await removeAbandoned(paths.images)
    staging = await mkdtemp(join(paths.images, '.building-'))
    const [debs, root, made] = [join(staging, 'debs'), join(staging, 'root'), join(staging, 'made')]
    await Promise.all([mkdir(debs), mkdir(root), mkdir(made)])
    onProgress?.(`fetching ${uses.length} Debian packages for the ${label}`)
    const fetched = await fetchPackages(uses, { folder: debs, aptState: join(staging, 'apt'), signal })
    onProgress?.(`unpacking and assembling the ${label}`)
    for (const item of fetched) await unpack(item, root, signal)
    const packages = fetched.map((item) => basename(item.file, '.deb')).toSorted()
    const id = `${hash}-${createHash('sha256').update(packages.join()).digest('hex').slice(0, 8)}`
    await recipe.assemble(root, made, signal)
    await writeFile(join(made, 'packages.json'), JSON.stringify(packages, undefined, 2))
    // The daemons' user must be able to read it, whatever the mask of this process is.
    await chmod(made, 0o755)
    await rename(made, join(paths.images, id))
    onProgress?.(`${label} ${id} built`)
  } catch (error) {
    throw signal?.aborted ? interrupted(`building the ${label}`, signal) : asImageError(error, label, paths.images)
  } finally {
    if (staging) await rm(staging, { recursive: true, force: true })
  }
  return (await findBuilt(paths, recipe)) as Built
}

/** Called under the lock, so whatever is there was left by a process that was killed. */
async function removeAbandoned(images: string): Promise<void> {
  for (const name of await readdir(images)) {
    if (name.startsWith('.building-')) await rm(join(images, name), { recursive: true, force: true })
  }
}

function asImageError(error: unknown, label: string, place: string): unknown {
  if (isAtpError(error)) return error
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(`${place}: ${messageOf(error)}`)
  return remoteError('ATP_LAB_IMAGE_BUILD', `building the ${label} in ${place} failed: ${messageOf(error)}`, {
    cause: error,
    remedy: 'set ATP_HOME to a folder where this user may write, or mend what the message names',
  })
}
