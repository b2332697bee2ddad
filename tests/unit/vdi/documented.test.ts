import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { DEFAULT_ASSUMPTIONS } from '../../../framework/vdi/index.ts'

it('docs/vdi.md has every assumption with its default', () => {
  const page = readFileSync(new URL('../../../docs/vdi.md', import.meta.url), 'utf8')
  const table = page.slice(page.indexOf('## Assumptions'))
  const rows = [...table.matchAll(/^\| `(\w+)` \| `(.+?)` \| (.+) \|$/gm)].map(([, name, value]) => [name, value])
  expect(rows).toEqual(Object.entries(DEFAULT_ASSUMPTIONS).map(([name, value]) => [name, JSON.stringify(value)]))
})
