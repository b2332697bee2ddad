import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { remoteError } from '../framework/core/index.ts'
import { runProgram } from './run-program.ts'

const ROOT = resolve(import.meta.dirname, '..')
/** What the agent is made of, without the page for browsers. */
const SOURCES = ['guest/agent', 'guest/bin', 'guest/core', 'guest/protocol', 'framework/core', 'framework/keys']

const TIMEOUT_MS = 60_000

let bundled: { of: string; text: Promise<string> } | undefined

/**
 * The guest verifier as one file: that of the package, or in a working tree one made of the sources as they are now,
 * also in a process that has lived for longer than they are unchanged.
 *
 * @throws `ATP_LAB_GUEST_VERIFIER` when it cannot be made.
 */
export async function verifierBundle(): Promise<string> {
  if (!import.meta.filename.endsWith('.ts')) return readFile(join(ROOT, 'guest/dist/atp-verifier.mjs'), 'utf8')
  const of = await stateOfSources()
  if (bundled?.of !== of) {
    const text = build()
    bundled = { of, text }
    text.catch(() => {
      if (bundled?.of === of) bundled = undefined
    })
  }
  return bundled.text
}

/** In a process of its own: what comes out depends on the folder and the environment, and names a snapshot. */
async function build(): Promise<string> {
  const options = { cwd: join(ROOT, 'guest'), env: { ...process.env, NODE_ENV: 'production' }, timeoutMs: TIMEOUT_MS }
  const { exitCode, stdout, stderr } = await runProgram(process.execPath, ['build.ts', '--stdout'], options)
  if (exitCode === 0 && stdout) return stdout
  throw remoteError('ATP_LAB_GUEST_VERIFIER', `the guest verifier cannot be built: ${stderr.trim() || exitCode}`)
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
