import { execFile } from 'node:child_process'
import { mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const FILES = {
  'a.spec.yaml': `name: 矩阵 \${matrix.via}
id: TC-1
tags: [smoke]
matrix:
  via:
    - qmp
    - spice
steps:
  - { action: keyboard.type, text: Hello }
  - action: command.exec
    command: "false \${matrix.via}"
    verify: true
`,
  'b.spec.json': '{\n  "name": "JSON 场景",\n  "steps": [{ "action": "log", "message": "hi" }]\n}\n',
  'c.spec.yaml': 'name: c\nsteps:\n  - action: keyboard.tipe\n    text: x\n',
  'd.spec.ts':
    "import { expect, test } from 'vitest'\nimport data from './data.json'\ntest('data', () => expect(data.a).toBe(1))\n",
  'data.json': '{ "a": 1 }',
}

async function session(...filters: string[]): Promise<Record<string, unknown>[]> {
  const root = realpathSync(mkdtempSync(`${tmpdir()}/atp-vitest-`))
  symlinkSync(`${process.cwd()}/node_modules`, `${root}/node_modules`)
  for (const [name, text] of Object.entries(FILES)) writeFileSync(`${root}/${name}`, text)
  const script = new URL('./vitest-session.ts', import.meta.url).pathname
  const files = filters.map((filter) => `${root}/${filter}`)
  // Variables of the Vitest around this test would make the inner one a worker of it.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))
  const { stdout } = await promisify(execFile)(process.execPath, [script, root, ...files], { env, cwd: root })
  return JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? '[]') as Record<string, unknown>[]
}

describe('under Vitest', () => {
  it('tests, failures and broken files stand where the YAML says', { timeout: 60_000 }, async () => {
    const found = await session()
    const byName = Object.fromEntries(found.map((one) => [String(one['name'] ?? one['file']), one]))
    expect(byName['矩阵 qmp']).toMatchObject({
      at: 'a.spec.yaml:6',
      tags: ['smoke'],
      state: 'passed',
      meta: { id: 'TC-1', needs: { vms: [{}] } },
    })
    expect(byName['矩阵 spice']).toMatchObject({
      at: 'a.spec.yaml:7',
      state: 'failed',
      code: 'ATP_SCENARIO_COMMAND',
      top: 'a.spec.yaml:10:5',
    })
    expect(byName['JSON 场景']).toMatchObject({ at: 'b.spec.json:2', state: 'passed' })
    expect(byName['c.spec.yaml']).toMatchObject({ code: 'ATP_SCENARIO_INVALID', top: 'c.spec.yaml:3:13' })
    expect(byName['data']).toMatchObject({ state: 'passed' })
  })

  it('a line of the YAML selects its test', { timeout: 60_000 }, async () => {
    const found = await session('a.spec.yaml:7')
    expect(found.map((one) => [one['name'], one['state']])).toEqual([
      ['矩阵 qmp', 'skipped'],
      ['矩阵 spice', 'failed'],
    ])
  })
})
