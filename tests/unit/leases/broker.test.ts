import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import type { HostDescription, LeaseRequest, VmRequest } from '../../../framework/leases/api.ts'
import { Broker, type BrokerOptions } from '../../../framework/leases/broker.ts'
import type { ClientKind, LeaseNotice } from '../../../framework/leases/codec.ts'
import { Journal } from '../../../framework/leases/journal.ts'
import type { Session } from '../../../framework/leases/lease-book.ts'
import { FakeProvider, type FakeConfig } from './fake-provider.ts'

const HOSTS: HostDescription[] = [
  { id: 'a', uri: 'qemu+a:///session', capacity: 2, labels: ['fast'] },
  { id: 'b', uri: 'qemu+b:///session', capacity: 2, labels: [] },
]
const ask = (...vms: VmRequest[]): LeaseRequest => ({ holder: 'a test', vms })

let dir: string
let provider: FakeProvider
let journal: Journal
let broker: Broker
let calls = 0

async function start(config: Partial<FakeConfig> = {}, options: Partial<BrokerOptions> = {}): Promise<void> {
  provider = new FakeProvider({ dir, hosts: HOSTS, profiles: ['ps2', 'virtio'], ...config })
  journal = Journal.open(join(dir, 'journal.jsonl'))
  broker = await Broker.start({ provider, journal, ...options })
}
interface TestSession extends Session {
  notices: LeaseNotice[]
}
function join_(run = 'r', kind: ClientKind = 'worker', subscribed = false): TestSession {
  const notices: LeaseNotice[] = []
  const session = {
    run,
    kind,
    pid: 1,
    notify: (notice: LeaseNotice) => notices.push(notice),
    subscribed,
    ended: false,
    notices,
  }
  broker.join(session)
  return session
}
const lease = (session: Session, request: LeaseRequest, timeoutMs?: number) =>
  broker.lease(session, ++calls, request, timeoutMs)
const soon = (what: string, condition: () => boolean) =>
  pollUntil(what, { timeoutMs: 5000, intervalMs: 2 }, async () => condition() || undefined)
const exist = () =>
  provider
    .read()
    .map((vm) => vm.name)
    .sort()

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'atp-broker-'))
})
afterEach(async () => {
  const left = await broker.close()
  journal.close()
  const existing = exist()
  rmSync(dir, { recursive: true })
  expect(left).toEqual([])
  expect(existing).toEqual([])
})

describe('a lease', () => {
  it('is made of VMs that carry their owner from the beginning', async () => {
    await start()
    const session = join_('run-7')
    const granted = await lease(
      session,
      ask({}, { ownership: 'shared', profile: 'virtio' }, { name: 'win', host: 'far', ownership: 'attached' }),
    )
    expect(granted.vms).toMatchObject([
      {
        name: 'vm-001',
        host: { id: 'a', uri: 'qemu+a:///session' },
        profile: 'ps2',
        ownership: 'pristine',
        standby: false,
      },
      {
        name: 'vm-002',
        host: { id: 'b', uri: 'qemu+b:///session' },
        profile: 'virtio',
        ownership: 'shared',
        standby: false,
      },
      { name: 'win', uuid: '', host: { id: 'far', uri: '' }, ownership: 'attached', standby: false },
    ])
    expect(provider.read().find((vm) => vm.name === 'vm-001')).toMatchObject({
      uuid: granted.vms[0]?.uuid,
      owner: { run: 'run-7', lease: granted.id, pid: process.pid, expires: expect.any(Number) },
    })
    expect(exist()).toEqual(['vm-001', 'vm-002'])
    broker.release(session, granted.id)
    await soon('the VMs to go', () => exist().length === 0)
    expect(session.notices.map((notice) => notice.state)).toEqual(['granted', 'released'])
  })

  it('is made elsewhere when one host fails, once', async () => {
    await start({ broken: ['a'] })
    const granted = await lease(join_(), ask({}))
    expect(granted.vms[0]?.host.id).toBe('b')
  })

  it('fails as infrastructure when no other host can help, and leaves nothing behind', async () => {
    await start({ broken: ['a'] })
    const session = join_()
    await expect(lease(session, ask({ host: 'a' }, { host: 'b' }))).rejects.toMatchObject({
      code: 'ATP_LEASE_CREATE',
      verdict: 'infrastructure',
      message: 'vm-001 could not be made on a: a is out of order',
    })
    await soon('the other VM to go', () => exist().length === 0)
    expect((await lease(session, ask({ host: 'b' }, { host: 'b' }))).vms).toHaveLength(2)
  })

  it('that comes too late says what it waited for', async () => {
    await start()
    const session = join_()
    await lease(session, ask({ name: 'vm-001' }))
    await expect(lease(session, ask({ name: 'vm-001' }), 20)).rejects.toMatchObject({
      code: 'ATP_LEASE_TIMEOUT',
      message: expect.stringContaining('a test got no VM within 20 ms: it waits for vm-001, which is leased'),
    })
    expect(broker.status().waiting).toEqual([])
  })

  it('can be given up while waiting, while being made and when granted', async () => {
    await start({ createMs: 50 })
    const session = join_()
    const making = lease(session, ask({}, {}, {}, {}))
    broker.cancel(session, calls)
    await expect(making).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    await soon('what was being made to go', () => broker.status().vms.length === 0)
    await lease(session, ask({ name: 'vm-001' }))
    const held = calls
    const waiting = lease(session, ask({ name: 'vm-001' }))
    broker.cancel(session, calls)
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    broker.cancel(session, held)
    await soon('the granted VM to go', () => exist().length === 0)
  })

  it('does not begin a VM whose intent cannot be journalled', async () => {
    await start()
    journal.close()
    await expect(lease(join_(), ask({}))).rejects.toMatchObject({
      code: 'ATP_LEASE_CREATE',
      message: expect.stringContaining('EBADF'),
    })
    expect(exist()).toEqual([])
    journal = Journal.open(join(dir, 'other.jsonl'))
  })

  it('keeps its room until the VM is really gone, however often destroying fails', async () => {
    await start({ hosts: [{ ...(HOSTS[0] as HostDescription), capacity: 1 }] })
    const session = join_()
    provider.stubborn.set('vm-001', 2)
    const first = await lease(session, ask({}))
    broker.release(session, first.id)
    const next = lease(session, ask({}))
    await soon('a failed attempt', () => broker.status().vms.some((vm) => vm.trouble !== undefined))
    expect(broker.status().waiting).toMatchObject([{ reason: 'waits for room for 1 VM on a' }])
    expect((await next).vms[0]?.name).toBe('vm-001')
    expect(provider.events().map((event) => event.event)).toEqual([
      'create',
      'created',
      'destroy',
      'destroyed',
      'create',
      'created',
    ])
  })
})

