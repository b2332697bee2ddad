import { existsSync, readFileSync } from 'node:fs'

/** Version of this package, read from its package.json (source and compiled layouts differ in depth). */
export function packageVersion(): string {
  for (let dir = new URL('.', import.meta.url); dir.pathname !== '/'; dir = new URL('..', dir)) {
    const file = new URL('package.json', dir)
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  }
  throw new Error('the package has no package.json')
}
