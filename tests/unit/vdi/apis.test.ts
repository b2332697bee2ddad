import { describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { VDI_OPERATIONS, type VdiClient } from '../../../framework/vdi/index.ts'
import { ok, page } from './support/canned-server.ts'
import { clientAndServer, errorOf, vm } from './support/setup.ts'

const event = ok({ eventId: 'e1' })
const accepted = ok({ eventIdList: ['e1'], errorList: [] })
const host = { id: 'h', name: 'kvm-1', ip: '192.0.2.1', status: 0 }
const usb = { hostId: 'h', usbName: 'u', own: 'a' }
const redirect = { deviceName: 'd', domainId: 'a', hostId: 'h', hostIp: '192.0.2.1' }
const md5 = '5f4dcc3b5aa765d61d8327deb882cf99'
const password = () => new Secret('vector', 'password')
const domain = 'ocloud/v1/domain'
const pool = 'ocloud/v1/desk-pool'
const row = (id: string) => vm(id, 1)
const draft = {
  bootloader: 'bios',
  mainBoard: 'pc',
  vgpuType: 'qxl',
  autoJoinDomain: 0,
  cores: 1,
  graphicsCardNum: 1,
  sockets: 1,
  threads: 1,
}

type Row = [
  request: string,
  call: (client: VdiClient) => Promise<unknown>,
  answer: unknown,
  sent?: unknown,
  result?: unknown,
]
const ROWS: Row[] = [
  [`POST ${domain}`, (c) => c.domains.create(draft), ok({ uuid: 'a' }), draft, 'a'],
  [`GET ${domain}/a`, (c) => c.domains.get('a'), ok(row('a')), undefined, row('a')],
  [`GET ${domain}`, (c) => c.domains.listAll(), page([row('a')]), undefined, [row('a')]],
  [
    `POST ${domain}/start`,
    (c) => c.domains.start(['a'], { hostId: 'h' }),
    accepted,
    { idList: ['a'], hostId: 'h' },
    { events: ['e1'], failed: [] },
  ],
  [`POST ${domain}/close`, (c) => c.domains.close(['a', 'a']), accepted, { idList: ['a'] }],
  [`POST ${domain}/close`, (c) => c.domains.close(['a'], { force: true }), accepted, { idList: ['a'], isForce: 1 }],
  ...(['reboot', 'suspend', 'resume', 'sleep', 'wakeup'] as const).map((verb): Row => [
    `POST ${domain}/${verb}`,
    (c) => c.domains[verb](['a']),
    accepted,
    { idList: ['a'] },
    { events: ['e1'], failed: [] },
  ]),
  [
    `POST ${domain}/freeze`,
    (c) => c.domains.freeze(['a'], 'weekly'),
    ok([]),
    { idList: ['a'], freezeType: 3 },
    { events: [], failed: [] },
  ],
  [`POST ${domain}/restore`, (c) => c.domains.restore(['a']), ok(), { idList: ['a'] }],
  [`POST ${domain}/rebase`, (c) => c.domains.rebase(['a']), ok(), { idList: ['a'] }],
  [
    `POST ${domain}/bind-user`,
    (c) => c.domains.bindUser('alice', ['a']),
    ok({ notBindDomainIdList: [] }),
    { userId: 'alice', domainIdList: ['a'] },
  ],
  [`POST ${domain}/unbind-user`, (c) => c.domains.unbindUser(['a']), ok(), { domainIdList: ['a'] }],
  [
    `PATCH ${domain}/mem-cpu`,
    (c) => c.domains.setCpuMemory(['a'], { cpu: 2, memoryMb: 4096 }),
    ok(),
    { listId: ['a'], cpu: 2, memory: 4096 },
  ],
  [`PATCH ${domain}/a`, (c) => c.domains.update('a', { name: 'b', keepAlive: 1 }), ok(), { name: 'b', keepAlive: 1 }],
  [`POST ${domain}/delete`, (c) => c.domains.delete(['a']), ok(), { domainIdList: ['a'], isRecycle: 0 }],
  [
    `POST ${domain}/delete`,
    (c) => c.domains.delete(['a'], { recycle: true }),
    ok(),
    { domainIdList: ['a'], isRecycle: 1 },
  ],
  [`POST ${domain}/a/to-model`, (c) => c.domains.toModel('a'), ok()],
  [
    `POST ${domain}/a/clone`,
    (c) => c.domains.clone('a', { name: 'b' }),
    ok({ cloneUuid: 'b', eventId: 'e1' }),
    { name: 'b' },
    { id: 'b', eventId: 'e1' },
  ],
  [`POST ${domain}/a/sync-status`, (c) => c.domains.syncStatus('a'), ok(), { syncType: 1 }],
  [
    `GET ${domain}/a/nic`,
    (c) => c.domains.nics('a'),
    ok([{ actualIp: '192.0.2.7', mac: 'x' }]),
    undefined,
    [{ actualIp: '192.0.2.7', mac: 'x' }],
  ],
  [
    `GET ${domain}/a/disk`,
    (c) => c.domains.disks.list('a'),
    ok([{ id: 'v', size: 20 }]),
    undefined,
    [{ id: 'v', size: 20 }],
  ],
  [
    'POST ocloud/v1/storage-volume',
    (c) => c.domains.disks.create({ name: 'v', busType: 'virtio', size: 1, storagePoolId: 's' }),
    ok({ id: 'v' }),
    { name: 'v', busType: 'virtio', size: 1, storagePoolId: 's' },
    'v',
  ],
  [`POST ${domain}/a/disk`, (c) => c.domains.disks.add('a', 'v'), ok(), { volumeId: 'v' }],
  [
    `POST ${domain}/independent-disk`,
    (c) => c.domains.disks.addIndependent(['a'], { sizeGb: 5 }),
    ok(),
    { domainIdList: ['a'], diskSize: 5 },
  ],
  [`POST ${domain}/a/disk/v/expand`, (c) => c.domains.disks.expand('a', 'v', 10), ok(), { expandSize: 10 }],
  [`POST ${domain}/a/disk/v/unmount`, (c) => c.domains.disks.unmount('a', 'v'), event, undefined, 'e1'],
  [`DELETE ${domain}/a/disk/v`, (c) => c.domains.disks.delete('a', 'v'), ok()],
  [
    `GET ${domain}/a/snapshot`,
    (c) => all(c.domains.snapshots.list('a', 'x')),
    page([{ id: 's', name: 'n' }]),
    undefined,
    [{ id: 's', name: 'n' }],
  ],
  [
    'GET ocloud/v1/snapshot/s',
    (c) => c.domains.snapshots.get('s'),
    ok({ id: 's', name: 'n' }),
    undefined,
    { id: 's', name: 'n' },
  ],
  [`POST ${domain}/a/snapshot`, (c) => c.domains.snapshots.create('a', 'n'), event, { name: 'n' }, 'e1'],
  ['POST ocloud/v1/snapshot/s/restore', (c) => c.domains.snapshots.restore('s'), ok()],
  ['DELETE ocloud/v1/snapshot/s', (c) => c.domains.snapshots.delete('s'), ok()],
  [`GET ${domain}/a/xml`, (c) => c.domains.consoles.xml('a'), ok('<domain/>'), undefined, '<domain/>'],
  [
    `GET ${pool}`,
    (c) => c.deskPools.get('p'),
    page([
      { id: 'o', name: 'q' },
      { id: 'p', name: 'p' },
    ]),
    undefined,
    { id: 'p', name: 'p' },
  ],
  [
    `GET ${pool}`,
    (c) => c.deskPools.find('p'),
    page([
      { id: 'o', name: 'pp' },
      { id: 'p', name: 'p' },
    ]),
    undefined,
    { id: 'p', name: 'p' },
  ],
  [`PATCH ${pool}/p`, (c) => c.deskPools.update('p', { name: 'p', amount: 3 }), event, { name: 'p', amount: 3 }, 'e1'],
  [`DELETE ${pool}/p`, (c) => c.deskPools.delete('p'), ok()],
  [`POST ${pool}/p/enable`, (c) => c.deskPools.enable('p'), ok()],
  [`POST ${pool}/p/disable`, (c) => c.deskPools.disable('p'), ok()],
  [`POST ${pool}/p/active`, (c) => c.deskPools.activate('p'), ok()],
  [`POST ${pool}/p/file`, (c) => c.deskPools.archive('p'), ok()],
  [
    `POST ${pool}/switch-model`,
    (c) => c.deskPools.switchModel('p', 'm'),
    event,
    { deskPoolId: 'p', modelId: 'm' },
    'e1',
  ],
  [`GET ${pool}/p/domain/list`, (c) => c.deskPools.domains('p'), ok([row('a')]), undefined, [row('a')]],
  [
    `POST ${pool}/domain`,
    (c) => c.deskPools.addDomains('p', ['a']),
    ok([]),
    { id: 'p', domainIdList: ['a'] },
    { events: [], failed: [] },
  ],
  [`DELETE ${pool}/domain`, (c) => c.deskPools.removeDomains('p', ['a']), ok(), { id: 'p', domainIdList: ['a'] }],
  ['GET ocloud/v1/host', (c) => c.hosts.listAll({ status: [0, 1] }), page([host]), undefined, [host]],
  ['GET ocloud/v1/host/h', (c) => c.hosts.get('h'), ok(host), undefined, host],
  ['GET ocloud/v1/host/h', (c) => c.hosts.status('h'), ok(host), undefined, 'maintenance'],
  ['GET ocloud/v1/host/h/hardware', (c) => c.hosts.hardware('h'), ok({ cores: 32 }), undefined, { cores: 32 }],
  [
    'GET ocloud/v1/host/h/version',
    (c) => c.hosts.version('h'),
    ok({ agentVersion: '9' }),
    undefined,
    { agentVersion: '9' },
  ],
  ['PATCH ocloud/v1/host/h/status', (c) => c.hosts.setStatus('h', 'maintenance'), ok(), { status: 0 }],
  ['PATCH ocloud/v1/host/h/status', (c) => c.hosts.setStatus('h', 'enabled'), ok(), { status: 1 }],
  ['POST ocloud/v1/host/h/sync-status', (c) => c.hosts.syncStatus('h'), ok()],
  ['PATCH ocloud/v1/host/h/domain-limit', (c) => c.hosts.setDomainLimit('h', 9), ok(), { limit: 9 }],
  [
    'GET ocloud/v1/panel/host/running/performance',
    (c) => c.hosts.performanceNow(),
    ok({ total: 5 }),
    undefined,
    { total: 5 },
  ],
  [
    'GET ocloud/v1/panel/host/performance',
    (c) => c.hosts.performanceOfAll(new Date(0), new Date(1)),
    ok([]),
    undefined,
    [],
  ],
  [`GET ${domain}/a/child`, (c) => c.domains.children('a'), ok([row('b')]), undefined, [row('b')]],
  ['GET ocloud/v1/recycle', (c) => all(c.domains.recycleBin.list()), page([row('a')]), undefined, [row('a')]],
  ['POST ocloud/v1/recycle/restore', (c) => c.domains.recycleBin.restore(['a']), ok(), { idList: ['a'] }],
  ['POST ocloud/v1/recycle/delete', (c) => c.domains.recycleBin.delete(['a']), ok(), { idList: ['a'] }],
  [
    'GET ocloud/v1/storage-volume',
    (c) => all(c.domains.disks.volumes()),
    page([{ id: 'v' }]),
    undefined,
    [{ id: 'v' }],
  ],
  ['DELETE ocloud/v1/storage-volume/v', (c) => c.domains.disks.deleteVolume('v'), ok()],
  [`POST ${pool}/group`, (c) => c.deskPools.addGroups('p', ['ou=x']), ok([]), { id: 'p', groupNameList: ['ou=x'] }],
  [`DELETE ${pool}/group`, (c) => c.deskPools.removeGroups('p', ['ou=x']), ok(), { id: 'p', groupNameList: ['ou=x'] }],
  ['POST ocloud/v1/user/close-domain', (c) => c.users.closeDomains(['alice']), ok(), { usernameList: ['alice'] }],
  ['POST ocloud/v1/group', (c) => c.users.createGroup('x', 'ou=y'), ok(), { group: 'x', base: 'ou=y' }],
  ['POST ocloud/v1/group/delete', (c) => c.users.deleteGroup('ou=x'), ok(), { group: 'ou=x' }],
  ['GET ocloud/v1/host/h/uptime', (c) => c.hosts.uptime('h'), ok({ uptime: 7.5 }), undefined, 7.5],
  [
    'GET ocloud/v1/panel/host/h/performance',
    (c) => c.hosts.performance('h', new Date(0), new Date(1)),
    ok([]),
    undefined,
    [],
  ],
  ['GET ocloud/v1/model', (c) => all(c.models.list({ keyword: 'x' })), page([row('m')]), undefined, [row('m')]],
  ['GET ocloud/v1/model/all', (c) => c.models.get('m'), ok([row('o'), row('m')]), undefined, row('m')],
  [
    'POST ocloud/v1/model/m/clone',
    (c) => c.models.clone('m', { name: 'c', amount: 2 }),
    event,
    { name: 'c', amount: 2 },
    'e1',
  ],
  ['POST ocloud/v1/model/m/to-domain', (c) => c.models.toDomain('m'), ok()],
  [
    'GET ocloud/v1/user',
    (c) => all(c.users.list({ group: 'ou=x' })),
    page([{ sAMAccountName: 'alice' }]),
    undefined,
    [{ sAMAccountName: 'alice' }],
  ],
  [
    'GET ocloud/v1/user/detail',
    (c) => c.users.get('alice'),
    ok({ sAMAccountName: 'alice' }),
    undefined,
    { sAMAccountName: 'alice' },
  ],
  [
    'POST ocloud/v1/user',
    (c) => c.users.create({ sAMAccountName: 'alice', password: password() }),
    ok(),
    { sAMAccountName: 'alice', password: md5 },
  ],
  [
    'PUT ocloud/v1/user',
    (c) => c.users.update({ sAMAccountName: 'alice', mail: 'a@b' }),
    ok(),
    { sAMAccountName: 'alice', mail: 'a@b' },
  ],
  ['POST ocloud/v1/user/delete', (c) => c.users.delete('alice', 'ou=x'), ok(), { userId: 'alice', group: 'ou=x' }],
  [
    'PATCH ocloud/v1/user/password',
    (c) => c.users.resetPassword({ sAMAccountName: 'alice', password: password() }),
    ok(),
    { sAMAccountName: 'alice', password: md5 },
  ],
  ['GET ocloud/v1/user/domain', (c) => all(c.users.domains('alice')), page([row('a')]), undefined, [row('a')]],
  [
    'GET ocloud/v1/event',
    (c) => all(c.events.list({ operateType: '3' })),
    page([{ id: 'e' }]),
    undefined,
    [{ id: 'e' }],
  ],
  [
    'GET ocloud/v1/event/e',
    (c) => c.events.get('e'),
    ok({ id: 'e', isSuccess: null }),
    undefined,
    { id: 'e', isSuccess: null },
  ],
  ['GET ocloud/v1/usb', (c) => all(c.usbPools.list()), page([usb]), undefined, [usb]],
  ['POST ocloud/v1/usb/pass-through', (c) => c.usbPools.passThrough(usb), ok(), usb],
  ['POST ocloud/v1/usb/pass-through/delete', (c) => c.usbPools.endPassThrough(usb), ok(), usb],
  ['POST ocloud/v1/usb/redirect', (c) => c.usbPools.redirect(redirect), ok(), { ...redirect, operate: 2 }],
  ['POST ocloud/v1/usb/redirect', (c) => c.usbPools.cancelRedirect(redirect), ok(), { ...redirect, operate: 3 }],
  [
    `GET ${domain}/a/serial`,
    (c) => c.serials.list('a'),
    ok([{ id: 1, comNum: 'COM1' }]),
    undefined,
    [{ id: 1, comNum: 'COM1' }],
  ],
  [
    `GET ${domain}/a/server-serial`,
    (c) => c.serials.targets('a'),
    ok([{ id: 'b', portList: [{ showPort: '1' }] }]),
    undefined,
    [{ id: 'b', portList: [{ showPort: '1' }] }],
  ],
  [`POST ${domain}/a/serial`, (c) => c.serials.create('a', { serialModel: 2 }), ok(), { serialModel: 2 }],
  [`PUT ${domain}/a/serial/1`, (c) => c.serials.update('a', 1, { serialModel: 0 }), ok(), { serialModel: 0 }],
  [`DELETE ${domain}/a/serial/1`, (c) => c.serials.delete('a', 1), ok()],
]

describe('every method', () => {
  it.each(ROWS)('%s', async (request, call, answer, sent, result) => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    const [method, path] = request.split(' ')
    server.on(`${method} /${path}`, () => answer)
    const value = await call(client)
    expect(server.to(`${method} /${path}`).map(({ body }) => body)).toEqual([sent])
    if (result !== undefined) expect(value).toEqual(result)
  })

  it('together they use every operation', () => {
    const elsewhere = [
      'session',
      'consoles.ports',
      'consoles.spiceKey',
      'consoles.vncPassword',
      'deskPools.create',
      'users.login',
    ]
    const used = ROWS.map(([request]) => request.split(' '))
    const unused = VDI_OPERATIONS.filter(({ name, method, path }) => {
      const pattern = new RegExp(`^${path.slice(1).replaceAll(/\{\w+\}/g, '[^/]+')}$`)
      return (
        !elsewhere.some((prefix) => name.startsWith(prefix)) &&
        !used.some(([verb, at]) => verb === method && pattern.test(at as string))
      )
    })
    expect(unused.map(({ name }) => name)).toEqual([])
  })
})

