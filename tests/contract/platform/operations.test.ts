import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MemoryWorld, PLATFORM_OPERATIONS, startPlatform, type Platform } from '../../../lab/platform/index.ts'
import { Caller, idsOf, type Json } from './caller.ts'

const world = new MemoryWorld()
let platform: Platform
let caller: Caller
/** What was asked for, as `METHOD path` with the names of path parameters left open. */
const asked: string[] = []

beforeAll(async () => {
  platform = await startPlatform({ world, behaviour: { busyMs: 5 } })
  caller = noted(await Caller.open(platform))
})

afterAll(async () => {
  await platform.close()
})

function noted(caller: Caller): Caller {
  const raw = caller.raw.bind(caller)
  caller.raw = (method, path, body) => {
    asked.push(`${method} ${path.split('?')[0]}`)
    return raw(method, path, body)
  }
  return caller
}

const fits = (pattern: string, path: string) =>
  new RegExp(`^${pattern.replaceAll(/\{\w+\}/g, '[^/]+').replaceAll('.', '\\.')}$`).test(path)

const status = async (method: string, path: string, body?: unknown) =>
  (await caller.call(method, `/ocloud/v1${path}`, body)).status

describe('administrators', () => {
  it('log in, change their password, log out', async () => {
    const other = noted(new Caller(platform))
    expect(await other.login()).toMatchObject({
      token: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) as string,
      username: 'admin',
      roleLevel: '1',
    })
    expect((await caller.call('POST', '/ocloud/v1/login', { username: 'nobody', password: 'x' })).status).toBe(5098)
    expect((await caller.call('POST', '/ocloud/v1/login', { username: 'admin', password: 'x' })).status).toBe(5099)
    expect(await status('POST', '/login-sso', { user: 'admin' })).toBe(9422)
    const wrong = { password: 'wrong', newPassword: 'wrong' }
    expect(await status('PATCH', '/admin-user/password', wrong)).toBe(5099)
    expect(await other.ok('POST', '/ocloud/v1/logout')).not.toHaveProperty('data')
    expect(await other.call('GET', '/ocloud/v1/host')).toEqual({ status: 1006, msg: 'token校验失败' })
  })
})

