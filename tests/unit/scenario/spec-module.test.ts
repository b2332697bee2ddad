import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { SourceMap } from 'node:module'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import {
  defineStep,
  loadScenario,
  registerStep,
  registerStepHandler,
  runScenarioTest,
  stepRegistry,
  throwInvalidScenario,
} from '../../../framework/scenario/index.ts'
import { invalidModule, specModule } from '../../../framework/scenario/spec-module.ts'
import { CACHE_VERSION, cacheKey, scenarioPlugin } from '../../../framework/scenario/vite-plugin.ts'
import { memoryVm } from './memory-vm.ts'

const TEXT = `# 注释
name: 输入 \${matrix.via}
id: TC-7
tags: [smoke, 输入]
meta: { knownIssue: ABC-1 }
matrix:
  via:
    - qmp
    - spice
steps:
  - { action: keyboard.type, text: hi, via: "\${matrix.via}" }
`

async function moduleOf(text: string) {
  const { scenario } = await loadScenario({ text }, { file: '/p/x.spec.yaml' })
  return specModule(scenario, text, stepRegistry)
}

describe('the module made from a scenario', () => {
  it('has one test for each combination, with literal titles and tags', async () => {
    const { code } = await moduleOf(TEXT)
    const tests = code.split('\n').filter((line) => line.startsWith('test('))
    expect(tests).toHaveLength(2)
    expect(tests[0]).toMatch(
      /^test\("输入 qmp", \{ tags: \["smoke","输入"\], meta: \{.*\}, timeout: \d+ \}, \(\{ scenario \}\) => runScenarioTest\(record, scenario, \{"via":"qmp"\}\)\)$/,
    )
    expect(tests[1]).toContain('"knownIssue":"ABC-1","id":"TC-7","needs":{"vms":[{}],"locks":[]}')
  })

  it('leads from each test to the line that made it', async () => {
    const { code, map } = await moduleOf(TEXT)
    const lines = code.split('\n')
    const places = new SourceMap(map as never)
    const found = lines.flatMap((line, index) => (line.startsWith('test(') ? [places.findEntry(index, 0)] : []))
    expect(
      found.map(
        (entry) => 'originalLine' in entry && [entry.originalSource, entry.originalLine + 1, entry.originalColumn + 1],
      ),
    ).toEqual([
      ['/p/x.spec.yaml', 8, 7],
      ['/p/x.spec.yaml', 9, 7],
    ])
    expect(map.sourcesContent).toEqual([TEXT])
  })

  it('names combinations that the name does not show', async () => {
    const { code } = await moduleOf('name: n\nmatrix: { a: [1, 2], b: [x] }\nsteps: [{ wait: 1s }]')
    expect(code).toContain('test("n [a=1, b=x]"')
    expect(code).toContain('test("n [a=2, b=x]"')
  })

  it('rejects with the failure of the scenario', async () => {
    const { scenario } = await loadScenario({ text: TEXT }, { file: '/p/x.spec.yaml' })
    const vm = memoryVm('v')
    const fixtures = { resolveVm: () => vm, signal: new AbortController().signal }
    await runScenarioTest(scenario, fixtures, { via: 'qmp' })
    expect(vm.calls).toEqual(['v type hi'])
    const error: unknown = await runScenarioTest(
      scenario,
      { ...fixtures, resolveVm: () => undefined },
      { via: 'qmp' },
    ).catch((thrown: unknown) => thrown)
    expect(isAtpError(error, 'ATP_SCENARIO_NO_TARGET')).toBe(true)
  })

  it('of an invalid file throws the error anew, place first', async () => {
    const error = await loadScenario({ text: 'name: n\nsteps: [{ action: wiat }]' }, { file: '/p/y.spec.yaml' }).catch(
      (thrown: unknown) => thrown,
    )
    if (!isAtpError(error)) throw error
    expect(invalidModule(error)).toContain('did you mean \\"wait\\"?')
    expect(() => throwInvalidScenario(error.message, error.context as never)).toThrow(
      expect.objectContaining({ code: 'ATP_SCENARIO_INVALID' }),
    )
    try {
      throwInvalidScenario(error.message, error.context as never)
    } catch (thrown) {
      expect((thrown as Error).stack).toMatch(/\n {4}at \/p\/y\.spec\.yaml:2:19$/)
    }
  })
})

describe('the Vite plugin', () => {
  const transform = async (name: string, text: string) => {
    const file = `${mkdtempSync(`${tmpdir()}/atp-plugin-`)}/${name}`
    writeFileSync(file, text)
    const watched: string[] = []
    const { handler } = scenarioPlugin().transform as unknown as {
      handler: (code: string, id: string) => Promise<{ code: string }>
    }
    const { code } = await handler.call({ addWatchFile: (path: string) => watched.push(path) } as never, text, file)
    return { code, watched }
  }

  it('translates YAML and JSON alike', async () => {
    expect((await transform('a.spec.yaml', TEXT)).code).toContain('test("输入 qmp"')
    expect((await transform('a.spec.json', '{"name":"j","steps":[{"action":"log","message":"m"}]}')).code).toContain(
      'test("j"',
    )
    expect((await transform('a.spec.yaml', 'name: [')).code).toContain('throwInvalidScenario(')
  })

  it('takes only spec files', () => {
    const { id } = (scenarioPlugin().transform as unknown as { filter: { id: RegExp } }).filter
    const names = ['a.spec.yaml', 'a.spec.yml', 'a.spec.json', 'a.spec.yaml?x=1', 'a.yaml', 'package.json', 'a.spec.ts']
    expect(names.map((name) => id.test(name))).toEqual([true, true, true, true, false, false, false])
  })

  it('is cached by what it depends on: content, step kinds, and no other files', () => {
    const before = cacheKey('/a.spec.yaml', 'action: wait')
    expect(before).toMatch(new RegExp(`^${CACHE_VERSION} `))
    const remove = registerStep(defineStep({ action: 'demo.cached', summary: 'x', run: async () => {} }))
    expect(cacheKey('/a.spec.yaml', 'action: wait')).not.toBe(before)
    remove()
    const forget = registerStepHandler('h', () => {})
    expect(cacheKey('/a.spec.yaml', 'action: wait')).not.toBe(before)
    forget()
    expect(cacheKey('/a.spec.yaml', 'action: wait')).toBe(before)
    expect(cacheKey('/a.spec.json', '"scenario.run"')).toBe(false)
    expect(cacheKey('/a.ts', 'scenario.run')).toBe(CACHE_VERSION)
  })
})

describe('the runner-free border', () => {
  it('nothing of the scenario room imports Vitest', async () => {
    const { globSync } = await import('node:fs')
    for (const file of globSync('framework/scenario/**/*.ts'))
      expect(readFileSync(file, 'utf8'), file).not.toMatch(/from 'vitest/)
  })

  it('the model imports nothing of Node', async () => {
    const { globSync } = await import('node:fs')
    for (const file of globSync('framework/scenario/model/*.ts'))
      expect(readFileSync(file, 'utf8'), file).not.toMatch(/from 'node:|core\/index\.ts'/)
  })
})
