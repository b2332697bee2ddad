import { describe, expect, it } from 'vitest'
import {
  cleanUp,
  createAndConnect,
  createPool,
  destroyPool,
  destroyVm,
  newPoolName,
} from '../../../framework/provision/index.ts'
import type { Fault } from '../../../lab/platform/faults.ts'
import { contents, stranger, type Worlds, worlds } from './worlds.ts'

const TEMPLATE = 'ps2'

describe('a pool', () => {
  it('is made, runs, is found in the order of names, and is gone again', async () => {
    const both = await worlds()
    const before = await contents(both)
    const name = newPoolName('run-1')
    expect(name).toMatch(/^atp-run-1-[\da-f]{6}$/)
    const pool = await createPool({ ...both, template: TEMPLATE, count: 11, name })
    expect(pool).toMatchObject({ name, template: { name: TEMPLATE } })
    expect(pool.vms.map(({ vm }) => vm.name)).toEqual(Array.from({ length: 11 }, (_, at) => `${name}-${at + 1}`))
    for (const { vm, domain, platformHost, host } of pool.vms) {
      expect(vm.status).toBe(1)
      expect([domain.name, domain.uuid]).toEqual([vm.name, vm.id])
      expect(vm.hostId).toBe(platformHost.id)
      expect(host).toMatchObject({ id: platformHost.name, uri: `qemu+tcp://${platformHost.ip}/system` })
    }
    expect(both.world.list().filter(({ state }) => state === 'running')).toHaveLength(11)
    expect(await destroyPool({ ...both, pool: { id: pool.id } })).toBe(true)
    expect(await contents(both)).toEqual(before)
    expect(await destroyPool({ ...both, pool: { name } })).toBe(false)
  })

  it('is waited for in one call for all its desktops', async () => {
    const both = await worlds({ busyMs: 300 })
    await createPool({ ...both, template: TEMPLATE, count: 10, name: 'many' })
    const operations = both.seen.map(({ operation }) => operation)
    expect(operations).toContain('deskPools.domains')
    expect(operations).not.toContain('domains.get')
    await destroyPool({ ...both, pool: { name: 'many' } })
  })

  it('takes a template by its id, and names those there are where it finds none', async () => {
    const both = await worlds()
    const templates = await both.client.models.listAll()
    const id = templates.find((one) => one.name === 'usb')?.id as string
    const pool = await createPool({ ...both, template: id, count: 1, name: '办公-1' })
    expect(pool.template).toEqual({ id, name: 'usb' })
    const request = { ...both, count: 1, name: 'other' }
    await expect(createPool({ ...request, template: 'virtoi' })).rejects.toMatchObject({
      code: 'ATP_PROVISION_TEMPLATE',
      message: expect.stringMatching(/no template "virtoi"[^]*did you mean "virtio"/),
    })
    await expect(createPool(request)).rejects.toMatchObject({
      code: 'ATP_PROVISION_TEMPLATE',
      message: expect.stringMatching(new RegExp(`has 3 templates[^]*usb \\(${id}\\)`)),
    })
    await expect(createPool({ ...request, template: 'ps2', name: '办公-1' })).rejects.toMatchObject({
      code: 'ATP_PROVISION_POOL_EXISTS',
    })
    await expect(createPool({ ...request, template: 'ps2', count: 0 })).rejects.toMatchObject({
      code: 'ATP_PROVISION_REQUEST',
    })
    expect((await both.client.deskPools.listAll()).map(({ name }) => name)).toEqual(['办公-1'])
  })

  const reason = '资源不足'
  it.each<[string, Fault, string]>([
    ['its creation is refused', { kind: 'refuse', operation: 'deskPool.create', reason }, 'ATP_VDI_REFUSED'],
    ['it gets fewer desktops', { kind: 'fewer', operation: 'deskPool.create', reason }, 'ATP_VDI_STATE'],
    ['it gets none', { kind: 'fail', operation: 'deskPool.create', reason }, 'ATP_VDI_STATE'],
    ['it cannot be enabled', { kind: 'refuse', operation: 'deskPool.enable', reason }, 'ATP_VDI_REFUSED'],
    ['a VM is not accepted for its start', { kind: 'refuse-vm', operation: 'domain.start', reason }, 'ATP_VDI_PARTIAL'],
    ['a VM fails to start', { kind: 'fail', operation: 'domain.start', reason }, 'ATP_VDI_STATE'],
    ['its hosts are not listed', { kind: 'refuse', operation: 'host.list', reason }, 'ATP_VDI_REFUSED'],
    ['a VM stays busy', { kind: 'stuck', operation: 'domain.start' }, 'ATP_VDI_TIMEOUT'],
    ['the connection is lost as it is made', { kind: 'drop', operation: 'deskPool.create' }, 'ATP_VDI_CONNECT'],
    ['half an answer comes as it is made', { kind: 'truncated', operation: 'deskPool.create' }, 'ATP_VDI_CONNECT'],
  ])('leaves nothing when %s', { timeout: 40_000 }, async (_, fault, code) => {
    const both = await worlds()
    const before = await contents(both)
    both.platform.faults.add(fault)
    // Only a VM that stays busy uses it up.
    const timeoutMs = fault.kind === 'stuck' ? 2000 : 30_000
    const error = await createPool({ ...both, template: TEMPLATE, count: 3, name: 'doomed', timeoutMs }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code })
    if (fault.reason) expect((error as Error).message).toContain(reason)
    expect((error as { context: object }).context).not.toHaveProperty('cleanUp')
    expect(await contents(both)).toEqual(before)
  })

  it('leaves nothing when all hosts are in maintenance, and says so', async () => {
    const both = await worlds()
    const before = await contents(both)
    for (const { id } of both.platform.hosts) await both.client.hosts.setStatus(id, 'maintenance')
    const made = createPool({ ...both, template: TEMPLATE, count: 2, name: 'nowhere', timeoutMs: 30_000 })
    await expect(made).rejects.toMatchObject({ code: 'ATP_VDI_STATE', message: expect.stringContaining('host') })
    expect(await contents(both)).toEqual(before)
  })

  it.each(['deskPool.create', 'domain.start'])('leaves nothing when a signal ends it during %s', async (operation) => {
    const both = await worlds()
    const before = await contents(both)
    const controller = new AbortController()
    both.platform.faults.add({ kind: 'latency', operation, ms: 200 })
    const made = createPool({ ...both, template: TEMPLATE, count: 2, name: 'ended', signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 100)
    await expect(made).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect(await contents(both)).toEqual(before)
  })

  it('tells with the first error what could not be removed', async () => {
    const both = await worlds()
    both.platform.faults.add({ kind: 'fail', operation: 'domain.start', reason: 'no memory' })
    both.platform.faults.add({ kind: 'refuse', operation: 'deskPool.delete', reason: 'not allowed', times: 0 })
    const made = createPool({ ...both, template: TEMPLATE, count: 1, name: 'left' })
    await expect(made).rejects.toMatchObject({
      code: 'ATP_VDI_STATE',
      message: expect.stringMatching(/no memory[^]*desk pool "left" could not be removed: [^]*not allowed/),
      context: { cleanUp: expect.stringContaining('not allowed') },
    })
    expect((await both.client.deskPools.listAll()).map(({ name }) => name)).toEqual(['left'])
  })

  it('is not believed to be gone while its hypervisors have a VM of it', async () => {
    const both = await worlds()
    const pool = await createPool({ ...both, template: TEMPLATE, count: 2, name: 'stays' })
    const [first] = pool.vms
    both.edits.push((list, host) => (host === first?.host.id ? [...list, { ...first.domain, state: 'running' }] : list))
    await expect(destroyPool({ ...both, pool: { id: pool.id }, timeoutMs: 3000 })).rejects.toMatchObject({
      code: 'ATP_PROVISION_LEFT',
      message: expect.stringContaining(`stays-1 (${first?.vm.id}) on host ${first?.host.id}`),
    })
    expect(await both.client.deskPools.listAll()).toEqual([])
  })

  it('whose VMs are still being made is removed when they are, however long that takes', async () => {
    const both = await worlds()
    const before = await contents(both)
    const made = Promise.withResolvers<void>()
    both.world.making = made.promise
    const [template] = await both.client.models.listAll()
    const order = { name: 'slow', type: 0, amount: 2, modelId: template!.id, domainPrefix: 'slow' } as const
    await both.client.deskPools.create(order)
    const destroyed = destroyPool({ ...both, pool: { name: 'slow' } })
    // More refusals than are believed where nothing is under way.
    const closes = () => both.seen.filter(({ operation }) => operation === 'domains.close').length
    await expect.poll(closes, { timeout: 30_000 }).toBeGreaterThan(5)
    made.resolve()
    expect(await destroyed).toBe(true)
    expect(await contents(both)).toEqual(before)
  }, 40_000)

  it('is removed whatever its VMs do', async () => {
    const both = await worlds()
    const before = await contents(both)
    const { vms } = await createPool({ ...both, template: TEMPLATE, count: 3, name: 'mixed' })
    await both.client.domains.suspend([vms[0]?.vm.id as string])
    await both.client.domains.sleep([vms[1]?.vm.id as string])
    both.platform.faults.add({ kind: 'stuck', operation: 'domain.reboot' })
    await both.client.domains.reboot([vms[2]?.vm.id as string])
    expect(await destroyPool({ ...both, pool: { name: 'mixed' } })).toBe(true)
    expect(await contents(both)).toEqual(before)
  })
})