describe('VMs', () => {
  it('go through their life', async () => {
    const [uuid] = [(await caller.post<{ uuid: string }>('/domain', creation('alone'))).uuid]
    expect(await caller.vm(uuid)).toMatchObject({ name: 'alone', status: 0, mainboard: 'pc', memory: 256, cpu: 2 })
    for (const [verb, state] of [
      ['start', 1],
      ['suspend', 2],
      ['resume', 1],
      ['sleep', 3],
      ['wakeup', 1],
      ['reboot', 1],
      ['close', 0],
      ['start-without-gpu', 1],
    ] as const)
      expect([verb, await caller.verb(verb, [uuid])]).toEqual([verb, [state]])
    expect(await caller.get(`/domain/${uuid}/port`)).toEqual([
      { type: 'spice', value: expect.any(Number) as number },
      { type: 'vnc', value: expect.any(Number) as number },
    ])
    const spice = await caller.get<Json>(`/domain/${uuid}/spice-key`)
    expect(spice).toMatchObject({ domainId: uuid, ip: '127.0.0.1', port: expect.stringMatching(/^\d+$/) as string })
    expect(await caller.get(`/domain/${uuid}/vnc-password`)).toEqual({ password: spice['key'] })
    expect(await caller.get(`/domain/${uuid}/xml`)).toContain(`<uuid>${uuid}</uuid>`)
    expect(await caller.get(`/domain/${uuid}/nic`)).toEqual([])
    await caller.post(`/domain/${uuid}/sync-status`, { syncType: 1 })
    await caller.verb('close', [uuid], { isForce: 1 })
    expect(await status('GET', `/domain/${uuid}/spice-key`)).toBe(9409)
    await caller.ok('PATCH', '/ocloud/v1/domain/mem-cpu', { listId: [uuid], memory: 192, cpu: 1 })
    await caller.ok('PATCH', `/ocloud/v1/domain/${uuid}`, { name: 'renamed', mouseMode: 1, keepAlive: 1 })
    expect(await caller.vm(uuid)).toMatchObject({ name: 'renamed', memory: 192, cpu: 1, mouseMode: '1', keepAlive: 1 })
    const { cloneUuid, eventId } = await caller.post<Json>(`/domain/${uuid}/clone`, { name: 'copy' })
    expect(await caller.outcome(eventId as string)).toBe('ok')
    expect(await caller.vm(cloneUuid as string)).toMatchObject({ name: 'copy', cloneType: '0', memory: 192 })
    await caller.post('/domain/delete', { domainIdList: [cloneUuid], isRecycle: 1 })
    expect(idsOf(await caller.list('/recycle'))).toEqual([cloneUuid])
    await caller.post('/recycle/restore', { idList: [cloneUuid] })
    await caller.post('/domain/delete', { domainIdList: [cloneUuid], isRecycle: 1 })
    await caller.post('/recycle/delete', { idList: [cloneUuid] })
    await caller.post(`/domain/${uuid}/to-model`)
    expect(idsOf(await caller.list('/model?keyword=renamed'))).toEqual([uuid])
    await caller.post(`/model/${uuid}/to-domain`)
    await caller.post('/domain/delete', { domainIdList: [uuid], isRecycle: 0 })
    expect(world.list()).toEqual([])
  })

  it('are found by page and filter', async () => {
    const { id, vms } = await caller.pool('many', 23)
    const pages = await Promise.all(
      [1, 2, 3, 4].map((pageNum) => caller.get<Json>(`/domain?keyword=many-&pageNum=${pageNum}`)),
    )
    expect(pages.map((page) => (page['list'] as Json[]).length)).toEqual([10, 10, 3, 0])
    expect(pages[2]).toMatchObject({ pageNum: 3, pageSize: 10, pages: 3, total: 23 })
    await caller.verb('start', idsOf(vms).slice(0, 2))
    const names = async (query: string) =>
      (await caller.list(`/domain?pageSize=100&${query}`)).map((row) => row['name'])
    expect(await names('status=1,2')).toEqual(['many-1', 'many-2'])
    expect(await names('isConnected=1')).toEqual([])
    expect((await names(`motherId=${vms[0]?.['motherId']}`)).length).toBe(23)
    const [hostA] = await caller.get<Json[]>('/host/all?status=1')
    expect((await names(`hostId=${hostA?.['id']}`)).length).toBe(12)
    expect(await caller.get<Json[]>(`/domain/${vms[0]?.['motherId']}/child`)).toHaveLength(23)
    expect(await caller.get('/panel/domain-number')).toMatchObject({ running: 2, close: 21, doing: 0 })
    const ids = idsOf(vms).slice(0, 2)
    for (const query of [
      `idList=${ids.join(',')}`,
      `idList=${ids.join('%7C')}`,
      ids.map((id) => `idList=${id}`).join('&'),
    ])
      expect(await caller.get(`/domain/common-storage-pool?${query}`)).toHaveLength(1)
    await caller.verb('close', ids, { isForce: 1 })
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
    expect(world.list()).toEqual([])
  })

  it('have users, restore points, snapshots, disks and serial ports', async () => {
    const { id, vms } = await caller.pool('rich', 2)
    const [one, two] = idsOf(vms) as [string, string]
    await caller.post('/user', { sAMAccountName: 'alice', sn: '李', password: 'secret' })
    const bound = await caller.post('/domain/bind-user', { domainIdList: [one, 'gone'], userId: 'alice' })
    expect(bound).toEqual({ notBindDomainIdList: ['gone'] })
    expect(idsOf(await caller.list('/user/domain?userId=alice'))).toEqual([one])
    const login = { action: 'pwd', sAMAccountName: 'alice', password: '5ebe2294ecd0e0f08eab7690d2a6ee69' }
    const user = await caller.call<Json>('POST', '/ocloud/usermodule/login', login)
    expect(user).toMatchObject({ status: 0, returnCode: 200, data: { userName: 'alice', domains: [{ id: one }] } })
    const old = (await caller.call('POST', '/ocloud/usermodule/userlogin2', { ...login, password: 'x' })) as unknown
    expect(old).toEqual({ returnCode: 5099, msg: 'wrong password' })
    await caller.post('/domain/unbind-user', { domainIdList: [one] })
    expect(await caller.post('/domain/freeze', { idList: [one], freezeType: 1 })).toEqual([])
    expect(await caller.post('/domain/freeze', { idList: [one, two], freezeType: 2 })).toEqual([one])
    expect(idsOf(await caller.list('/domain?freeze=1'))).toEqual([one])
    expect(idsOf(await caller.list('/domain?freeze=2'))).toEqual([two])
    await caller.post('/domain/restore', { idList: [one, two] })
    await caller.verb('start', [one])
    expect(
      await caller.outcome((await caller.post<Json>(`/domain/${one}/snapshot`, { name: 'now' }))['eventId'] as string),
    ).toBe('ok')
    const [snapshot] = await caller.list(`/domain/${one}/snapshot`)
    expect(snapshot).toMatchObject({ name: 'now', domainStatus: 1, domainId: one })
    await caller.verb('close', [one])
    await caller.post(`/snapshot/${snapshot?.['id']}/restore`)
    expect((await caller.vm(one))['status']).toBe(1)
    expect(await caller.get(`/snapshot/${snapshot?.['id']}`)).toMatchObject({ id: snapshot?.['id'] })
    await caller.ok('DELETE', `/ocloud/v1/snapshot/${snapshot?.['id']}`)
    await caller.verb('close', [one])
    await caller.post('/domain/rebase', { idList: [one] })

    const [storage] = await caller.get<Json[]>('/domain/common-storage-pool')
    const volume = { name: 'data', size: 2, busType: 'virtio', storagePoolId: storage?.['id'] }
    const { id: volumeId } = await caller.post<{ id: string }>('/storage-volume', volume)
    await caller.post(`/domain/${one}/disk`, { volumeId })
    await caller.post(`/domain/${one}/disk/${volumeId}/expand`, { expandSize: 3 })
    expect(await caller.get(`/domain/${one}/disk`)).toMatchObject([{ id: volumeId, size: 5, domainId: one }])
    expect(await status('PATCH', `/domain/${one}/disk/${volumeId}/speed-limit`, { readIopsSec: '1' })).toBe(9422)
    const unmount = await caller.post<Json>(`/domain/${one}/disk/${volumeId}/unmount`)
    expect(await caller.outcome(unmount['eventId'] as string)).toBe('ok')
    expect(idsOf(await caller.list('/storage-volume?isFree=1'))).toEqual([volumeId])
    await caller.ok('DELETE', `/ocloud/v1/storage-volume/${volumeId}`)
    await caller.post('/domain/independent-disk', { domainIdList: [one], diskSize: 1 })
    const [disk] = await caller.get<Json[]>(`/domain/${one}/disk`)
    await caller.ok('DELETE', `/ocloud/v1/domain/${one}/disk/${disk?.['id']}`)

    await caller.post(`/domain/${one}/serial`, { serialModel: 2, sourcePort: '1' })
    const [serial] = await caller.get<Json[]>(`/domain/${one}/serial`)
    expect(serial).toMatchObject({ serialModel: 2, comNum: 'COM2', domainId: one })
    expect(await caller.get(`/domain/${two}/server-serial`)).toMatchObject([
      { id: one, portList: [{ sourcePort: '1' }] },
    ])
    await caller.ok('PUT', `/ocloud/v1/domain/${one}/serial/${serial?.['id']}`, { serialModel: 2, sourcePort: '3' })
    await caller.ok('DELETE', `/ocloud/v1/domain/${one}/serial/${serial?.['id']}`)
    expect(await caller.get(`/domain/${one}/serial`)).toEqual([])
    await caller.post('/user/delete', { userId: 'alice' })
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
    expect(world.list()).toEqual([])
  })
})

