import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { drawOperationName } from '../../../../framework/protocols/spice/display/draw-operations.ts'
import { VIDEO_CODEC_NAMES } from '../../../../framework/protocols/spice/display/messages.ts'
import { DISPLAY_SERVER, IMAGE_TYPE } from '../../../../framework/protocols/spice/wire/numbers.ts'

const ROOT = resolve(import.meta.dirname, '../../../..')
const TABLES = readFileSync(resolve(ROOT, 'docs/spice.md'), 'utf8')
  .split('<!-- generated: spice-tables -->')[1]
  ?.split('<!-- /generated -->')[0]
const ROWS = new Map(
  [...(TABLES ?? '').matchAll(/^\| `(\S+)`\s*\| (.+?)\s*\|$/gm)].map(([, name, cell]) => [name, cell]),
)

describe('the tables of docs/spice.md, which scripts/spice-tables.ts writes', () => {
  it.each([
    ...Object.keys(IMAGE_TYPE),
    ...Object.values(DISPLAY_SERVER).flatMap((type) => drawOperationName(type) ?? []),
    ...Object.values(VIDEO_CODEC_NAMES),
  ])('tell how often %s came', (name) => {
    expect(ROWS.get(name)).toMatch(/^(?:[1-9]\d*|0: not covered)$/)
  })

  it.each(readdirSync(resolve(ROOT, 'framework/protocols/spice/codec')))('tell that %s is tested', (file) => {
    expect(ROWS.get(file)).toMatch(/ %$/)
    expect(Number.parseFloat(ROWS.get(file) as string)).toBeGreaterThanOrEqual(90)
  })
})