describe('createAndConnect', () => {
  it('holds a connection for each VM until the pool is destroyed', async () => {
    const both = await worlds()
    const before = await contents(both)
    const pool = await createAndConnect({ ...both, template: TEMPLATE, count: 2, name: 'connected' })
    for (const { connection, domain } of pool.vms) {
      const client = await connection.connection.client('control')
      expect((await client.listDomains()).map(({ uuid }) => uuid)).toContain(domain.uuid)
    }
    expect(both.manager.statistics().hosts.map(({ connections: { uses } }) => uses)).toEqual([1, 1])
    await pool.destroy()
    await pool.destroy()
    expect(both.manager.statistics().hosts.map(({ connections: { uses } }) => uses)).toEqual([0, 0])
    expect(await contents(both)).toEqual(before)
  })
})

describe('a single VM', () => {
  const make = async ({ client }: Worlds, name: string) => {
    const [template] = await client.models.listAll()
    await client.events.waitFor(await client.models.clone(template!.id, { name, amount: 1 }))
    return (await client.domains.listAll({ keyword: name })).find((vm) => vm.name === name)!
  }

  it('is destroyed whatever it does, by id or name, once', async () => {
    const both = await worlds()
    const before = await contents(both)
    const { id } = await make(both, 'one')
    await both.client.domains.start([id])
    await both.client.domains.waitForStatus([id], 'running')
    await both.client.domains.sleep([id])
    expect(await destroyVm({ ...both, vm: { id } })).toBe(true)
    expect(await destroyVm({ ...both, vm: { id } })).toBe(false)
    await make(both, 'two')
    const near = await make(both, 'two-more')
    expect(await destroyVm({ ...both, vm: { name: 'two' } })).toBe(true)
    expect((await both.client.domains.listAll()).map(({ name }) => name)).toEqual(['two-more'])
    await destroyVm({ ...both, vm: near })
    expect(await contents(both)).toEqual(before)
  })

  it('is not believed to be gone while its hypervisor has it, and refusals end the work', async () => {
    const both = await worlds()
    const vm = await make(both, 'stays')
    both.platform.faults.add({ kind: 'refuse', operation: 'domain.delete', reason: '没有权限', times: 0 })
    await expect(destroyVm({ ...both, vm })).rejects.toMatchObject({
      code: 'ATP_VDI_REFUSED',
      message: expect.stringContaining('没有权限'),
    })
    both.platform.faults.clear()
    both.edits.push((list) => [...list, stranger('stays')])
    await expect(destroyVm({ ...both, vm, timeoutMs: 3000 })).rejects.toMatchObject({
      code: 'ATP_PROVISION_LEFT',
      message: expect.stringContaining('deleted VM stays'),
    })
  })

  it('left by a process that is gone is removed by its will', async () => {
    const both = await worlds()
    const before = await contents(both)
    await make(both, 'orphan')
    const { url, adminUser: username, adminPassword } = both.platform
    await cleanUp({ url, username, password: adminPassword.reveal(), vmName: 'orphan' })
    expect(await contents(both)).toEqual(before)
  })
})

