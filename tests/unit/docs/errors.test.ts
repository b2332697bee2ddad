import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { VARIABLES } from '../../../guest/agent/options.ts'
import { pageOf, pages, ROOT, tableRows } from './pages.ts'

/** Environment variables, which look like codes. */
const NOT_CODES = new Set(['ATP_HOME'])

const sources = globSync('{framework,lab,fixtures,reporters,guest}/**/*.ts', { cwd: ROOT }).map((file) =>
  readFileSync(join(ROOT, file), 'utf8'),
)
const inCode = new Set(
  sources
    .flatMap((text) => [...text.matchAll(/'(ATP_[A-Z_]*[A-Z])'/g)].map(([, code]) => code as string))
    .filter((code) => !NOT_CODES.has(code)),
)
const rows = tableRows(pageOf('docs/errors.md').text).flatMap(([code = '', branch = '', meaning = '']) => {
  const name = /^`(ATP_[A-Z_]+)`$/.exec(code)?.[1]
  return name === undefined ? [] : [{ code: name, branch, meaning }]
})

it('every code of the sources is on the page, once, with its meaning', () => {
  const onPage = rows.map(({ code }) => code)
  expect(onPage.toSorted()).toEqual([...inCode].toSorted())
  expect(rows.filter(({ meaning }) => meaning === '')).toEqual([])
})

it('the branch of each code is that of the sources', () => {
  const branches = new Map<string, Set<string>>()
  for (const text of sources) {
    for (const [, branch, code] of text.matchAll(
      /\b(config|state|connect|timeout|interrupted|protocol|remote|assertion|unsupported|internal)Error\(\s*'(ATP_[A-Z_]+)'/g,
    )) {
      branches.set(code as string, (branches.get(code as string) ?? new Set()).add(branch as string))
    }
  }
  for (const { code, branch } of rows) {
    const thrown = branches.get(code)
    if (!thrown) continue
    // Problems of scenario files are no errors of their own; some are thrown as well.
    const written = branch.replace(/ \(.*\)$/, '').split(', ')
    expect(written.toSorted(), code).toEqual([...thrown].toSorted())
  }
})

it('pages speak of no other codes', () => {
  const known = new Set([...rows.map(({ code }) => code), ...NOT_CODES, ...VARIABLES])
  for (const { path, text } of pages) {
    for (const [code] of text.matchAll(/\bATP_[A-Z_]+[A-Z](?![A-Z_*…])/g))
      expect(known, `${code} in ${path}`).toContain(code)
  }
})