describe('several VMs', () => {
  const START = 'POST /ocloud/v1/domain/start'
  const errorList = [{ domainId: 'b', domainName: 'vm-b', errorMsg: '主机不可用', status: 1 }]

  it('failures of some VMs are a failure with all reasons and the events of the others', async () => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    server.on(START, () => ok({ eventIdList: ['e1'], errorList }))
    const error = await errorOf(client.domains.start(['a', 'b']))
    expect(error).toMatchObject({
      code: 'ATP_VDI_PARTIAL',
      branch: 'remote',
      context: {
        operation: 'domains.start',
        events: ['e1'],
        failed: [{ domainId: 'b', domainName: 'vm-b', reason: '主机不可用' }],
      },
    })
    expect(error.message).toContain('vm-b: 主机不可用')
    expect(await client.domains.start(['a', 'b'], { partial: 'return' })).toEqual({
      events: ['e1'],
      failed: [{ domainId: 'b', domainName: 'vm-b', reason: '主机不可用' }],
    })
  })

  it('a VM with neither event nor error was passed over, which is a failure', async () => {
    const { client, server } = await clientAndServer()
    server.on(START, () => ok({ eventIdList: [], errorList: null }))
    expect((await errorOf(client.domains.start(['a', 'b']))).message).toContain('2 of 2 VMs')
    const trusting = await clientAndServer({ assumptions: { oneEventPerVm: false } })
    trusting.server.on(START, () => ok({}))
    expect(await trusting.client.domains.start(['a'])).toEqual({ events: [], failed: [] })
  })

  it.each([
    ['bind-user', { notBindDomainIdList: ['b'] }, (c: VdiClient) => c.domains.bindUser('alice', ['a', 'b'])],
    ['freeze', ['b'], (c: VdiClient) => c.domains.freeze(['a', 'b'], 'eachBoot')],
  ])('%s: the ids that are answered were left out', async (verb, data, call) => {
    const { client, server } = await clientAndServer()
    server.on(`POST /ocloud/v1/domain/${verb}`, () => ok(data))
    expect(await errorOf(call(client))).toMatchObject({
      code: 'ATP_VDI_PARTIAL',
      context: { failed: [{ domainId: 'b' }] },
    })
  })

  it('so were those that a pool did not take', async () => {
    const { client, server } = await clientAndServer()
    server.on(`POST /${pool}/domain`, () => ok(['b']))
    expect((await errorOf(client.deskPools.addDomains('p', ['a', 'b']))).code).toBe('ATP_VDI_PARTIAL')
    expect(await client.deskPools.addDomains('p', ['a', 'b'], { partial: 'return' })).toMatchObject({
      failed: [{ domainId: 'b' }],
    })
  })

  it('the direction of the recycle bin is an assumption', async () => {
    const { client, server } = await clientAndServer({ assumptions: { recycleValue: 0 } })
    server.on(`POST /${domain}/delete`, () => ok())
    await client.domains.delete(['a'])
    expect(server.to(`POST /${domain}/delete`)[0]?.body).toEqual({ domainIdList: ['a'], isRecycle: 1 })
  })
})

