import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { browserBundle } from '../../guest/web/bundle.ts'

const root = resolve(import.meta.dirname, '../..')
let dir: string

/** Runs a program in the empty project, with the Node of this test. */
function run(file: string, ...args: string[]): string {
  const env = {
    ...process.env,
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    npm_config_loglevel: 'error',
  }
  for (const name of ['VITEST', 'NODE_ENV', 'TEST', 'VITEST_POOL_ID', 'VITEST_WORKER_ID'])
    delete env[name as keyof typeof env]
  return execFileSync(file, args, { cwd: dir, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

describe('the published package', () => {
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'atp-package-'))
    execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'pipe' })
    run('npm', 'pack', join(root, 'dist'), '--silent')
    const tarball = readdirSync(dir).find((file) => file.endsWith('.tgz')) as string
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'somebodys-tests', private: true, type: 'module' }))
    run('npm', 'install', '--no-audit', '--no-fund', `./${tarball}`)
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  it('installs into an empty project and runs specs of both kinds', () => {
    mkdirSync(join(dir, 'specs'))
    writeFileSync(
      join(dir, 'atp.config.ts'),
      `import { defineConfig } from '@ocloudview/atp/config'\nexport default defineConfig({ lab: true, report: { json: 'report.json' } })\n`,
    )
    writeFileSync(
      join(dir, 'specs/typing.spec.ts'),
      `import { expect, test } from '@ocloudview/atp'
test('types', async ({ keyboard }) => {
  const delivery = await keyboard.type('packed', { verify: 'require' })
  expect(delivery).toBeDelivered()
})\n`,
    )
    writeFileSync(
      join(dir, 'specs/typing.spec.yaml'),
      'atp: 1\nname: 打包\nsteps:\n  - { action: keyboard.type, text: packed, verify: true }\n',
    )
    const printed = run('npx', 'atp', 'test')
    expect(printed).toMatch(/2 passed/)
    expect(readdirSync(join(dir, 'allure-report'))).toContain('index.html')
  })

  it('has entry points that work without Vitest', () => {
    for (const entry of ['libvirt', 'qmp', 'qga', 'spice', 'scenario', 'config', 'reporters']) {
      const names = run(
        process.execPath,
        '--input-type=module',
        '-e',
        `console.log(Object.keys(await import('@ocloudview/atp/${entry}')).length)`,
      )
      expect(Number(names), entry).toBeGreaterThan(0)
    }
  })

  it('has a SPICE client for browsers', async () => {
    const code = await browserBundle(join(dir, 'node_modules/@ocloudview/atp/framework/protocols/spice/index.js'))
    expect(code).toMatch(/\bexport \{[^}]*\bSpiceVmConnection\b/)
  })
})