describe('desk pools', () => {
  it('are made, changed, switched, archived and deleted', async () => {
    const { id, vms } = await caller.pool('课堂', 2)
    expect(vms.map((vm) => [vm['name'], vm['cloneType'], vm['desktopPoolId']])).toEqual([
      ['课堂-1', '1', id],
      ['课堂-2', '1', id],
    ])
    const change = await caller.ok<Json>('PATCH', `/ocloud/v1/desk-pool/${id}`, { name: '课堂', amount: 3 })
    expect(await caller.outcome(change.data['eventId'] as string)).toBe('ok')
    const shrink = await caller.ok<Json>('PATCH', `/ocloud/v1/desk-pool/${id}`, { name: '课堂', amount: 2 })
    expect(await caller.outcome(shrink.data['eventId'] as string)).toBe('ok')
    expect((await caller.get<Json[]>(`/desk-pool/${id}/domain/list`)).map((vm) => vm['name'])).toEqual([
      '课堂-1',
      '课堂-2',
    ])
    const models = await caller.get<Json[]>('/model/all')
    const usb = models.find((model) => model['name'] === 'usb')
    const change2 = await caller.post<Json>('/desk-pool/switch-model', { deskPoolId: id, modelId: usb?.['id'] })
    expect(await caller.outcome(change2['eventId'] as string)).toBe('ok')
    expect(await caller.list('/desk-pool?typeList=0,1')).toMatchObject([
      { id, curModelName: 'usb', amount: 2, enabled: 1 },
    ])
    await caller.post(`/desk-pool/${id}/disable`)
    const start = { idList: idsOf(vms) }
    expect((await caller.post<{ errorList: Json[] }>('/domain/start', start)).errorList).toHaveLength(2)
    await caller.post(`/desk-pool/${id}/enable`)
    await caller.post(`/desk-pool/${id}/file`)
    expect(await caller.list('/desk-pool')).toMatchObject([{ status: 2, enabled: 1 }])
    await caller.post(`/desk-pool/${id}/active`)
    const move = { id, domainIdList: idsOf(vms).slice(0, 1) }
    await caller.ok('DELETE', '/ocloud/v1/desk-pool/domain', move)
    expect(await caller.get(`/desk-pool/${id}/domain/list`)).toHaveLength(1)
    expect(await caller.post('/desk-pool/domain', { ...move, domainIdList: [...move.domainIdList, 'gone'] })).toEqual([
      'gone',
    ])
    const groups = { id, groupNameList: ['ou=ocloud', 'ou=none'] }
    expect(await caller.post('/desk-pool/group', groups)).toEqual(['ou=none'])
    await caller.ok('DELETE', '/ocloud/v1/desk-pool/group', groups)
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
    expect([await caller.list('/desk-pool'), await caller.list('/domain'), world.list()]).toEqual([[], [], []])
  })

  it('are also made of a template alone', async () => {
    const [model] = await caller.get<Json[]>('/model/all')
    const { eventId } = await caller.post<Json>(`/model/${model?.['id']}/clone`, { amount: 2, name: 'twin' })
    expect(await caller.outcome(eventId as string)).toBe('ok')
    const rows = await caller.list('/domain?keyword=twin')
    await caller.post('/domain/delete', { domainIdList: idsOf(rows), isRecycle: 0 })
    expect(rows.map((row) => row['name'])).toEqual(['twin-1', 'twin-2'])
  })
})