describe('consoles', () => {
  it('ports are told apart by their names', async () => {
    const { client, server } = await clientAndServer()
    const list = [
      { type: 'SPICE', value: 5900 },
      { type: 'spice_tls', value: 5901 },
      { type: 'VncPort', value: 5902 },
      { type: 'rdp', value: 3389 },
    ]
    server.on(`GET /${domain}/a/port`, () => ok(list))
    expect(await client.domains.consoles.ports('a')).toEqual({ spice: 5900, spiceTls: 5901, vnc: 5902, all: list })
  })

  it.each([
    ['plain', 'ticket-123', 'ticket-123'],
    ['base64', Buffer.from('ticket-123').toString('base64'), 'ticket-123'],
  ] as const)('the SPICE key in the form "%s" is a secret', async (spiceKeyForm, key, ticket) => {
    const { client, server } = await clientAndServer({ assumptions: { spiceKeyForm } })
    server.on(`GET /${domain}/a/spice-key`, () => ok({ domainId: 'a', ip: '192.0.2.1', port: '5900', key }))
    const access = await client.domains.consoles.spiceKey('a')
    expect(access).toMatchObject({ hostIp: '192.0.2.1', port: 5900 })
    expect(access.key.reveal()).toBe(ticket)
    expect(JSON.stringify(access)).not.toContain(ticket)
  })

  it('a port that is none is an answer that cannot be used; the VNC password is a secret', async () => {
    const { client, server } = await clientAndServer()
    server.on(`GET /${domain}/a/spice-key`, () => ok({ ip: '192.0.2.1', port: '-1', key: 'ticket-123' }))
    expect((await errorOf(client.domains.consoles.spiceKey('a'))).code).toBe('ATP_VDI_ANSWER')
    server.on(`GET /${domain}/a/vnc-password`, () => ok({ password: 'vnc-secret' }))
    expect((await client.domains.consoles.vncPassword('a')).reveal()).toBe('vnc-secret')
  })
})

it('what is not there has an error of its own', async () => {
  const { client, server } = await clientAndServer()
  server.on(`GET /${pool}`, () => page([])).on('GET /ocloud/v1/model/all', () => ok([]))
  expect((await errorOf(client.deskPools.get('p'))).code).toBe('ATP_VDI_NOT_FOUND')
  expect((await errorOf(client.models.get('m'))).code).toBe('ATP_VDI_NOT_FOUND')
  expect(await client.deskPools.find('p')).toBeUndefined()
  server.on(`GET /${pool}`, () =>
    page([
      { id: 'p1', name: 'p' },
      { id: 'p2', name: 'p' },
    ]),
  )
  expect(await errorOf(client.deskPools.find('p'))).toMatchObject({
    code: 'ATP_VDI_AMBIGUOUS',
    context: { ids: ['p1', 'p2'] },
  })
})

async function all(rows: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = []
  for await (const one of rows) list.push(one)
  return list
}
