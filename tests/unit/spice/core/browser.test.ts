import { existsSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { browserBundle } from '../../../../guest/web/bundle.ts'

const ROOT = resolve(import.meta.dirname, '../../../..')
const ENTRY = resolve(ROOT, 'framework/protocols/spice/index.ts')
const STATEMENT = /^(?:import|export)(?!\s+type\b)[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gms
/** Packages that run in browsers too. */
const PACKAGES = new Set(['fflate'])

/** Every module that is loaded with the client, and what it imports of others. */
function loaded(file: string, seen = new Map<string, string>()): Map<string, string> {
  if (seen.has(file)) return seen
  const text = readFileSync(file, 'utf8')
  seen.set(file, text)
  for (const [, from, bare] of text.matchAll(STATEMENT)) {
    const name = (from ?? bare) as string
    if (name.startsWith('.')) loaded(resolve(dirname(file), name), seen)
    else expect(PACKAGES, `${relative(ROOT, file)} imports ${name}`).toContain(name)
  }
  return seen
}

it('the SPICE client needs nothing of Node', () => {
  const modules = loaded(ENTRY)
  expect(modules.size).toBeGreaterThan(20)
  for (const [file, text] of modules) {
    expect(existsSync(file)).toBe(true)
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    expect(code, relative(ROOT, file)).not.toMatch(/\b(?:Buffer|process|require|setImmediate|__dirname)\b[.(]/)
  }
})

it('the SPICE client is one module for a browser', { timeout: 60_000 }, async () => {
  const code = await browserBundle(ENTRY)
  expect(code).toMatch(/\bexport \{[^}]*\bSpiceVmConnection\b/)
  expect(code).not.toMatch(/^import\b/m)
})