describe('leases end', () => {
  it('with their client', async () => {
    await start()
    const dying = join_('r', 'worker')
    const living = join_('r', 'worker')
    await lease(dying, ask({}, {}))
    const { vms } = await lease(living, ask({}))
    broker.leave(dying)
    await soon('its VMs to go', () => exist().length === 1)
    expect(exist()).toEqual([vms[0]?.name])
  })

  it('with their run when its owner vanishes, those of its workers too; then the run gets no more', async () => {
    await start()
    const owner = join_('r', 'run')
    const worker = join_('r', 'worker')
    const stranger = join_('other', 'worker')
    await lease(worker, ask({}))
    await lease(stranger, ask({}))
    const waiting = lease(worker, ask({}, {}, {}, {}))
    broker.leave(owner)
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_LEASE_REVOKED' })
    await expect(lease(worker, ask({}))).rejects.toMatchObject({ code: 'ATP_LEASE_RUN_OVER', branch: 'interrupted' })
    expect(worker.notices.at(-1)).toMatchObject({ state: 'revoked', reason: 'its run is gone' })
    await soon('its VMs to go', () => exist().length === 1)
    expect(provider.read()[0]?.owner.run).toBe('other')
  })

  it('not with a run that said it is over', async () => {
    await start()
    const owner = join_('r', 'run')
    const worker = join_('r', 'worker')
    const { id } = await lease(worker, ask({}))
    owner.ended = true
    broker.leave(owner)
    expect(broker.status().vms).toMatchObject([{ state: 'leased', lease: id }])
  })

  it('by draining, which counts what was not given back and waits until it is gone', async () => {
    await start({ destroyMs: 30 })
    const session = join_('r', 'run')
    const given = await lease(session, ask({}))
    await lease(session, ask({}, {}))
    await lease(join_('other'), ask({}))
    // A VM of the run that the broker knows nothing of.
    await provider.create({
      host: 'a',
      name: 'lost',
      owner: { run: 'r', lease: 'x', pid: process.pid, expires: Date.now() + 60_000 },
    })
    broker.release(session, given.id)
    expect(await broker.drain('r')).toBe(3)
    expect(provider.read().map((vm) => vm.owner.run)).toEqual(['other'])
    expect(await broker.drain('r')).toBe(0)
  })
})

describe('notices', () => {
  it('of the whole run go to those who subscribed', async () => {
    await start()
    const watcher = join_('r', 'run', true)
    const stranger = join_('other', 'run', true)
    const worker = join_('r', 'worker')
    const first = await lease(worker, ask({ name: 'vm-001' }))
    const call = calls + 1
    const second = lease(worker, ask({ name: 'vm-001' }))
    broker.release(worker, first.id)
    await second
    expect(watcher.notices.map(({ state, reason }) => [state, reason])).toEqual([
      ['granted', undefined],
      ['waiting', 'waits for vm-001, which is leased'],
      ['released', 'released'],
      ['granted', undefined],
    ])
    expect(watcher.notices.at(-1)).toMatchObject({
      run: 'r',
      holder: 'a test',
      vms: [{ name: 'vm-001' }],
      hosts: [
        { id: 'a', capacity: 2 },
        { id: 'b', capacity: 2 },
      ],
    })
    expect(watcher.notices.every((notice) => notice.call === undefined)).toBe(true)
    expect(worker.notices.filter((notice) => notice.call === call).map((notice) => notice.state)).toEqual([
      'waiting',
      'granted',
    ])
    expect(stranger.notices).toEqual([])
  })
})

