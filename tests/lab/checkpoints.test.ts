/** Checkpoints on real VMs: prepared once in a run, restored for each test, gone with the run. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stopBroker } from '../../framework/leases/index.ts'
import { ensureImage } from '../../lab/image/build.ts'
import { labDown, labPaths } from '../../lab/index.ts'
import { labVms, within } from './processes.ts'
import { project, spec } from './project.ts'

// A lab of its own: its files are counted. Only the image is shared.
let home: string
let env: Record<string, string>

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = mkdtempSync('/tmp/atp-cp-')
  symlinkSync(shared.images, join(home, 'images'))
  env = { ATP_HOME: home }
  process.env['ATP_HOME'] = home
})
afterAll(async () => {
  await stopBroker(join(home, 'broker'))
  await labDown()
  rmSync(home, { recursive: true, force: true })
})

/** Files of saved machines on all hosts. */
const kept = () =>
  readdirSync(join(home, 'hosts'), { recursive: true }).filter((name) => /^\d+\/p\//.test(String(name)))

const LOGGED_IN = `
const loggedIn = {
  name: '登录',
  prepare: async ({ vm, step }) => {
    await step('log in', async () => {
      console.log('PREPARING')
      const typed = await vm.keyboard.type('echo in > /tmp/session\\n', { verify: 'require' })
      expect(typed).toBeDelivered()
      await expect(vm.guest.file('/tmp/session')).toHaveText('in\\n')
      await vm.guest.shell('echo 李雷 > /root/user; sleep 98765 > /dev/null 2>&1 &')
    })
  },
}
`
const one = (name: string) => `test('${name}', async ({ vm, guest, keyboard }) => {
  console.log('on', vm.uuid)
  expect(await guest.file('/root/user').text()).toBe('李雷\\n')
  expect((await guest.shell('ps')).stdoutText).toContain('98765')
  expect(await guest.file('/root/mine').exists()).toBe(false)
  await guest.file('/root/mine').write('x')
  expect(await keyboard.type('echo again > /tmp/t\\n', { verify: 'require' })).toMatchObject({ lost: 0, duplicated: 0 })
  expect((await guest.shell('hostname')).stdoutText.trim()).toBe(vm.name)
  expect(Math.abs(Number((await guest.shell('date +%s')).stdoutText) - Date.now() / 1000)).toBeLessThan(10)
})\n`
const tests = (...names: string[]) =>
  spec(`${LOGGED_IN}test.override('vmOptions', { checkpoint: loggedIn })\n${names.map(one).join('')}`)
const times = (text: string, line: string) => text.split('\n').filter((one) => one.trim() === line).length

describe('a checkpoint', () => {
  it('is prepared once for five tests of two workers, and none sees the changes of another', async () => {
    const { run } = project({ 'specs/a.spec.ts': tests('1', '2', '3'), 'specs/b.spec.ts': tests('4', '5') })
    const outcome = await run(['test', '--workers', '2'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(outcome.stdout).toContain('5 passed')
    expect(times(outcome.stdout, 'PREPARING')).toBe(1)
    expect(new Set(outcome.stdout.match(/on [0-9a-f-]{36}/g)).size).toBe(5)
    expect(kept()).toEqual([])
  })

  it('has the same words in YAML, and is the same for all combinations that prepare the same', async () => {
    const { run } = project({
      'specs/a.spec.yaml': `atp: 1
name: 登录后 \${matrix.word}
matrix: { word: [一, 二] }
vars: { user: 李雷 }
use:
  checkpoint:
    name: 登录
    prepare:
      - { action: command.exec, command: "echo \${vars.user} > /root/user; echo x > /dev/ttyS0" }
      - { action: keyboard.type, text: "echo from keys > /tmp/keys\\n", verify: true }
steps:
  - { action: expect.file, path: /root/user, contains: 李雷 }
  - { action: expect.file, path: /tmp/keys, contains: from keys }
  - { action: command.exec, command: "test ! -e /root/mine && echo \${matrix.word} > /root/mine" }
`,
    })
    const outcome = await run(['test'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(outcome.stdout).toContain('2 passed')
    // One action with 28 keys: typed in one preparation.
    expect(outcome.stdout).toMatch(/1 delivered/)
  })

  it('serves all machines of a pool', async () => {
    const { run } = project({
      'specs/a.spec.ts': spec(`${LOGGED_IN}
test.override('poolOptions', { vms: ['alice', 'bob'], checkpoint: loggedIn })
test('both', async ({ pool }) => {
  expect(pool.vms.alice.uuid).not.toBe(pool.vms.bob.uuid)
  await pool.each((vm) => expect(vm.guest.file('/root/user')).toHaveText('李雷\\n'))
})`),
    })
    const outcome = await run(['test'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(times(outcome.stdout, 'PREPARING')).toBe(1)
  })

  it('that cannot be prepared is one clear error for each test, with its cause', async () => {
    const failing = (name: string) =>
      spec(`test.override('vmOptions', {
  checkpoint: {
    name: '坏',
    prepare: async ({ vm }) => {
      console.log('PREPARING')
      await vm.guest.ping()
      throw new Error('密码错误')
    },
  },
})
test('${name}', async ({ vm }) => { console.log('IN BODY', vm.name) })`)
    const { run } = project({ 'specs/a.spec.ts': failing('1'), 'specs/b.spec.ts': failing('2') })
    const outcome = await run(['test', '--workers', '2'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 1 })
    const text = outcome.stdout + outcome.stderr
    expect(times(text, 'PREPARING')).toBe(1)
    expect(times(text, 'ATP_CHECKPOINT_PREPARE: checkpoint "坏" could not be prepared: 密码错误')).toBe(2)
    expect(text).not.toMatch(/^ *IN BODY/m)
  })

  it('is refused where nothing can be restored', async () => {
    const { run } = project(
      {
        'specs/a.spec.ts':
          spec(`test.override('poolOptions', { vms: ['a'], checkpoint: { name: 'x', prepare: () => {} } })
test('of the platform', ({ pool }) => { console.log(pool.all.length) })`),
      },
      { lab: false, vdi: { url: 'http://127.0.0.1:9', username: 'admin', password: { env: 'VDI_PASSWORD' } } },
    )
    const outcome = await run(['test'], { ...env, VDI_PASSWORD: 'none' })
    expect(outcome.stdout, outcome.stderr).toContain('ATP_CHECKPOINT_UNSUPPORTED: there can be no checkpoint "x"')
  })
})

describe('the saved machine goes', () => {
  const hangs = spec(`${LOGGED_IN}test.override('vmOptions', { checkpoint: loggedIn })
test('hangs', async ({ vm }) => { console.log('IN BODY', vm.name); await new Promise(() => {}) })`)

  it('when its run is killed', async () => {
    const running = project({ 'specs/a.spec.ts': hangs }).start(['test'], env)
    await running.printed('IN BODY')
    expect(kept()).not.toEqual([])
    process.kill(-(running.child.pid as number), 'SIGKILL')
    expect(await within(10_000, () => kept().length === 0)).toBe(true)
  })

  it('with atp gc when the broker was killed, too', async () => {
    const { start, run } = project({ 'specs/a.spec.ts': hangs })
    const running = start(['test'], env)
    await running.printed('IN BODY')
    const { pid } = JSON.parse(readFileSync(join(home, 'broker', 'broker.json'), 'utf8')) as { pid: number }
    process.kill(pid, 'SIGKILL')
    process.kill(-(running.child.pid as number), 'SIGKILL')
    expect(kept()).not.toEqual([])
    const swept = await run(['gc'], env)
    expect(swept, swept.stdout + swept.stderr).toMatchObject({ code: 0 })
    expect(kept()).toEqual([])
    expect(labVms(home)).toEqual([])
  })
})
