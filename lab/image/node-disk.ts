import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LabPaths } from '../paths.ts'
import { ensureBuilt, type BuildOptions, type Recipe } from './cache.ts'
import { erofsImage } from './erofs.ts'
import { NODE_PACKAGES, NODE_RECIPE_HASH } from './recipe.ts'
import { Tree } from './tree.ts'

const RECIPE: Recipe = {
  label: 'disk with Node',
  hash: NODE_RECIPE_HASH,
  packages: NODE_PACKAGES,
  async assemble(root, made) {
    const tree = new Tree()
    // The libraries of all packages in one folder: `lib`, `bin/node`, `share/nodejs`.
    await tree.addFrom(root, (path) => path.replace(/^usr\//, '').replace(/^lib\/[^/]+\//, 'lib/'))
    await writeFile(fileIn(made), erofsImage(tree.entries()))
    await chmod(fileIn(made), 0o644)
  },
}

const fileIn = (folder: string) => join(folder, 'node.erofs')

/**
 * The file of a disk that holds Node, apart from the guest image: only guests of profile `agent` read it, and of it
 * only what they use. Found in the cache, else built there.
 *
 * @throws as {@link ensureBuilt} does.
 */
export async function ensureNodeDisk(paths: LabPaths, options: BuildOptions = {}): Promise<string> {
  return fileIn((await ensureBuilt(paths, RECIPE, options)).folder)
}
