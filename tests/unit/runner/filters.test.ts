import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { scenarioFilters, selectionOf } from '../../../framework/runner/filters.ts'

const MATRIX = `name: each
matrix:
  user:
    - one
    - two
steps:
  - action: wait
    duration: 1ms
`

describe('scenarioFilters', () => {
  it('takes any line of a scenario for the scenario, a line of its matrix for that combination', async () => {
    const root = mkdtempSync(join(tmpdir(), 'atp-filters-'))
    onTestFinished(() => rmSync(root, { recursive: true }))
    writeFileSync(join(root, 'a.spec.yaml'), MATRIX)
    const filters = ['a.spec.yaml:7', 'a.spec.yaml:5', 'a.spec.ts:7', 'folder', 'none.spec.yaml:2']
    expect(await scenarioFilters(filters, root)).toEqual([
      'a.spec.yaml',
      'a.spec.yaml:5',
      'a.spec.ts:7',
      'folder',
      'none.spec.yaml',
    ])
  })
})

describe('selectionOf', () => {
  const test = { fullName: 'suite > 中文', file: 'specs/a.spec.ts', line: 3, tags: ['smoke'] }
  it('selects whole files silently', () => {
    expect(selectionOf(['specs'], undefined, undefined)).toBeUndefined()
  })
  it.each<[string[], string | undefined, string | undefined, boolean]>([
    [[], '中文', undefined, true],
    [[], 'english', undefined, false],
    [[], undefined, 'smoke and not slow', true],
    [[], undefined, 'slow', false],
    [['a.spec.ts:3'], undefined, undefined, true],
    [['a.spec.ts:4'], undefined, undefined, false],
  ])('%j %s %s: %s', (filters, name, tags, wanted) => {
    expect(selectionOf(filters, name, tags)?.(test)).toBe(wanted)
  })
})
