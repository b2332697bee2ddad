import { describe, expect } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { VDI_OPERATIONS } from '../../../framework/vdi/index.ts'
import { all, type Rig, type Undo } from './rig.ts'

const CLOCK_TOLERANCE_MS = 5 * 60_000

/** Long enough for a busy machine; what is waited for takes milliseconds. */
const POLL = { timeout: 30_000, interval: 20 }

/** Every operation of the client, in the order in which a user of the platform meets them. */
export function operationsContract(rig: Rig): void {
  describe('sessions', () => {
    rig.scenario('begin with the first call, end with logout, and begin again', async () => {
      const client = rig.newClient()
      const seen = await rig.during('session.login', async () => {
        await client.hosts.listAll()
        await client.hosts.listAll()
        await client.logout()
        await client.hosts.listAll()
        await client.login()
        await client.close()
      })
      expect(seen.map(({ code }) => code)).toEqual([0, 0])
    })

    rig.scenario('are refused with the code of what is wrong', async () => {
      const wrongPassword = rig.newClient({ password: new Secret('wrong password', 'not-the-password') })
      await expect(wrongPassword.login()).rejects.toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code: 5099 } })
      const nobody = rig.newClient({ username: 'nobody-of-this-name' })
      await expect(nobody.login()).rejects.toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code: 5098 } })
    })
  })

  describe('hosts', () => {
    rig.scenario('are listed, and tell hardware, status, uptime and load', async () => {
      const { hosts } = rig.client
      const [first] = await hosts.listAll()
      const id = first?.id ?? ''
      const detail = await hosts.get(id)
      expect(detail).toMatchObject({ id, name: first?.name, ip: first?.ip })
      expect(await all(hosts.list({ name: detail.name, status: [detail.status] }))).toHaveLength(1)
      expect(await hosts.status(id)).toBe('enabled')
      expect((await hosts.hardware(id)).cores).toBeGreaterThan(0)
      expect(await hosts.uptime(id)).toBeGreaterThan(0)
      expect(await hosts.version(id)).toBeTypeOf('object')
      const range = [new Date(Date.now() - 3_600_000), new Date()] as const
      expect(new Set((await hosts.performanceOfAll(...range)).map(({ uuid }) => uuid))).toContain(id)
      expect((await hosts.performanceNow()).total).toBeGreaterThan(0)
      const samples = await hosts.performance(id, ...range)
      expect(samples.length).toBeGreaterThan(0)
      for (const { uuid, total, createTime } of samples) {
        expect(uuid).toBe(id)
        expect(total).toBeGreaterThan(0)
        expect(rig.client.timestampMs(createTime)).toBeGreaterThan(Date.now() - 3_600_000 - CLOCK_TOLERANCE_MS)
      }
    })
  })

  describe('hosts are told', () => {
    rig.scenario('to rest and to come back, how many VMs they may run, and to be read again', async (undo) => {
      const { hosts } = rig.client
      const [first] = await hosts.listAll()
      const { id, domainLimit } = await hosts.get(first?.id ?? '')
      undo.push(() => hosts.setStatus(id, 'enabled'))
      await hosts.setStatus(id, 'maintenance')
      expect(await hosts.status(id)).toBe('maintenance')
      await hosts.setStatus(id, 'enabled')
      expect(await hosts.status(id)).toBe('enabled')
      undo.push(() => hosts.setDomainLimit(id, domainLimit ?? 1))
      await hosts.setDomainLimit(id, 7)
      expect((await hosts.get(id)).domainLimit).toBe(7)
      await hosts.syncStatus(id)
    })
  })

  describe('templates', () => {
    rig.scenario('are listed in pages and at once', async () => {
      const { models } = rig.client
      const listed = await models.listAll()
      expect(listed.length).toBeGreaterThan(0)
      expect((await all(models.list())).map(({ id }) => id).sort()).toEqual(listed.map(({ id }) => id).sort())
      const [first] = listed
      expect(await models.get(first?.id ?? '')).toEqual(first)
      await expect(models.get('no-such-template')).rejects.toMatchObject({ code: 'ATP_VDI_NOT_FOUND' })
    })

    rig.scenario('become VMs, and VMs templates', async (undo) => {
      const { domains, models } = rig.client
      const { id } = await rig.newVm(undo)
      await domains.toModel(id)
      expect((await models.get(id)).isModel).toBe(1)
      await models.toDomain(id)
      expect((await domains.get(id)).isModel).toBe(0)
    })

    rig.scenario('are cloned', async (undo) => {
      const { domains, events, models } = rig.client
      const [model] = await models.listAll()
      const name = rig.newName()
      const made = () => domains.listAll({ keyword: name })
      undo.push(async () => rig.deleteVms((await made()).map(({ id }) => id)))
      const eventId = await models.clone(model?.id ?? '', { name, amount: 2 })
      await expect.poll(async () => events.verdict(await events.get(eventId)), POLL).toBe('succeeded')
      const clones = await made()
      expect(clones.map(({ motherId, cloneType, status }) => [motherId, cloneType, status])).toEqual(
        Array(2).fill([model?.id, '1', 0]),
      )
      const children = (await domains.children(model?.id ?? '')).map(({ id }) => id)
      expect(children).toEqual(expect.arrayContaining(clones.map(({ id }) => id)))
    })
  })

  describe('VMs', () => {
    rig.scenario('are made, read, changed and listed', async (undo) => {
      const { client } = rig
      const { domains } = client
      const vm = await rig.newVm(undo)
      const { id, name } = vm
      expect(vm).toMatchObject({ status: 0, cpu: 1, memory: 128, isModel: 0 })
      expect(Math.abs((client.timestampMs(vm.createTime) ?? 0) - Date.now())).toBeLessThan(CLOCK_TOLERANCE_MS)
      await domains.update(id, { name, remark: '备注: a remark' })
      await domains.setCpuMemory([id], { cpu: 2, memoryMb: 256 })
      const changed = await domains.get(id)
      expect(changed).toMatchObject({ id, name, remark: '备注: a remark', cpu: 2, memory: 256 })
      expect(await domains.nics(id)).toBeInstanceOf(Array)
      await domains.syncStatus(id)
      const listed = await domains.listAll({ keyword: name, status: [0, 1], hostId: vm.hostId ?? '', bound: false })
      expect(listed).toEqual([changed])
      expect(await domains.listAll({ keyword: name, status: [1] })).toEqual([])
      await expect(domains.get('no-such-vm')).rejects.toMatchObject({ code: 'ATP_VDI_REFUSED' })
    })

    rig.scenario('are listed page by page', async (undo) => {
      const prefix = rig.newName()
      for (let index = 0; index < 5; index++) await rig.newVm(undo, { name: `${prefix}-${index}` })
      const client = rig.newClient({ assumptions: { pageRows: 2 } })
      let listed: string[] = []
      const pages = await rig.during('domains.list', async () => {
        listed = (await client.domains.listAll({ keyword: prefix })).map(({ name }) => name)
      })
      expect(listed.sort()).toEqual([0, 1, 2, 3, 4].map((index) => `${prefix}-${index}`))
      expect(pages).toHaveLength(3)
    })

    rig.scenario('go through their states, and events tell so', async (undo) => {
      const { domains, events } = rig.client
      const { id, name } = await rig.newVm(undo)
      const verbs = [
        ['start', 'running'],
        ['suspend', 'suspended'],
        ['resume', 'running'],
        ['sleep', 'hibernated'],
        ['wakeup', 'running'],
        ['reboot', 'running'],
        ['close', 'off'],
      ] as const
      for (const [verb, state] of verbs) {
        const outcome = await domains[verb]([id])
        expect(outcome).toMatchObject({ events: [expect.any(String)], failed: [] })
        await domains.waitForStatus([id], state, { events: outcome.events, afterChange: true })
        const eventId = outcome.events[0] ?? ''
        await expect.poll(async () => events.verdict(await events.get(eventId)), POLL).toBe('succeeded')
        expect(await events.get(eventId)).toMatchObject({ domainId: id, domainName: name })
      }
      const told = await all(events.list({ domainName: name }))
      expect(told.filter(({ domainId }) => domainId === id).length).toBeGreaterThanOrEqual(verbs.length)
    })

    rig.scenario('that refuse a batch verb are failures among successes', async (undo) => {
      const { domains } = rig.client
      const [on, off] = [await rig.newVm(undo), await rig.newVm(undo)]
      const { events } = await domains.start([on.id])
      await domains.waitForStatus([on.id], 'running', { events })
      const error = await domains.start([on.id, off.id]).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({
        code: 'ATP_VDI_PARTIAL',
        context: { events: [expect.any(String)], failed: [{ domainId: on.id, domainName: on.name }] },
      })
      await domains.waitForStatus([off.id], 'running')
      const outcome = await domains.start(['no-such-vm'], { partial: 'return' })
      expect(outcome).toMatchObject({ events: [], failed: [{ domainId: 'no-such-vm', reason: expect.any(String) }] })
    })

    rig.scenario('have consoles while they run', async (undo) => {
      const { domains } = rig.client
      const { id, hostId } = await rig.newVm(undo)
      const { events } = await domains.start([id])
      await domains.waitForStatus([id], 'running', { events })
      const { consoles } = domains
      const ports = await consoles.ports(id)
      const spice = await consoles.spiceKey(id)
      expect(spice).toMatchObject({ port: ports.spice, hostIp: (await rig.client.hosts.get(hostId ?? '')).ip })
      expect(spice.key.reveal()).toBe((await consoles.vncPassword(id)).reveal())
      const xml = await consoles.xml(id)
      expect(xml).toContain(`<uuid>${id}</uuid>`)
      expect(xml).not.toContain(spice.key.reveal())
    })

    rig.scenario('are cloned', async (undo) => {
      const { domains } = rig.client
      const { id } = await rig.newVm(undo)
      const name = rig.newName()
      const clone = await domains.clone(id, { name })
      undo.push(() => rig.deleteVms([clone.id]))
      const [made] = await domains.waitForStatus([clone.id], 'off', { events: [clone.eventId] })
      expect(made).toMatchObject({ id: clone.id, name })
    })

    rig.scenario('go through the recycle bin', async (undo) => {
      const { domains } = rig.client
      const { recycleBin } = domains
      const { id } = await rig.newVm(undo)
      const there = async () => (await domains.listAll()).some((row) => row.id === id)
      const thrown = async () => (await all(recycleBin.list())).some((row) => row.id === id)
      undo.push(async () => (await thrown()) && recycleBin.delete([id]))
      await domains.delete([id], { recycle: true })
      expect([await there(), await thrown()]).toEqual([false, true])
      await recycleBin.restore([id])
      expect([await there(), await thrown()]).toEqual([true, false])
      await domains.delete([id], { recycle: true })
      await recycleBin.delete([id])
      expect([await there(), await thrown()]).toEqual([false, false])
    })

    rig.scenario('have disks', async (undo) => {
      const { domains } = rig.client
      const { disks } = domains
      const { id } = await rig.newVm(undo)
      const before = await disks.list(id)
      const storagePoolId = await rig.platform.storagePoolId(rig.client)
      const disk = { name: rig.newName(), busType: 'virtio', size: 1, storagePoolId } as const
      const volumeId = await disks.create(disk)
      await disks.add(id, volumeId)
      await disks.expand(id, volumeId, 2)
      expect((await disks.list(id)).find((row) => row.id === volumeId)).toMatchObject({ size: 3, name: disk.name })
      const eventId = await disks.unmount(id, volumeId)
      await domains.waitForStatus([id], 'off', { events: [eventId], afterChange: true })
      expect(await disks.list(id)).toEqual(before)
      expect(await all(disks.volumes({ keyword: disk.name, free: true }))).toMatchObject([{ id: volumeId, size: 3 }])
      const spare = await disks.create({ ...disk, name: rig.newName() })
      await disks.deleteVolume(spare)
      expect((await all(disks.volumes())).map((row) => row.id)).not.toContain(spare)
      await disks.add(id, volumeId)
      await disks.addIndependent([id], { sizeGb: 1, storagePoolId })
      const added = (await disks.list(id)).filter((row) => !before.some((other) => other.id === row.id))
      expect(added).toHaveLength(2)
      for (const row of added) await disks.delete(id, row.id)
      expect(await disks.list(id)).toEqual(before)
    })

    rig.scenario('have snapshots', async (undo) => {
      const { domains } = rig.client
      const { snapshots } = domains
      const { id } = await rig.newVm(undo)
      const name = rig.newName()
      const eventId = await snapshots.create(id, name)
      await domains.waitForStatus([id], 'off', { events: [eventId], afterChange: true })
      const [snapshot] = await all(snapshots.list(id, name))
      expect(snapshot).toMatchObject({ name, domainId: id, domainStatus: 0 })
      const snapshotId = snapshot?.id ?? ''
      expect(await snapshots.get(snapshotId)).toEqual(snapshot)
      await snapshots.restore(snapshotId)
      await domains.waitForStatus([id], 'off')
      await snapshots.delete(snapshotId)
      expect(await all(snapshots.list(id))).toEqual([])
    })

    rig.scenario('have serial ports', async (undo) => {
      const { serials } = rig.client
      const [vm, other] = [await rig.newVm(undo), await rig.newVm(undo)]
      const before = await serials.list(vm.id)
      await serials.create(vm.id, { serialModel: 2, sourcePort: '1' })
      await serials.create(other.id, { serialModel: 2, sourcePort: '1' })
      const port = (await serials.list(vm.id)).find((row) => !before.some(({ id }) => id === row.id))
      expect(port).toMatchObject({ serialModel: 2, sourcePort: '1', domainId: vm.id })
      const serialId = port?.id ?? -1
      await serials.update(vm.id, serialId, { serialModel: 2, sourcePort: '2' })
      expect((await serials.list(vm.id)).find(({ id }) => id === serialId)).toMatchObject({ sourcePort: '2' })
      const targets = await serials.targets(vm.id)
      expect(targets.find(({ id }) => id === other.id)?.portList).toHaveLength(1)
      await serials.delete(vm.id, serialId)
      expect(await serials.list(vm.id)).toEqual(before)
    })

    rig.scenario('get USB devices of their host', async (undo, context) => {
      const { domains, hosts, usbPools } = rig.client
      const devices = await all(usbPools.list())
      const free = devices.find(({ own }) => !own)
      if (!free?.hostId || !free.usbName) return context.skip('no host has a free USB device')
      const { hostId, usbName } = free
      const vm = await vmOn(rig, undo, hostId)
      const owner = async () => (await all(usbPools.list())).find(isSame)?.own ?? undefined
      const isSame = (row: { hostId?: string | null; usbName?: string | null }) =>
        row.hostId === hostId && row.usbName === usbName
      await usbPools.passThrough({ hostId, usbName, own: vm.id })
      expect(await owner()).toBe(vm.id)
      await usbPools.endPassThrough({ hostId, usbName, own: vm.id })
      expect(await owner()).toBeUndefined()
      const hostIp = (await hosts.get(hostId)).ip
      const redirection = { deviceName: usbName, domainId: vm.id, hostId, hostIp }
      await usbPools.redirect(redirection)
      expect(await owner()).toBe(vm.id)
      await usbPools.cancelRedirect(redirection)
      expect(await owner()).toBeUndefined()
      expect((await domains.get(vm.id)).status).toBe(0)
    })
  })

  describe('users', () => {
    rig.scenario('are made, changed, bound to VMs and logged in', async (undo) => {
      const { client } = rig
      const { domains, users } = client
      const { group } = rig.platform
      const vm = await rig.newVm(undo)
      const [alice, bob] = [rig.newName(), rig.newName()]
      const password = new Secret('password of a user', '密码-first')
      for (const sAMAccountName of [alice, bob]) {
        await users.create({ sAMAccountName, group, sn: '李', givenName: '雷', password })
        undo.push(() => users.delete(sAMAccountName, group))
      }
      await users.update({ sAMAccountName: alice, group, mail: 'alice@example.org' })
      expect(await users.get(alice)).toMatchObject({ sAMAccountName: alice, mail: 'alice@example.org' })
      const [listed] = await all(users.list({ group, keyword: alice }))
      expect(listed).toMatchObject({ sAMAccountName: alice, sn: '李', givenName: '雷' })

      await domains.bindUser(alice, [vm.id])
      expect((await domains.get(vm.id)).userId).toBe(alice)
      expect((await all(users.domains(alice))).map(({ id }) => id)).toEqual([vm.id])
      await expect(domains.bindUser(bob, [vm.id])).rejects.toMatchObject({
        code: 'ATP_VDI_PARTIAL',
        context: { failed: [{ domainId: vm.id }] },
      })

      const newPassword = new Secret('new password of a user', '密码-second')
      await users.resetPassword({ sAMAccountName: alice, group, password: newPassword })
      await expect(users.login(alice, password)).rejects.toMatchObject({ context: { code: 5099 } })
      await expect(users.login(rig.newName(), password)).rejects.toMatchObject({ context: { code: 5098 } })
      const session = await users.login(alice, newPassword)
      expect(session.userName).toBe(alice)
      expect(session.domains.map(({ id }) => id)).toEqual([vm.id])
      const old = rig.newClient({ assumptions: { endUserLogin: 'userlogin2' } })
      expect((await old.users.login(alice, newPassword)).userName).toBe(alice)

      const { events } = await domains.start([vm.id])
      await domains.waitForStatus([vm.id], 'running', { events })
      await users.closeDomains([alice, bob])
      await domains.waitForStatus([vm.id], 'off')
      expect(await users.logout(session)).toBe(true)
      expect(await users.logout(session)).toBe(false)

      await domains.unbindUser([vm.id])
      expect((await domains.get(vm.id)).userId ?? undefined).toBeUndefined()
      expect(await all(users.domains(alice))).toEqual([])
    })
  })

  describe('desk pools', () => {
    rig.scenario('are made, found, started, changed and deleted', async (undo) => {
      const { client } = rig
      const { deskPools, domains } = client
      const { pool, domains: desktops } = await rig.newPool(undo, 2)
      const { id, name } = pool
      expect(pool).toMatchObject({ amount: 2, type: 0, status: 0, domainPrefix: name })
      expect(desktops.map((vm) => [vm.desktopPoolId, vm.status, vm.motherId])).toEqual(
        Array(2).fill([id, 0, pool.curModelId]),
      )
      for (const vm of desktops) expect(vm.name.startsWith(name)).toBe(true)
      expect(await deskPools.get(id)).toMatchObject({ id, name })
      await expect(deskPools.get('no-such-pool')).rejects.toMatchObject({ code: 'ATP_VDI_NOT_FOUND' })
      expect(await deskPools.find(rig.newName())).toBeUndefined()

      await deskPools.disable(id)
      expect((await deskPools.get(id)).enabled).toBe(0)
      await deskPools.enable(id)
      expect((await deskPools.get(id)).enabled).toBe(1)
      const ids = desktops.map((vm) => vm.id)
      const { events } = await domains.start(ids)
      await domains.waitForStatus(ids, 'running', { events })
      const closing = await domains.close(ids, { force: true })
      await domains.waitForStatus(ids, 'off', { events: closing.events })

      const eventId = await deskPools.update(id, { name, amount: 3 })
      const { domains: grown } = await deskPools.waitForPool(name, 3, { events: [eventId] })
      const [third] = grown.filter((vm) => !ids.includes(vm.id)).map((vm) => vm.id)
      undo.push(() => rig.deleteVms([third ?? '']))
      await deskPools.removeDomains(id, [third ?? ''])
      expect((await deskPools.domains(id)).map((vm) => vm.id).sort()).toEqual([...ids].sort())
      await deskPools.addDomains(id, [third ?? ''])
      expect(await deskPools.domains(id)).toHaveLength(3)
      await expect(deskPools.addDomains(id, [third ?? ''])).rejects.toMatchObject({ code: 'ATP_VDI_PARTIAL' })

      await deskPools.archive(id)
      expect((await deskPools.get(id)).status).toBe(2)
      await deskPools.activate(id)
      expect((await deskPools.get(id)).status).toBe(0)
      expect((await all(deskPools.list({ keyword: name, type: 0 }))).map((row) => row.id)).toEqual([id])
      expect(await deskPools.listAll({ keyword: name, typeList: [1, 2] })).toEqual([])
      await deskPools.delete(id)
      expect(await deskPools.find(name)).toBeUndefined()
    })

    rig.scenario('are for organisational units', async (undo) => {
      const { deskPools, users } = rig.client
      const { pool } = await rig.newPool(undo, 0)
      const name = rig.newName()
      const unit = `ou=${name},${rig.platform.group}`
      await users.createGroup(name, rig.platform.group)
      undo.push(() => users.deleteGroup(unit))
      await deskPools.addGroups(pool.id, [unit])
      expect((await deskPools.get(pool.id)).groupNameList).toEqual([unit])
      await expect(deskPools.addGroups(pool.id, ['ou=nobody'])).rejects.toMatchObject({
        code: 'ATP_VDI_STATE',
        context: { refused: ['ou=nobody'] },
      })
      await deskPools.removeGroups(pool.id, [unit])
      expect((await deskPools.get(pool.id)).groupNameList ?? []).toEqual([])
    })

    rig.scenario('switch their template', async (undo, context) => {
      const { deskPools, models } = rig.client
      const [, second] = await models.listAll()
      if (!second) return context.skip('there is only one template')
      const { pool } = await rig.newPool(undo, 1)
      const eventId = await deskPools.switchModel(pool.id, second.id)
      const switched = await deskPools.waitForModel(pool.id, second.id, { events: [eventId] })
      expect(switched).toMatchObject({ curModelId: second.id, curModelName: second.name, status: 0 })
      expect((await deskPools.domains(pool.id)).map(({ motherId }) => motherId)).toEqual([second.id])
    })

    rig.scenario('have desktops with restore points, which go back to their template', async (undo) => {
      const { domains } = rig.client
      const { domains: desktops } = await rig.newPool(undo, 2)
      const [first, second] = desktops.map(({ id }) => id) as [string, string]
      expect(await domains.freeze([first], 'eachBoot')).toEqual({ events: [], failed: [] })
      expect((await domains.get(first)).freeze).not.toBe(0)
      expect((await domains.listAll({ freeze: [1] })).map(({ id }) => id)).toEqual([first])
      await expect(domains.freeze([first, second], 'eachBoot')).rejects.toMatchObject({
        code: 'ATP_VDI_PARTIAL',
        context: { failed: [{ domainId: first }] },
      })
      await domains.restore([first, second])
      expect((await domains.get(first)).freeze).toBe(0)
      await domains.rebase([first])
      await domains.waitForStatus([first], 'off')
    })
  })

  rig.scenario('every operation of the client was answered with success', async (_undo, context) => {
    const answered = new Set(rig.exchanges.filter(({ code }) => code === 0).map((exchange) => exchange.operation))
    const { unsupported = [] } = rig.platform
    const missing = VDI_OPERATIONS.map(({ name }) => name).filter((name) => !answered.has(name))
    if (answered.size < 10) return context.skip('the tests before this one did not run')
    expect(missing.filter((name) => !unsupported.includes(name))).toEqual([])
  })
}

/** A VM on a certain host; platforms place VMs as they like. */
async function vmOn(rig: Rig, undo: Undo, hostId: string) {
  const hosts = await rig.client.hosts.listAll()
  for (const _ of hosts) {
    const vm = await rig.newVm(undo)
    if (vm.hostId === hostId) return vm
  }
  throw new Error(`none of ${hosts.length} new VMs is on host ${hostId}`)
}
