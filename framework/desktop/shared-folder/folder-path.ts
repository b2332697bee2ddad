import { lstat, realpath } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { HttpFailure } from './http-failure.ts'

/** Where a request's path leads within a shared folder. */
export interface FolderPath {
  /** On this machine. */
  file: string
  /** Names from the folder's root, none for the root itself. */
  names: readonly string[]
}

/**
 * Follows the path of a URL below `root`. No name, written in whatever way, and no symbolic link leads out of it.
 *
 * @param root as `realpath` gives it.
 * @throws `HttpFailure` 400 for what is no path, 403 for what leads out, 404 where a folder on the way is missing.
 */
export async function resolveFolderPath(root: string, urlPath: string): Promise<FolderPath> {
  const names = namesOf(urlPath)
  const file = join(root, ...names)
  await assertWithin(root, file)
  return { file, names }
}

/** The path of names as a URL has it. */
export function urlPathOf(names: readonly string[], folder: boolean): string {
  const path = `/${names.map(encodeURIComponent).join('/')}`
  return folder && names.length > 0 ? `${path}/` : path
}

function namesOf(urlPath: string): string[] {
  const [path = ''] = urlPath.split(/[?#]/, 1)
  if (!path.startsWith('/')) throw new HttpFailure(400, 'not a path')
  return path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => {
      const name = decoded(part)
      // Two dots lead up, a separator within a name leads anywhere, and one dot is nothing's name.
      if (name === '..' || name === '.' || /[/\\\0]/.test(name)) throw new HttpFailure(403, 'outside of the folder')
      return name
    })
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new HttpFailure(400, 'not UTF-8')
  }
}

/** Looks at what is there: the file itself, or else the folder it would be made in. */
async function assertWithin(root: string, file: string): Promise<void> {
  for (let place = file; ; place = dirname(place)) {
    const real = await realpath(place).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === 'ELOOP' || (await isLink(place))) throw new HttpFailure(403, 'a link that leads nowhere')
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
      throw error
    })
    if (real !== undefined) {
      const way = relative(root, real)
      if (way === '..' || way.startsWith(`..${sep}`)) throw new HttpFailure(403, 'outside of the folder')
      return
    }
    if (place === root) throw new HttpFailure(404, 'the shared folder is gone')
  }
}

/** Whoever made a file where a link leads that leads nowhere yet, would make it anywhere. */
async function isLink(place: string): Promise<boolean> {
  return lstat(place).then(
    (stats) => stats.isSymbolicLink(),
    () => false,
  )
}
