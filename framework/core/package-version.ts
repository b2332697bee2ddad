import { readFileSync } from 'node:fs'
import { internalError } from './errors.ts'

/**
 * Version of this package, from its package.json (source and compiled layouts differ in depth).
 *
 * @throws `ATP_PACKAGE` when the package has lost that file.
 */
export function packageVersion(): string {
  for (let dir = new URL('.', import.meta.url); dir.pathname !== '/'; dir = new URL('..', dir)) {
    try {
      const manifest = JSON.parse(readFileSync(new URL('package.json', dir), 'utf8')) as Record<string, unknown>
      if (manifest['name'] === '@ocloudview/atp') return String(manifest['version'])
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  throw internalError('ATP_PACKAGE', `no package.json of @ocloudview/atp above ${import.meta.url}`)
}
