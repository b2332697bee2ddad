/** Pools of real VMs: made on the platform, found on the lab's hypervisors, gone from both. */
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { TransportManager } from '../../../framework/hosts/index.ts'
import {
  cleanUp,
  createAndConnect,
  createPool,
  destroyPool,
  destroyVm,
  Locator,
} from '../../../framework/provision/index.ts'
import { VdiClient } from '../../../framework/vdi/index.ts'
import { ensureImage } from '../../../lab/image/build.ts'
import { labDown, labPaths } from '../../../lab/index.ts'
import type { Fault } from '../../../lab/platform/faults.ts'
import { LibvirtWorld, type Platform, startPlatform } from '../../../lab/platform/index.ts'
import { project } from '../../lab/project.ts'

// Software emulation on a machine that others use, too.
const TIMEOUT_MS = 300_000
const TEMPLATE = 'ps2'

// A lab of its own, so that these tests and the user's lab do not meet. Only the image is shared.
let home: string
let platform: Platform

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-pool-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
  platform = await startPlatform({ world: new LibvirtWorld() })
}, TIMEOUT_MS)

afterAll(async () => {
  await platform.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

function open() {
  const { url, adminUser: username, adminPassword: password, hosts } = platform
  const client = new VdiClient({ baseUrl: url, username, password, pace: { firstMs: 50, longestMs: 500 } })
  const manager = new TransportManager()
  onTestFinished(async () => {
    await manager.close()
    await client.close()
  })
  const configured = hosts.map(({ name, uri }) => ({ id: name, uri, settings: () => ({ id: name, uri }) }))
  const rules = { hosts: {}, configured, hostUri: 'qemu+ssh://{ip}/system' }
  const locator = new Locator({ client, manager, rules })
  /** What there is on the platform, and on its hypervisors. */
  const worlds = async () => ({
    pools: (await client.deskPools.listAll()).map(({ name }) => name),
    vms: (await client.domains.listAll()).map(({ name }) => name),
    domains: (await Promise.all((await client.hosts.listAll()).map((host) => locator.domainsOn(host)))).flatMap(
      (placed) => placed.map(({ domain }) => domain.name),
    ),
  })
  return { client, manager, locator, worlds }
}

/** `atp vdi verify` of a project that is configured for the platform. */
function verify() {
  const { url, adminUser: username, adminPassword, hosts } = platform
  const { run } = project(
    {},
    {
      lab: false,
      hosts: hosts.map(({ name, uri }) => ({ id: name, uri })),
      vdi: { url, username, password: { env: 'VDI_PASSWORD' } },
    },
  )
  return run(['vdi', 'verify'], { VDI_PASSWORD: adminPassword.reveal() })
}

it('two VMs run, are found, answer, and are gone from both worlds', { timeout: TIMEOUT_MS }, async () => {
  const both = open()
  const before = await both.worlds()
  const pool = await createAndConnect({ ...both, template: TEMPLATE, count: 2, name: 'office', timeoutMs: TIMEOUT_MS })
  expect(pool.vms.map(({ domain }) => domain.name)).toEqual(['office-1', 'office-2'])
  expect(new Set(pool.vms.map(({ host }) => host.id)).size).toBe(2)
  for (const { vm, domain, connection } of pool.vms) {
    expect(domain.uuid).toBe(vm.id)
    const libvirt = await connection.connection.client('calls')
    expect(await libvirt.agentCommand(domain, '{"execute":"guest-ping"}')).toContain('return')
  }
  const agree = await verify()
  expect(agree, agree.stderr).toMatchObject({
    code: 0,
    stdout: 'no difference: 2 VMs of the platform; 2 domains on 2 hosts\n',
  })

  const [lost] = pool.vms
  if (!lost) throw new Error('the pool is empty')
  await (await lost.connection.connection.client('control')).destroy(lost.domain)
  const differ = await verify()
  expect(differ, differ.stderr).toMatchObject({ code: 1 })
  expect(differ.stdout).toMatch(/\noffice-1 +state +lab-\d +running \(1\) +shutoff\n1 difference: /)

  await pool.destroy()
  expect(await both.worlds()).toEqual(before)
})

describe('what goes wrong leaves neither the pool nor a domain', { timeout: TIMEOUT_MS }, () => {
  const reason = '资源不足'
  const CREATE = 'deskPool.create'
  const START = 'domain.start'

  it.each<[string, Fault, string, object?]>([
    [
      'the creation is refused',
      { kind: 'refuse', operation: CREATE, code: 9321, reason },
      'ATP_VDI_REFUSED',
      { code: 9321 },
    ],
    ['HTTP 500', { kind: 'http-500', operation: CREATE }, 'ATP_VDI_HTTP', { httpStatus: 500 }],
    ['a page instead of JSON', { kind: 'html', operation: CREATE }, 'ATP_VDI_ANSWER'],
    ['the connection is lost before the pool is made', { kind: 'drop', operation: CREATE }, 'ATP_VDI_CONNECT'],
    ['half an answer comes after it was made', { kind: 'truncated', operation: CREATE }, 'ATP_VDI_CONNECT'],
    [
      'half an answer comes after the VMs were told to start',
      { kind: 'truncated', operation: START },
      'ATP_VDI_CONNECT',
    ],
    ['the list of its VMs is a page each time', { kind: 'html', operation: 'deskPool.domains' }, 'ATP_VDI_ANSWER'],
    ['fewer VMs than asked', { kind: 'fewer', operation: CREATE, reason }, 'ATP_VDI_STATE'],
    ['no VM at all', { kind: 'fail', operation: CREATE, reason }, 'ATP_VDI_STATE'],
    ['a VM that is not accepted', { kind: 'refuse-vm', operation: START, reason }, 'ATP_VDI_PARTIAL'],
    ['a VM that cannot start', { kind: 'fail', operation: START, reason }, 'ATP_VDI_STATE'],
    ['a VM that stays busy', { kind: 'stuck', operation: START }, 'ATP_VDI_TIMEOUT'],
    ['hosts that are not listed', { kind: 'refuse', operation: 'host.list', reason }, 'ATP_VDI_REFUSED'],
  ])('%s', async (_, fault, code, context = {}) => {
    const both = open()
    const before = await both.worlds()
    const id = platform.faults.add(fault)
    onTestFinished(() => void platform.faults.remove(id))
    // Only a VM that stays busy uses it up.
    const timeoutMs = fault.kind === 'stuck' ? 30_000 : TIMEOUT_MS
    const error = await createPool({ ...both, template: TEMPLATE, count: 2, name: 'doomed', timeoutMs }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code, context })
    if (fault.reason) expect((error as Error).message).toContain(reason)
    expect((error as { context: object }).context).not.toHaveProperty('cleanUp')
    expect(await both.worlds()).toEqual(before)
  })

  it('hosts in maintenance', async () => {
    const both = open()
    const before = await both.worlds()
    const setAll = async (status: 0 | 1) => {
      for (const { id } of platform.hosts)
        await both.client.hosts.setStatus(id, status === 1 ? 'enabled' : 'maintenance')
    }
    onTestFinished(() => setAll(1))
    await setAll(0)
    const made = createPool({ ...both, template: TEMPLATE, count: 2, name: 'nowhere', timeoutMs: TIMEOUT_MS })
    await expect(made).rejects.toMatchObject({ code: 'ATP_VDI_STATE', message: expect.stringContaining('maintenance') })
    expect(await both.worlds()).toEqual(before)
  })

  it('nothing, when the session ends in the middle: the pool is made once', async () => {
    const both = open()
    const before = await both.worlds()
    const ids = (['deskPool.create', 'domain.start'] as const).map((operation) =>
      platform.faults.add({ kind: 'expire-token', operation }),
    )
    onTestFinished(() => ids.forEach((id) => platform.faults.remove(id)))
    const logins = platform.logins
    const pool = await createPool({ ...both, template: TEMPLATE, count: 1, name: 'once', timeoutMs: TIMEOUT_MS })
    expect(pool.vms.map(({ domain }) => domain.name)).toEqual(['once-1'])
    // The first one, and one for each token that expired.
    expect(platform.logins - logins).toBe(2)
    await destroyPool({ ...both, pool })
    expect(await both.worlds()).toEqual(before)
  })
})

it(
  'a single VM is destroyed whatever it does, and a last will does it for a process that is gone',
  async () => {
    const both = open()
    const before = await both.worlds()
    const { models, domains, events } = both.client
    const template = (await models.listAll()).find(({ name }) => name === TEMPLATE)
    await events.waitFor(await models.clone(template?.id ?? '', { name: '单机', amount: 1 }))
    const [vm] = await domains.listAll({ keyword: '单机' })
    const id = vm?.id ?? ''
    const started = await domains.start([id])
    await domains.waitForStatus([id], 'running', { events: started.events })
    expect(await destroyVm({ ...both, vm: { id } })).toBe(true)
    expect(await destroyVm({ ...both, vm: { id } })).toBe(false)
    await events.waitFor(await models.clone(template?.id ?? '', { name: '单机', amount: 1 }))
    const { url, adminUser: username, adminPassword } = platform
    await cleanUp({ url, username, password: adminPassword.reveal(), vmName: '单机' })
    expect(await both.worlds()).toEqual(before)
  },
  TIMEOUT_MS,
)

it('a last will removes the pool of a process that is gone', { timeout: TIMEOUT_MS }, async () => {
  const both = open()
  const before = await both.worlds()
  await createPool({ ...both, template: TEMPLATE, count: 1, name: 'orphan', timeoutMs: TIMEOUT_MS })
  const { url, adminUser: username, adminPassword } = platform
  await cleanUp({ url, username, password: adminPassword.reveal(), poolName: 'orphan' })
  expect(await both.worlds()).toEqual(before)
  expect(await destroyPool({ ...both, pool: { name: 'orphan' } })).toBe(false)
})
