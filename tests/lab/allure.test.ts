import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project, spec } from './project.ts'

interface AllureResult {
  name: string
  status: string
  historyId: string
  start: number
  labels: { name: string; value: string }[]
  parameters: { name: string; value: string }[]
  steps: { name: string; attachments: { name: string; source: string }[]; steps: unknown[] }[]
  attachments: { name: string; source: string }[]
}

describe('Allure', () => {
  it('gets one result per attempt, with the calls of the author, latency and evidence', async () => {
    const home = project(
      {
        'specs/a.spec.ts': spec(`import { existsSync, writeFileSync } from 'node:fs'
import { attachment, label, parameter, step as allureStep } from 'allure-js-commons'
test('tells', { retry: 1 }, async ({ keyboard, step }) => {
  await label('owner', '张三')
  await allureStep('their step', () => attachment('note', 'hello', 'text/plain'))
  await step('our step', () => keyboard.type('abc', { verify: 'require' }))
  if (!existsSync('once')) { writeFileSync('once', ''); throw new Error('first time') }
})
test.concurrent.for(['one', 'two'])('at once: %s', async (name) => {
  await parameter('who', name)
  await new Promise((end) => setTimeout(end, 20))
  await parameter('still', name)
})`),
      },
      { report: { allure: {} } },
    )
    mkdirSync(join(home.dir, 'node_modules'))
    symlinkSync(
      resolve(import.meta.dirname, '../../node_modules/allure-js-commons'),
      join(home.dir, 'node_modules/allure-js-commons'),
    )
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const folder = join(home.dir, 'allure-results')
    const results = readdirSync(folder)
      .filter((file) => file.endsWith('-result.json'))
      .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as AllureResult)
      .toSorted((a, b) => a.name.localeCompare(b.name) || a.start - b.start)
    expect(results.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'at once: one passed',
      'at once: two passed',
      'tells broken',
      'tells passed',
    ])
    const [one, two, first, second] = results as [AllureResult, AllureResult, AllureResult, AllureResult]
    expect(second.historyId).toBe(first.historyId)
    for (const attempt of [first, second]) {
      expect(attempt.labels).toContainEqual({ name: 'owner', value: '张三' })
      expect(attempt.steps.map((each) => each.name)).toEqual(expect.arrayContaining(['our step', 'their step']))
      expect(attempt.parameters.find(({ name }) => name === 'key p50')?.value).toMatch(/^[\d.]+ ± [\d.]+ ms/)
    }
    for (const [result, name] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      expect(result.parameters).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ name: 'who', value: name }),
          expect.objectContaining({ name: 'still', value: name }),
        ]),
      )
    }
    // Evidence of the attempt that failed only.
    expect(first.attachments.map(({ name }) => name)).toEqual(
      expect.arrayContaining([expect.stringMatching(/screen$/), expect.stringMatching(/transcript/)]),
    )
    expect(second.attachments.map(({ name }) => name)).not.toContainEqual(expect.stringMatching(/screen$/))
    for (const { source } of first.attachments) expect(readdirSync(folder)).toContain(source)

    const page = readFileSync(join(home.dir, 'allure-report/index.html'), 'utf8')
    const loaded = [...page.matchAll(/<(?:script|link|img)\b[^>]*?(?:src|href)="([^"]{1,40})/g)].map(
      (match) => match[1],
    )
    expect(loaded.filter((url) => !url?.startsWith('data:'))).toEqual([])
    expect(page).not.toMatch(/googletagmanager|google-analytics/)
  })

  it("keeps allure-vitest's own set-up working", async () => {
    const home = project(
      {
        'specs/a.spec.ts': spec(`import 'allure-vitest/setup'
import { label } from 'allure-js-commons'
test('tells', async () => { await label('owner', '李四') })`),
      },
      { report: { allure: {} } },
    )
    const from = createRequire(import.meta.url)
    mkdirSync(join(home.dir, 'node_modules'))
    for (const [name, entry] of [
      ['allure-js-commons', from.resolve('allure-js-commons')],
      ['allure-vitest', from.resolve('allure-vitest/setup')],
    ] as const) {
      symlinkSync(entry.slice(0, entry.indexOf(name) + name.length), join(home.dir, 'node_modules', name))
    }
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const folder = join(home.dir, 'allure-results')
    const [result] = readdirSync(folder).filter((file) => file.endsWith('-result.json'))
    const { labels } = JSON.parse(readFileSync(join(folder, result as string), 'utf8')) as AllureResult
    expect(labels).toContainEqual({ name: 'owner', value: '李四' })
  })
})
