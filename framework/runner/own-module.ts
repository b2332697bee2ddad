import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * File of a module of this package, as source in the repository and compiled in the published package.
 *
 * @param path path without extension, relative to the package's root: `lab/index`.
 */
export function ownModule(path: string): string {
  const base = fileURLToPath(new URL(`../../${path}`, import.meta.url))
  return existsSync(`${base}.js`) ? `${base}.js` : `${base}.ts`
}
