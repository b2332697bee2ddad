/** The platform in runs of the real command line, on real VMs. */
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import type { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { VdiClient } from '../../../framework/vdi/index.ts'
import { labHost, openHost } from '../../../lab/hosts.ts'
import { ensureImage } from '../../../lab/image/build.ts'
import { labDown, labPaths } from '../../../lab/index.ts'
import { LibvirtWorld, startPlatform, type Platform } from '../../../lab/platform/index.ts'
import { project, spec } from '../../lab/project.ts'

const TIMEOUT_MS = 300_000
const SECRET = 'VDI_TEST_PASSWORD'
const NESTED = resolve(import.meta.dirname, '../../../specs/seeds/nested.spec.yaml')

let home: string
let platform: Platform
let client: VdiClient
let env: Record<string, string>
let config: Record<string, unknown>
const hosts: LibvirtClient[] = []

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-rv-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
  platform = await startPlatform({ world: new LibvirtWorld() })
  for (const index of [1, 2]) hosts.push(await openHost(labHost(labPaths(), index)))
  const { url, adminUser: username, adminPassword: password } = platform
  client = new VdiClient({ baseUrl: url, username, password })
  env = { [SECRET]: password.reveal() }
  config = {
    lab: undefined,
    hosts: platform.hosts.map(({ name, uri }) => ({ id: name, uri })),
    vdi: { url, username, password: { env: SECRET }, template: 'ps2' },
  }
}, TIMEOUT_MS)

afterAll(async () => {
  await client?.close()
  for (const host of hosts) await host.close()
  await platform?.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

/** What there is in both worlds. */
async function worlds(): Promise<string[]> {
  const domains = await Promise.all(hosts.map((host) => host.listDomains()))
  const [pools, vms] = await Promise.all([client.deskPools.listAll(), client.domains.listAll()])
  return [...domains.flat(), ...pools, ...vms].map(({ name }) => name)
}
afterEach(async () => expect(await worlds()).toEqual([]))

it('runs the nested seed verbatim, on two VMs', { timeout: TIMEOUT_MS }, async () => {
  const run = project({ 'specs/nested.spec.yaml': readFileSync(NESTED, 'utf8') }, config)
  const outcome = await run.run(['test'], env)
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
  const { deliveries } = run.report().reports[0] as { deliveries: { vm: string }[] }
  // Fifteen characters, five of them with Shift.
  expect(deliveries).toMatchObject([
    { vm: '测试桌面池-1', outcome: 'delivered', sent: 40, seen: 40, lost: 0 },
    { vm: '测试桌面池-2', outcome: 'delivered', sent: 40, seen: 40, lost: 0 },
  ])
})

it('gives a test a pool by role', { timeout: TIMEOUT_MS }, async () => {
  const body = `
test.override('poolOptions', { vms: ['alice', 'bob'], template: 'ps2' })

test('both', async ({ pool, vdi }) => {
  const { alice, bob } = pool.vms
  expect(pool.all).toEqual([alice, bob])
  expect(pool.all.map((vm) => vm.name)).toEqual(pool.all.map((vm) => vm.name).toSorted())
  const platformVms = await vdi.domains.listAll()
  expect(platformVms.map(({ id, status }) => [id, status]).toSorted()).toEqual(pool.all.map((vm) => [vm.uuid, 1]).toSorted())
  await pool.each(async (vm, role) => {
    await vm.guest.shell('echo "$1" > /tmp/role', { args: [role] })
    expect(await vm.keyboard.type(role, { verify: 'require' })).toBeDelivered()
  })
  expect((await bob.guest.file('/tmp/role').text()).trim()).toBe('bob')
})
`
  const run = project({ 'specs/a.spec.ts': spec(body) }, config)
  const outcome = await run.run(['test'], env)
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
})

it('gives the roles of a scenario desktops of a pool', { timeout: TIMEOUT_MS }, async () => {
  const yaml = `name: roles
use: { profile: ps2, vms: { alice: {}, bob: {} } }
steps:
  - { action: command.exec, on: alice, command: hostname }
  - { action: keyboard.type, on: [alice, bob], text: both, verify: true }
  - { action: verify.command_success }
`
  const run = project({ 'specs/a.spec.yaml': yaml }, config)
  const outcome = await run.run(['test'], env)
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
  expect(run.report().reports[0]?.deliveries).toMatchObject([{ outcome: 'delivered' }, { outcome: 'delivered' }])
})

it('leaves neither pool nor domains when a run with a pool is killed', { timeout: TIMEOUT_MS }, async () => {
  const body = `
test.override('poolOptions', { vms: ['alice', 'bob'] })

test('waits', { timeout: 600_000 }, async ({ pool }) => {
  await pool.each((vm) => vm.guest.ping())
  console.log('both answer')
  await new Promise(() => {})
})
`
  const run = project({ 'specs/a.spec.ts': spec(body) }, config)
  const running = run.start(['test'], env)
  await running.printed('both answer', TIMEOUT_MS / 2)
  expect(await worlds()).toHaveLength(5)
  process.kill(-(running.child.pid as number), 'SIGKILL')
  await running.finished
  await pollUntil(
    'the broker to clean up',
    { timeoutMs: 60_000 },
    async () => (await worlds()).length === 0 || undefined,
  )
})
