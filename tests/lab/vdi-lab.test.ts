/** The lab's stand-in as the platform of a project: no address, no password, real VMs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../framework/core/index.ts'
import { ensureImage } from '../../lab/image/build.ts'
import { labDown, labPaths } from '../../lab/index.ts'
import { project, spec } from './project.ts'

const TIMEOUT_MS = 300_000
const NESTED = resolve(import.meta.dirname, '../../specs/seeds/nested.spec.yaml')
const CONFIG = { lab: { hosts: 1 }, vdi: 'lab' }
let home: string
let env: Record<string, string>

// A lab of its own: a stand-in that stays is one for each lab, and "lab down" ends all there is.
beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-vl-')
  env = { ATP_HOME: home }
  await symlink(shared.images, join(home, 'images'))
}, TIMEOUT_MS)

afterAll(async () => {
  const before = process.env['ATP_HOME']
  process.env['ATP_HOME'] = home
  try {
    await labDown()
  } finally {
    if (before === undefined) delete process.env['ATP_HOME']
    else process.env['ATP_HOME'] = before
  }
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

/** Command lines of the lab's QEMUs and stand-ins, told by /proc. */
function processes(what: 'qemu-system' | 'serve-main'): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
        const ours = line.includes(home) || environment.includes(`ATP_HOME=${home}`)
        return line.includes(what) && ours ? [line] : []
      } catch {
        return []
      }
    })
}
const nothingLeft = () => processes('qemu-system').length === 0 && processes('serve-main').length === 0