describe('standbys', () => {
  const ready = (count: number) =>
    soon(`${count} standbys`, () => broker.status().vms.filter((vm) => vm.state === 'standby').length === count)

  it('are kept, handed out with a new owner, refilled and given up', async () => {
    await start()
    const session = join_()
    broker.setStandbys({ ps2: 1 })
    await ready(2)
    expect(provider.read().map((vm) => vm.owner.run)).toEqual(['standby', 'standby'])
    const { vms, id } = await lease(session, ask({ name: 'vm-002' }))
    expect(vms[0]).toMatchObject({ name: 'vm-002', standby: true })
    expect(provider.read().find((vm) => vm.name === 'vm-002')?.owner).toMatchObject({ run: 'r', lease: id })
    await ready(2)
    broker.setStandbys({})
    await soon('the standbys to go', () => exist().length === 1)
    expect(exist()).toEqual(['vm-002'])
  })

  it('come back by recycling where the provider can, without a VM being made', async () => {
    await start({ recycles: true, recycleMs: 20 })
    const session = join_()
    broker.setStandbys({ ps2: 1 })
    await ready(2)
    for (let round = 0; round < 6; round++) {
      const { vms, id } = await lease(session, ask({}))
      expect(vms[0]?.standby).toBe(true)
      broker.release(session, id)
    }
    expect(await broker.drain('r')).toBe(0)
    expect(provider.events().filter((event) => event.event === 'create')).toHaveLength(2)
    expect(provider.events().filter((event) => event.event === 'recycle')).toHaveLength(6)
    expect(provider.read().map((vm) => vm.owner.run)).toEqual(['standby', 'standby'])
  })

  it('that cannot be reset are destroyed and replaced', async () => {
    await start({ recycles: true })
    provider.recycle = async () => {
      throw new Error('loadvm failed')
    }
    const session = join_()
    broker.setStandbys({ ps2: 1 })
    await ready(2)
    const { id, vms } = await lease(session, ask({}))
    broker.release(session, id)
    await soon('the VM to be destroyed', () => !provider.read().some((vm) => vm.uuid === vms[0]?.uuid))
    await ready(2)
  })

  it('that turn out dead are replaced by a new VM of the same name', async () => {
    await start()
    broker.setStandbys({ ps2: 1 })
    await ready(2)
    for (const vm of provider.read()) await provider.destroy(vm)
    const { vms } = await lease(join_(), ask({}))
    expect(vms[0]).toMatchObject({ name: 'vm-001', standby: false })
    expect(exist()).toContain('vm-001')
  })

  it('of unknown profiles are refused', async () => {
    await start()
    expect(() => broker.setStandbys({ usb: 1 })).toThrow(expect.objectContaining({ code: 'ATP_LEASE_STANDBYS' }))
    expect(() => broker.setStandbys({ ps2: 0.5 })).toThrow(expect.objectContaining({ code: 'ATP_LEASE_STANDBYS' }))
  })
})

describe('a new broker', () => {
  it('removes what a dead one left, tries again where that fails, and tells a sweeper', async () => {
    await start()
    await broker.close()
    journal.close()
    const owner = { run: 'old', lease: 'l', pid: process.pid, expires: Date.now() + 60_000 }
    for (const name of ['vm-001', 'vm-002']) await provider.create({ host: 'a', name, owner })
    const stubborn = new Map([['vm-002', 1]])
    provider = Object.assign(new FakeProvider(provider.config), { stubborn })
    journal = Journal.open(join(dir, 'journal.jsonl'))
    broker = await Broker.start({ provider, journal })
    await soon('the second to go', () => exist().length === 0)
    const { removed, failed } = await broker.sweep()
    expect([removed.map((vm) => vm.name), failed]).toEqual([['vm-001'], []])
    expect((await broker.sweep()).removed).toEqual([])
  })

  it('is idle when nobody needs it, and says so', async () => {
    let idles = 0
    await start({}, { onIdle: () => idles++ })
    const session = join_()
    await lease(session, ask({}))
    expect([broker.idle, idles]).toEqual([false, 0])
    broker.leave(session)
    expect(broker.idle).toBe(false)
    await soon('idleness', () => idles > 0)
    expect(broker.idle).toBe(true)
  })

  it('renews the owner tags of VMs that live long', async () => {
    await start({}, { tagLifeMs: 100 })
    await lease(join_(), ask({}))
    const before = provider.read()[0]?.owner.expires as number
    await soon('a renewal', () => (provider.read()[0]?.owner.expires ?? 0) > before)
  })
})
