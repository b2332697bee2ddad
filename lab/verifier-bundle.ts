import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
/** What the agent is made of, without the page for browsers. */
const SOURCES = ['guest/agent', 'guest/bin', 'guest/core', 'guest/protocol', 'framework/core', 'framework/keys']

let bundled: { of: string; text: Promise<string> } | undefined

/**
 * The guest verifier as one file: that of the package, or in a working tree one made of the sources as they are now,
 * also in a process that has lived for longer than they are unchanged.
 */
export async function verifierBundle(): Promise<string> {
  if (!import.meta.filename.endsWith('.ts')) return readFile(join(ROOT, 'guest/dist/atp-verifier.mjs'), 'utf8')
  const of = await stateOfSources()
  if (bundled?.of !== of) {
    const text = import('../guest/bundle.ts').then(({ bundleVerifier }) => bundleVerifier())
    bundled = { of, text }
    text.catch(() => (bundled = undefined))
  }
  return bundled.text
}

async function stateOfSources(): Promise<string> {
  const files = await Promise.all(
    SOURCES.map(async (folder) => {
      const items = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })
      return items.filter((item) => item.isFile()).map((item) => join(item.parentPath, item.name))
    }),
  )
  const states = await Promise.all(files.flat().map(async (file) => `${file} ${(await stat(file)).mtimeMs}`))
  return states.toSorted().join('\n')
}