describe('a run with vdi: "lab"', () => {
  it('runs the nested seed verbatim, on two VMs, and leaves nothing', { timeout: TIMEOUT_MS }, async () => {
    const after = `name: 种子场景之后
steps:
  - { action: scenario.run, file: nested.spec.yaml }
  # Without "on": each VM that the seed has connected. This is the guest's own view of its screen.
  - { action: expect.file, path: /dev/vcs1, contains: Hello from ATP! }
`
    const files = { 'specs/nested.spec.yaml': readFileSync(NESTED, 'utf8'), 'specs/after.spec.yaml': after }
    const run = project(files, CONFIG)
    const outcome = await run.run(['test', 'specs/nested'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const { deliveries } = run.report().reports[0] as { deliveries: { vm: string }[] }
    // Fifteen characters, five of them with Shift, seen by the kernel of each guest.
    expect(deliveries).toMatchObject([
      { vm: '测试桌面池-1', outcome: 'delivered', sent: 40, seen: 40, lost: 0 },
      { vm: '测试桌面池-2', outcome: 'delivered', sent: 40, seen: 40, lost: 0 },
    ])
    const shown = await run.run(['test', 'specs/after'], env)
    expect(shown, shown.stdout + shown.stderr).toMatchObject({ code: 0 })
    expect(run.report().reports[0]?.steps.at(-1)?.output).toBe('测试桌面池-1: as expected; 测试桌面池-2: as expected')
    expect(nothingLeft()).toBe(true)
  })

  it('gives a test the one VM it asks for, of the platform or of the lab', { timeout: TIMEOUT_MS }, async () => {
    const body = `
describe('of a template', () => {
  test.override('vmOptions', { template: 'ps2' })
  test('is a pool of one', async ({ vm, vdi, keyboard }) => {
    const { name, status, desktopPoolId } = await vdi.domains.get(vm.uuid)
    expect([name, status]).toEqual([vm.name, 1])
    expect(await vdi.deskPools.domains(desktopPoolId)).toHaveLength(1)
    expect(await keyboard.type('one', { verify: 'require' })).toBeDelivered()
  })
})
describe('of the default template', () => {
  test.override('vmOptions', { platform: true })
  test('knows its name', async ({ vm, guest }) => {
    expect(vm.name).toMatch(/^atp-/)
    expect((await guest.shell('hostname')).stdoutText.trim()).toBe(vm.name)
  })
})
describe('of the lab', () => {
  test.override('vmOptions', { template: 'ps2', platform: false })
  test('is leased', async ({ vm }) => expect([vm.name, vm.profile]).toEqual([expect.stringMatching(/^vm-/), 'ps2']))
})
describe('of neither', () => {
  test.override('vmOptions', { template: 'win11' })
  test('is refused', async ({ vm }) => void vm)
})
describe('with a place', () => {
  test.override('vmOptions', { template: 'ps2', host: 'lab-1' })
  test('is refused', async ({ vm }) => void vm)
})
`
    const yaml = `name: 两个角色，一个在平台
use: { vms: { alice: { template: ps2 }, bob: {} } }
steps:
  - { action: command.exec, on: alice, command: hostname, expect: { stdout: { matches: ^atp- } } }
  - { action: command.exec, on: bob, command: hostname, expect: { stdout: { matches: ^vm- } } }
`
    const one = `name: 一台
use: { template: ps2 }
steps:
  - { action: keyboard.type, text: "echo typed > /tmp/typed\\n", verify: true }
  - { action: expect.file, path: /tmp/typed, equals: typed }
`
    const files = { 'specs/a.spec.ts': spec(body), 'specs/b.spec.yaml': yaml, 'specs/c.spec.yaml': one }
    const run = project(files, CONFIG)
    const outcome = await run.run(['test'], env)
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(1)
    const reports = run
      .report()
      .reports.toSorted((a, b) => a.file.localeCompare(b.file) || (a.line ?? 0) - (b.line ?? 0))
    expect(reports.map(({ passed, errors }) => (passed ? 'passed' : errors[0]?.code))).toEqual([
      'passed',
      'passed',
      'passed',
      'ATP_LEASE_IMPOSSIBLE',
      'ATP_VDI_POOL_OPTIONS',
      'passed',
      'passed',
    ])
    // The reports know VMs of the platform as they know leased ones.
    expect(reports[3]?.errors[0]?.message).toMatch(/the platform has no template "win11"; .*machine profile "win11"/)
    expect(reports[6]?.vms).toMatchObject([{ name: expect.stringMatching(/^atp-/), host: 'lab-1', profile: 'ps2' }])
    expect(nothingLeft()).toBe(true)
  })

  it('ends its stand-in and the VMs when it is killed', { timeout: TIMEOUT_MS }, async () => {
    const body = `
test.override('poolOptions', { vms: ['alice', 'bob'], template: 'ps2' })

test('waits', { timeout: 600_000 }, async ({ pool }) => {
  await pool.each((vm) => vm.guest.ping())
  console.log('both answer')
  await new Promise(() => {})
})
`
    const run = project({ 'specs/a.spec.ts': spec(body) }, CONFIG)
    const running = run.start(['test'], env)
    await running.printed('both answer', TIMEOUT_MS / 2)
    expect([processes('qemu-system').length, processes('serve-main').length]).toEqual([2, 1])
    process.kill(-(running.child.pid as number), 'SIGKILL')
    await running.finished
    await pollUntil('the stand-in to end', { timeoutMs: 60_000 }, async () => nothingLeft() || undefined)
  })

  it('fails and sweeps when its stand-in is killed', { timeout: TIMEOUT_MS }, async () => {
    // Without "lab" every machine is the platform's.
    const body = `
import { readdirSync, readFileSync } from 'node:fs'
test('loses the platform', async ({ vm, guest }) => {
  await guest.ping()
  expect(vm.name).toMatch(/^atp-/)
  for (const pid of readdirSync('/proc').filter((entry) => /^\\d+$/.test(entry))) {
    try {
      const ours = readFileSync('/proc/' + pid + '/environ', 'utf8').includes('ATP_HOME=' + process.env.ATP_HOME + '\\0')
      if (ours && readFileSync('/proc/' + pid + '/cmdline', 'utf8').includes('serve-main')) process.kill(Number(pid), 'SIGKILL')
    } catch {}
  }
})
`
    const config = { lab: undefined, vdi: 'lab', timeouts: { teardown: '5s' } }
    const run = project({ 'specs/a.spec.ts': spec(body) }, config)
    const outcome = await run.run(['test'], env)
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(3)
    expect(outcome.stdout + outcome.stderr).toContain('ATP_LAB_PLATFORM_END')
    expect(nothingLeft()).toBe(true)
  })
})

it('"lab up" keeps a stand-in for runs and commands until "lab down"', { timeout: TIMEOUT_MS }, async () => {
  const body = `
test('the platform keeps its users', async ({ vdi }) => {
  await vdi.users.create({ sAMAccountName: 'zhangsan', sn: '张', givenName: '三', group: 'ou=ocloud' })
})
`
  const run = project({ 'specs/a.spec.ts': spec(body) }, CONFIG)
  const early = await run.run(['vdi', 'hosts'], env)
  expect(early).toMatchObject({ code: 3, stderr: expect.stringContaining('ATP_LAB_PLATFORM_DOWN') })
  const up = await run.run(['lab', 'up'], env)
  onTestFinished(async () => void (await run.run(['lab', 'down'], env)))
  expect(up, up.stderr).toMatchObject({ code: 0 })
  const [, url] = /stand-in platform at (http:\/\/127\.0\.0\.1:\d+), user admin/.exec(up.stderr) ?? []
  expect((await run.run(['lab', 'up'], env)).stderr).toContain(url)
  const outcome = await run.run(['test'], env)
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
  const hosts = await run.run(['vdi', 'hosts'], env)
  expect(hosts.stdout, hosts.stderr).toMatch(/lab-1 +127\.0\.0\.1 +enabled/)
  // The broker's standby is not the platform's.
  expect((await run.run(['lab', 'status'], env)).stdout).toMatch(/vm-\d+ +standby/)
  const verified = await run.run(['vdi', 'verify'], env)
  expect(verified).toMatchObject({ code: 0, stdout: 'no difference: 0 VMs of the platform; 0 domains on 1 host\n' })
  expect((await run.run(['lab', 'status'], env)).stdout).toContain(url)
  const record = join(home, 'platform/kept.json')
  expect(readFileSync(record, 'utf8')).toContain(url)
  expect((await run.run(['lab', 'down'], env)).stderr).toContain('stand-in platform ended')
  expect(existsSync(record)).toBe(false)
  expect(nothingLeft()).toBe(true)
})