describe('a last will', () => {
  it('removes the pool of a process that is gone, by a session of its own, and nothing where there is none', async () => {
    const both = await worlds()
    const before = await contents(both)
    await createPool({ ...both, template: TEMPLATE, count: 2, name: 'orphan' })
    const kept = await createPool({ ...both, template: TEMPLATE, count: 1, name: 'orphan-2' })
    const { url, adminUser: username, adminPassword } = both.platform
    const data = {
      url,
      username,
      password: adminPassword.reveal(),
      assumptions: { loginClient: null },
      poolName: 'orphan',
    }
    await cleanUp(structuredClone(data), {})
    expect((await both.client.deskPools.listAll()).map(({ name }) => name)).toEqual(['orphan-2'])
    await destroyPool({ ...both, pool: { id: kept.id } })
    expect(await contents(both)).toEqual(before)
  })

  it('says why it could not, without asking for a wrong password again and again', async () => {
    const both = await worlds()
    const { url, adminUser: username } = both.platform
    await expect(cleanUp({ url, username, password: 'wrong', poolName: 'x' })).rejects.toMatchObject({
      code: 'ATP_VDI_REFUSED',
      context: { code: 5099 },
    })
  })
})

describe('a VM', () => {
  it("is found by its name where its id is the platform's own, on the host it is on", async () => {
    const both = await worlds()
    both.edits.push((list) => list.map((domain) => ({ ...domain, uuid: stranger('').uuid })))
    const { vms } = await createPool({ ...both, template: TEMPLATE, count: 2, name: 'by-name' })
    expect(vms.map(({ domain }) => domain.name)).toEqual(['by-name-1', 'by-name-2'])
    expect(vms.every(({ vm, domain }) => vm.id !== domain.uuid)).toBe(true)
  })

  it('is an error where two domains may be it, which names both', async () => {
    const both = await worlds()
    const { vms } = await createPool({ ...both, template: TEMPLATE, count: 1, name: 'twice' })
    const [first] = vms
    const other = stranger('twice-1')
    both.edits.push((list) => [...list.map((domain) => ({ ...domain, name: 'own' })), other])
    const vm = await both.client.domains.get(first?.vm.id as string)
    await expect(both.locator.locate(vm)).rejects.toMatchObject({
      code: 'ATP_PROVISION_VM_AMBIGUOUS',
      message: expect.stringMatching(new RegExp(`own \\(${vm.id}\\) on host memory-\\d, twice-1 \\(${other.uuid}\\)`)),
    })
  })

  it('is an error where its host has no such domain, and its pool goes', async () => {
    const both = await worlds()
    const before = await contents(both)
    both.edits.push(() => [])
    await expect(createPool({ ...both, template: TEMPLATE, count: 1, name: 'lost' })).rejects.toMatchObject({
      code: 'ATP_PROVISION_VM_MISSING',
      message: expect.stringMatching(/no domain of VM "lost-1" \([^)]*\) on host memory-\d/),
    })
    expect(await contents(both)).toEqual(before)
  })
})
