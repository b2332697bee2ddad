import { chmod, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LabPaths } from '../paths.ts'
import { runProgram } from '../run-program.ts'
import { ensureBuilt, findBuilt, type BuildOptions, type Built, type Recipe } from './cache.ts'
import { cpioArchive, type CpioEntry } from './cpio.ts'
import { GUEST_FILES } from './guest-files.ts'
import { GUEST_FOLDERS, GUEST_PACKAGES, RECIPE_HASH } from './recipe.ts'
import { Tree } from './tree.ts'

/** A built guest image. */
export interface GuestImage {
  /** Changes with the recipe and with the version of every package in it. */
  id: string
  kernel: string
  initrd: string
  /** Package archives it was made from: name, version, architecture. */
  packages: string[]
  /** The file of the disk with Node, where a profile asks for it. */
  nodeDisk?: string
}

const RECIPE: Recipe = {
  label: 'guest image',
  hash: RECIPE_HASH,
  packages: GUEST_PACKAGES,
  async assemble(root, made, signal) {
    const [kernel, initrd] = [join(made, 'vmlinuz'), join(made, 'initrd')]
    await rename(await kernelIn(root), kernel)
    await writeFile(initrd, cpioArchive(await guestTree(root, signal)))
    // Package members come with the modes of their package; the daemons' user must be able to read these.
    await Promise.all([chmod(kernel, 0o644), chmod(initrd, 0o644)])
  },
}

/** The newest image of the present recipe, or undefined when none is built. */
export async function findImage(paths: LabPaths): Promise<GuestImage | undefined> {
  const found = await findBuilt(paths, RECIPE)
  return found && asImage(found)
}

/**
 * The guest image: found in the cache, else built there.
 *
 * @throws as {@link ensureBuilt} does.
 */
export async function ensureImage(paths: LabPaths, options: BuildOptions = {}): Promise<GuestImage> {
  return asImage(await ensureBuilt(paths, RECIPE, options))
}

function asImage({ id, folder, packages }: Built): GuestImage {
  return { id, kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd'), packages }
}

async function kernelIn(root: string): Promise<string> {
  const [kernel] = await readdir(join(root, 'boot'))
  return join(root, 'boot', kernel as string)
}

/** Unpacked packages, busybox's applets, and the lab's own files, as members of the guest's root. */
async function guestTree(root: string, signal?: AbortSignal): Promise<CpioEntry[]> {
  const tree = new Tree()
  // All modules sit in one folder in the guest: it loads them by name, in a fixed order.
  await tree.addFrom(root, (path) => path.replace(/^lib\/modules\/.*\/(?=[^/]+\.ko$)/, 'lib/modules/'))
  const applets = await runProgram(join(root, 'bin/busybox'), ['--list-full'], { signal, timeoutMs: 10_000 })
  for (const path of applets.stdout.split('\n').filter(Boolean)) {
    if (!tree.has(path)) tree.add({ path, type: 'symlink', target: '/bin/busybox' })
  }
  for (const path of GUEST_FOLDERS) tree.add({ path, type: 'directory', mode: path === 'tmp' ? 0o1777 : 0o755 })
  for (const { path, mode, content } of GUEST_FILES) {
    tree.add({ path, type: 'file', mode, content: Buffer.from(content) })
  }
  tree.add({ path: 'var/run', type: 'symlink', target: '../run' })
  tree.add({ path: 'etc/hostname', type: 'symlink', target: '/proc/sys/kernel/hostname' })
  tree.add({ path: 'init', type: 'symlink', target: 'sbin/init' })
  return tree.entries()
}
