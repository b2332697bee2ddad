/** Fixtures and steps of the platform in runs of the real command line; its VMs are in memory. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { MemoryWorld, startPlatform, type Platform } from '../../../lab/platform/index.ts'
import { project, spec } from '../../lab/project.ts'

const SECRET = 'VDI_TEST_PASSWORD'
const CREATE = '{ action: vdi.create_desk_pool, name: office, count: 2, template: ps2 }'

let platform: Platform
let world: MemoryWorld
let env: Record<string, string>
let config: Record<string, unknown>

beforeAll(async () => {
  world = new MemoryWorld()
  platform = await startPlatform({ world })
  env = { [SECRET]: platform.adminPassword.reveal() }
  config = { lab: undefined, vdi: { url: platform.url, username: platform.adminUser, password: { env: SECRET } } }
})
afterAll(() => platform.close())
beforeEach(() => expect(world.list()).toEqual([]))

describe('the vdi fixture', () => {
  it('is logged in once for all tests of a worker, and its password is in no report', async () => {
    const logins = platform.logins
    const body = `
test('lists hosts', async ({ vdi }) => {
  expect(await vdi.hosts.listAll()).toHaveLength(2)
})
test('calls and assumes', async ({ vdi }) => {
  expect((await vdi.models.listAll()).map(({ name }) => name).toSorted()).toEqual(['ps2', 'usb', 'virtio'])
  expect(vdi.assumptions.expiredTokenCodes).toEqual([1006])
  expect(Object.keys(vdi)).not.toContain('close')
})
test('fails with the code of the platform', async ({ vdi }) => {
  await expect(vdi.domains.get('none')).rejects.toMatchObject({ code: 'ATP_VDI_REFUSED' })
})`
    const home = project({ 'specs/a.spec.ts': spec(body) }, config)
    const outcome = await home.run(['test'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(platform.logins - logins).toBe(1)
    const { [SECRET]: password = '' } = env
    expect(readFileSync(join(home.dir, 'report.json'), 'utf8') + outcome.stdout).not.toContain(password)
  })

  it('says what is missing where no platform is configured', async () => {
    const files = {
      'specs/a.spec.ts': spec(`test('x', async ({ vdi }) => void vdi)`),
      'specs/b.spec.yaml': `name: b\nsteps: [${CREATE}]\n`,
    }
    const home = project(files, { lab: undefined })
    const outcome = await home.run(['test'])
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(1)
    const codes = home.report().reports.flatMap(({ errors }) => errors.map(({ code }) => code))
    expect(new Set(codes)).toEqual(new Set(['ATP_SCENARIO_NEEDS_VDI', 'ATP_VDI_UNCONFIGURED']))
    expect(outcome.stdout + outcome.stderr).toContain('vdi: {')
  })
})

describe('pools that steps make', () => {
  it('are removed at the end of the test', async () => {
    const yaml = `name: a
steps:
  - ${CREATE}
  - { action: verify.desk_pool_created }
  - { action: start_domain }
  - { action: verify.all_domains_running }
  - { action: get_desk_pool_domains, capture: desktops }
  - { action: log, message: '\${desktops[1].name}' }
`
    // There are no hypervisors to be asked whether the VMs are gone.
    const home = project({ 'specs/a.spec.yaml': yaml }, { ...config, timeouts: { teardown: '3s' } })
    const outcome = await home.run(['test'], env)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(home.report().reports[0]?.steps.at(-1)).toMatchObject({ status: 'Success' })
    expect(world.list()).toEqual([])
  })

  it('are removed when the run is killed', async () => {
    const yaml = `name: a\nsteps:\n  - ${CREATE}\n  - { action: start_domain }\n  - { action: wait, duration: 10m }\n`
    const home = project({ 'specs/a.spec.yaml': yaml }, config)
    const running = home.start(['test'], env)
    const states = () => world.list().map(({ state }) => state)
    await pollUntil('two VMs to run', { timeoutMs: 40_000 }, async () =>
      states().join() === 'running,running' ? true : undefined,
    )
    process.kill(-(running.child.pid as number), 'SIGKILL')
    await running.finished
    await pollUntil('the broker to clean up', { timeoutMs: 30_000 }, async () => world.list().length === 0 || undefined)
    expect(existsSync(join(home.dir, 'report.json'))).toBe(false)
  })
})

describe('the pool fixture', () => {
  it('leaves nothing when the hypervisors do not have what the platform made', async () => {
    const body = `
test.override('poolOptions', { vms: ['alice', 'bob'], template: 'ps2' })
test('x', async ({ pool }) => void pool)`
    const home = project({ 'specs/a.spec.ts': spec(body) }, config)
    const outcome = await home.run(['test'], env)
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(3)
    expect(home.report().reports[0]?.errors[0]?.message).toContain('memory-')
    expect(world.list()).toEqual([])
  })

  it("refuses options that are the platform's to decide", async () => {
    const body = `
test.override('poolOptions', { vms: ['alice'], host: 'lab-1' })
test('x', async ({ pool }) => void pool)`
    const home = project({ 'specs/a.spec.ts': spec(body) }, config)
    const outcome = await home.run(['test'], env)
    expect(outcome.code).toBe(1)
    expect(home.report().reports[0]?.errors[0]?.code).toBe('ATP_VDI_POOL_OPTIONS')
  })
})
