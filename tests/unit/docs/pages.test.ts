import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { configSchema, resolveConfig } from '../../../framework/config/index.ts'
import { pageOf, pages, ROOT, tableRows } from './pages.ts'
import { stepTable } from './step-table.ts'

describe('links', () => {
  it.each(pages.map((page) => [page.path, page] as const))('of %s lead somewhere', (path, { links, anchors }) => {
    for (const link of links.filter((one) => !/^[a-z]+:/.test(one))) {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? path : join(dirname(path), file)
      expect(existsSync(join(ROOT, target)), `${path} links to ${link}`).toBe(true)
      if (anchor === undefined) continue
      expect(file === '' ? anchors : pageOf(target).anchors, `${path} links to ${link}`).toContain(anchor)
    }
  })

  it('of the README reach every page', () => {
    expect(pageOf('README.md').links).toEqual(
      expect.arrayContaining(pages.map(({ path }) => path).filter((path) => path !== 'README.md')),
    )
  })
})

describe('commands', () => {
  const lines = pages.flatMap(({ path, blocks, spans }) => {
    const inBlocks = blocks.filter((block) => block.language === 'sh').flatMap((block) => block.text.split('\n'))
    return [...inBlocks, ...spans].map((text) => ({ path, text: text.replace(/\s#.*$/, '') }))
  })

  it('"npm run" names scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const named = lines.flatMap(({ path, text }) =>
      [...text.matchAll(/npm run ([a-z:-]+)/g)].map(([, script]) => ({ path, script: script as string })),
    )
    expect(named.length).toBeGreaterThan(5)
    for (const { path, script } of named)
      expect(Object.keys(scripts), `"npm run ${script}" in ${path}`).toContain(script)
  })

  it('"atp" has the sub-commands and options that are named', () => {
    const words = commandWords()
    const named = lines.flatMap(({ path, text }) =>
      [...text.matchAll(/(?:^|npx )atp ([^)|]*)/g)].map(([, rest]) => ({
        path,
        parts: (rest as string).trim().split(/\s+/),
      })),
    )
    expect(named.length).toBeGreaterThan(30)
    for (const { path, parts } of named) {
      const where = `"atp ${parts.join(' ')}" in ${path}`
      const longest = [2, 1].map((count) => parts.slice(0, count).join(' ')).find((command) => words.has(command))
      expect(longest, where).toBeDefined()
      const command = longest as string
      const next = parts[command.split(' ').length]
      const isGroup = [...words.keys()].some((other) => other.startsWith(`${command} `))
      if (isGroup && next !== undefined) expect(words.get(command), where).toContain(next)
      for (const option of parts.filter((part) => part.startsWith('--')))
        expect(words.get(command), where).toContain(option)
    }
  })
})

/** Sub-commands and options by command path, as the completion script lists them. */
function commandWords(): Map<string, string[]> {
  const script = execFileSync(process.execPath, [join(ROOT, 'bin/atp.js'), 'completion', 'bash'], { encoding: 'utf8' })
  return new Map(
    [...script.matchAll(/^ {4}'([a-z ]*)'\) words='([^']*)'/gm)].map(([, path, words]) => [
      path as string,
      (words as string).split(' '),
    ]),
  )
}

describe('tables', () => {
  it('of step kinds is that of the registry (UPDATE_DOCS=1 writes it)', () => {
    const path = join(ROOT, 'docs/writing-specs.md')
    const marked = /(<!-- generated: steps -->\n)[^]*?(\n?<!-- \/generated -->)/
    const text = readFileSync(path, 'utf8')
    const wanted = text.replace(marked, (_, start: string) => `${start}${stepTable()}\n<!-- /generated -->`)
    if (process.env['UPDATE_DOCS']) writeFileSync(path, wanted)
    else expect(text).toBe(wanted)
  })

  it('of settings has every setting of the schema, with its default', () => {
    const section = pageOf('docs/getting-started.md').text.split('<!-- checked: settings -->')[1] as string
    const rows = new Map(
      tableRows(section).map(([name = '', value = '']) => [name.replaceAll('`', ''), value.replaceAll('`', '')]),
    )
    expect([...rows.keys()].toSorted()).toEqual(settingsOf(configSchema as unknown as Schema).toSorted())
    const resolved = resolveConfig({ lab: {} }, '/') as unknown as Record<string, unknown>
    const { timeouts } = resolved as { timeouts: Record<string, number> }
    for (const [name, ms] of Object.entries(timeouts)) expect(rows.get(`timeouts.${name}`)).toBe(`${ms / 1000}s`)
    for (const name of ['retry', 'bail']) expect(rows.get(name)).toBe(String(resolved[name]))
    for (const name of ['hosts', 'tags', 'plugins'] as const)
      expect([rows.get(name), resolved[name]]).toEqual(['[]', []])
    for (const name of ['evidence', 'video']) expect(rows.get(name)).toBe(`'${String(resolved[name])}'`)
    expect(rows.get('specs')).toBe(`['${(resolved['specs'] as string[]).join()}']`)
    const { allure } = resolved['report'] as { allure: Record<string, string> }
    for (const name of ['results', 'report', 'history'])
      expect(rows.get(`report.allure.${name}`)).toBe(`'${allure[name]?.slice(1)}'`)
  })

  it('of fixtures names each of them', () => {
    const source = readFileSync(join(ROOT, 'fixtures/index.ts'), 'utf8')
    const { prose } = pageOf('docs/fixtures.md')
    const names = [...source.matchAll(/\.extend\('(\w+)'/g)].map(([, name]) => name as string)
    expect(names.length).toBeGreaterThan(10)
    for (const name of names.filter((one) => one !== 'scenario')) expect(prose).toContain(`\`${name}\``)
  })
})

interface Schema {
  properties?: Record<string, Schema>
  items?: Schema
  oneOf?: Schema[]
}

/** Paths of all settings: `lab`, `lab.hosts`, `hosts[].id`. A map of settings without meaning of its own has no row. */
function settingsOf(schema: Schema, prefix = ''): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const path = prefix + name
    const alternatives = value.oneOf ?? [value]
    const below = alternatives.flatMap((one) => [
      ...settingsOf(one, `${path}.`),
      // What the elements of the quality gate hold is described where it is explained.
      ...(path.endsWith('qualityGate')
        ? []
        : (one.items?.oneOf ?? [one.items ?? {}]).flatMap((item) => settingsOf(item, `${path}[].`))),
    ])
    return value.properties ? below : [path, ...below]
  })
}