describe('hosts, users, events and USB devices', () => {
  it('tell what hosts are and do', async () => {
    const [host] = await caller.list('/host?name=memory-1')
    const id = host?.['id']
    expect(host).toMatchObject({ name: 'memory-1', status: 1, ip: '127.0.0.1', domainLimit: 60, runningDomainCount: 0 })
    expect(await caller.get(`/host/${id}`)).toMatchObject({ id, localIp: '127.0.0.1' })
    expect(await caller.get(`/host/${id}/hardware`)).toMatchObject({
      arch: 'x86_64',
      cores: expect.any(Number) as number,
    })
    expect((await caller.get<{ uptime: number }>(`/host/${id}/uptime`)).uptime).toBeGreaterThan(0)
    expect(await caller.get(`/host/${id}/version`)).toHaveProperty('agentVersion')
    const range = 'beginTime=2020-01-01%2000:00:00&endTime=2099-01-01T00:00:00Z'
    const samples = await caller.get<Json[]>(`/panel/host/${id}/performance?${range}`)
    expect(samples[0]).toMatchObject({ uuid: id, total: expect.any(Number) as number })
    expect((await caller.get<Json[]>(`/panel/host/performance?${range}`)).length).toBeGreaterThan(samples.length)
    expect(await caller.get('/panel/host/running/performance')).toHaveProperty('idle')
    expect(await status('GET', `/panel/host/${id}/performance?beginTime=x&endTime=y`)).toBe(9405)
    await caller.ok('PATCH', `/ocloud/v1/host/${id}/domain-limit`, { limit: 7 })
    await caller.ok('PATCH', `/ocloud/v1/host/${id}/status`, { status: 0 })
    expect(await caller.get('/panel/host-number')).toMatchObject({ maintain: 1, running: 1 })
    await caller.ok('PATCH', `/ocloud/v1/host/${id}/status`, { status: 1 })
    await caller.post(`/host/${id}/sync-status`)
    expect(await status('GET', '/host/none')).toBe(9404)
  })

  it('keep users in organisational units', async () => {
    await caller.post('/group', { base: 'ou=ocloud', group: '研发' })
    const ou = 'ou=研发,ou=ocloud'
    expect(await caller.get('/group/tree')).toMatchObject([
      { ou: 'ocloud', list: [{ distinguishedName: ou, list: [] }] },
    ])
    expect(await caller.get(`/group?distinguishedName=${encodeURIComponent(ou)}`)).toMatchObject({ ou: '研发' })
    await caller.post('/user', { sAMAccountName: 'bob', group: ou, mail: 'b@example.com' })
    await caller.ok('PUT', '/ocloud/v1/user', { sAMAccountName: 'bob', mobile: '123' })
    expect(await caller.list(`/user?group=${encodeURIComponent(ou)}`)).toMatchObject([
      { sAMAccountName: 'bob', mobile: '123' },
    ])
    expect(await caller.get('/user/detail?sAMAccountName=bob')).toMatchObject({ mail: 'b@example.com', mobile: '123' })
    await caller.ok('PATCH', '/ocloud/v1/user/password', { sAMAccountName: 'bob', password: 'next' })
    const { id, vms } = await caller.pool('bobs', 1)
    await caller.post('/domain/bind-user', { domainIdList: idsOf(vms), userId: 'bob' })
    await caller.verb('start', idsOf(vms))
    await caller.post('/user/close-domain', { usernameList: ['bob'] })
    expect(await caller.settled(idsOf(vms))).toEqual([0])
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
    await caller.post('/user/delete', { userId: 'bob', group: ou })
    await caller.post('/group/delete', { group: ou })
    expect(await status('POST', '/group/delete', { group: 'ou=ocloud' })).toBe(9409)
  })

  it('tell what happened', async () => {
    const [event] = await caller.list('/event?isSuccess=1&domainName=bobs')
    expect(event).toMatchObject({ isSuccess: 0, isAsc: 1, eventType: 0, operateType: expect.any(Number) as number })
    expect(await caller.get(`/event/${event?.['id']}`)).toEqual(event)
    expect(await caller.list('/event?isSuccess=0')).toEqual([])
  })

  it('give USB devices to VMs', async () => {
    const { id, vms } = await caller.pool('sticks', 1)
    const [own] = idsOf(vms)
    const device = (await caller.list('/usb')).find((one) => one['hostId'] === vms[0]?.['hostId'])
    const { hostId, usbName, ip } = device as Json
    await caller.post('/usb/pass-through', { hostId, usbName, own })
    expect(await caller.list('/usb')).toContainEqual({ ...device, own, domainName: 'sticks-1' })
    await caller.post('/usb/pass-through/delete', { hostId, usbName })
    const redirect = { deviceName: usbName, domainId: own, hostId, hostIp: ip }
    await caller.post('/usb/redirect', { ...redirect, operate: 2 })
    expect((await caller.list('/usb')).filter((one) => one['memo2'] === '1')).toMatchObject([{ own }])
    await caller.post('/usb/redirect', { ...redirect, operate: 3 })
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
  })
})

it('every operation of the table was asked for', () => {
  const never = PLATFORM_OPERATIONS.filter(
    ({ method, path }) =>
      !asked.some((one) => one.startsWith(`${method} `) && fits(path, one.slice(method.length + 1))),
  )
  expect(never.map(({ name }) => name)).toEqual([])
})

function creation(name: string): Json {
  return {
    name,
    autoJoinDomain: 0,
    bootloader: 'bios',
    cores: 1,
    cpu: 2,
    memory: 256,
    sockets: 2,
    threads: 1,
    graphicsCardNum: 1,
    mainBoard: 'pc',
    vgpuType: 'qxl',
  }
}
