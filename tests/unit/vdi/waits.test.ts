import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { VdiClient } from '../../../framework/vdi/index.ts'
import { until } from '../../../framework/vdi/until.ts'
import { type Answer, type CannedServer, HELD, ok, page, sendJson } from './support/canned-server.ts'
import { clientAndServer, errorOf, vm } from './support/setup.ts'

const VM = 'GET /ocloud/v1/domain/a'
const EVENT = 'GET /ocloud/v1/event/e1'
const POOLS = 'GET /ocloud/v1/desk-pool'
const DESKTOPS = 'GET /ocloud/v1/desk-pool/p/domain/list'
const unknown = { status: 9404, msg: 'no such event' }

/** Answers one value after the other; the last one for ever. */
const then = (...values: unknown[]): Answer => {
  let next = 0
  return (...call) => {
    const value = values[Math.min(next++, values.length - 1)]
    return typeof value === 'function' ? (value as Answer)(...call) : value
  }
}
const states = (...list: number[]) => then(...list.map((status) => ok(vm('a', status))))
const event = (more: object) => ok({ id: 'e1', domainId: 'a', ...more })
const broken: Answer = (_, response) => sendJson(response, {}, 500)

async function withVm(answer: Answer, options = {}): Promise<{ client: VdiClient; server: CannedServer }> {
  const both = await clientAndServer(options)
  both.server.on(VM, answer).on(EVENT, () => unknown)
  return both
}

describe('waiting for VMs', () => {
  it('ends when all have the status, and answers them in order', async () => {
    const { client, server } = await withVm(states(0, 5, 5, 1))
    server.on('GET /ocloud/v1/domain/b', () => ok(vm('b', 1)))
    const vms = await client.domains.waitForStatus(['b', 'a'], 'running')
    expect(vms.map(({ id, status }) => [id, status])).toEqual([
      ['b', 1],
      ['a', 1],
    ])
    expect(server.to('GET /ocloud/v1/domain/b')).toHaveLength(1)
    expect(server.to(VM)).toHaveLength(4)
  })

  it.each([
    ['off', 0],
    ['suspended', 2],
    ['hibernated', 3],
    [7, 7],
  ] as const)('%s is status %i', async (state, status) => {
    const { client } = await withVm(states(5, status))
    expect((await client.domains.waitForStatus(['a'], state))[0]).toMatchObject({ status })
  })

  it('a question that is never answered is asked again, within the deadline of the wait', async () => {
    const answers = then(() => HELD, ok(vm('a', 1)))
    const { client, server } = await withVm(answers, { timeoutMs: 200 })
    const [found] = await client.domains.waitForStatus(['a'], 'running', { timeoutMs: 10_000 })
    expect(found).toMatchObject({ status: 1 })
    expect(server.to(VM)).toHaveLength(2)
  })

  it.each([
    ['the session', { status: 1006, msg: 'token' }, 1006],
    ['a login', { status: 5100, msg: 'locked' }, 5100],
  ] as const)('an event that cannot be asked for because %s is refused ends the wait', async (what, answer, code) => {
    const { client, server } = await withVm(states(5))
    await client.login()
    server.on(EVENT, () => ({ status: 1006, msg: 'token' }))
    if (what === 'a login') server.on('POST /ocloud/v1/login', () => answer)
    const error = await errorOf(client.domains.waitForStatus(['a'], 'running', { events: ['e1'], timeoutMs: 10_000 }))
    expect(error).toMatchObject({ code: 'ATP_VDI_REFUSED', context: { code } })
  })

  it('anything can be waited for, and who it does not hold for is told', async () => {
    const free = ok({ ...vm('a', 0), userId: null })
    const { client, server } = await withVm(then(free, free, ok({ ...vm('a', 0), userId: 'alice' })))
    const [bound] = await client.domains.waitUntil(['a'], 'bound to alice', ({ userId }) => userId === 'alice')
    expect(bound).toMatchObject({ id: 'a', userId: 'alice' })
    server.on(VM, () => free)
    const never = client.domains.waitUntil(['a'], 'bound', ({ userId }) => Boolean(userId), { timeoutMs: 1000 })
    expect((await errorOf(never)).message).toContain('waited 1000 ms for VM a to be bound: not so is vm-a')
    expect(await errorOf(client.domains.waitUntil([], 'bound', () => true))).toMatchObject({ code: 'ATP_VDI_REQUEST' })
  })

  it('VMs can be waited for to be gone', async () => {
    const { client, server } = await withVm(states(0))
    server.on('GET /ocloud/v1/domain', then(page([vm('a', 0), vm('b', 0)]), page([vm('b', 0)])))
    await client.domains.waitUntilGone(['a'])
    expect(server.to('GET /ocloud/v1/domain')).toHaveLength(2)
    const stays = client.domains.waitUntilGone(['b'], { timeoutMs: 1000 })
    expect(await errorOf(stays)).toMatchObject({
      code: 'ATP_VDI_TIMEOUT',
      message: expect.stringContaining('vm-b is left'),
    })
  })

  it('numbers of states are assumptions', async () => {
    const { client } = await withVm(states(1, 9, 8, 4), { assumptions: { hibernatedStatus: 4, busyStatuses: [8, 9] } })
    expect((await client.domains.waitForStatus(['a'], 'hibernated'))[0]).toMatchObject({ status: 4 })
  })

  it('a VM that leaves busy for another status failed', async () => {
    const { client } = await withVm(states(0, 5, 0))
    const error = await errorOf(client.domains.waitForStatus(['a'], 'running'))
    expect(error).toMatchObject({
      code: 'ATP_VDI_STATE',
      context: { failed: [{ domainId: 'a', domainName: 'vm-a', reason: 'it is off (0) after it was busy' }] },
    })
    expect(error.message).toContain('VM a to be running (1)')
  })

  it('the platform gives the reason where its event has one', async () => {
    const { client, server } = await withVm(states(0, 5, 5, 5, 0))
    server.on(
      EVENT,
      then(unknown, event({}), event({ isSuccess: null }), event({ isSuccess: 1, errorReason: '内存不足' })),
    )
    const error = await errorOf(client.domains.waitForStatus(['a'], 'running', { events: ['e1'] }))
    expect(error).toMatchObject({ code: 'ATP_VDI_STATE', context: { failed: [{ domainId: 'a', reason: '内存不足' }] } })
    expect(server.to(EVENT)).toHaveLength(4)
  })

  it('a failure of an event that names no VM counts as well', async () => {
    const { client, server } = await withVm(states(0))
    server.on(EVENT, () => ok({ id: 'e1', errorReason: 'no host' }))
    expect((await errorOf(client.domains.waitForStatus(['a'], 'running', { events: ['e1'] }))).message).toContain(
      'no host',
    )
  })

  it.each([
    [0, 1],
    [1, 0],
  ] as const)('with %i as success, %i without a reason fails a VM that is not as expected', async (good, bad) => {
    const { client, server } = await withVm(states(0), { assumptions: { eventSuccessValue: good } })
    server.on(EVENT, () => event({ isSuccess: bad }))
    const error = await errorOf(client.domains.waitForStatus(['a'], 'running', { events: ['e1'] }))
    expect(error.message).toContain('its event says that it failed, without a reason; it is off (0)')
  })

  it('an event in the wrong polarity does not fail a VM that is as expected', async () => {
    const { client, server } = await withVm(states(5, 1))
    server.on(EVENT, () => event({ isSuccess: 1 }))
    expect((await client.domains.waitForStatus(['a'], 'running', { events: ['e1'] }))[0]).toMatchObject({ status: 1 })
  })

  it('after a reboot the status counts once the VM was busy, or its event is over', async () => {
    const { client, server } = await withVm(states(1, 1, 5, 1))
    await client.domains.waitForStatus(['a'], 'running', { afterChange: true })
    expect(server.to(VM)).toHaveLength(4)
    server.on(VM, states(1)).on(EVENT, then(unknown, event({ isSuccess: 0 })))
    await client.domains.waitForStatus(['a'], 'running', { afterChange: true, events: ['e1'] })
    expect(server.to(VM)).toHaveLength(6)
  })

  it('a VM that stays busy is told of at the deadline', async () => {
    const { client } = await withVm(states(5))
    const error = await errorOf(client.domains.waitForStatus(['a'], 'off', { timeoutMs: 100 }))
    expect(error).toMatchObject({ code: 'ATP_VDI_TIMEOUT', context: { timeoutMs: 100 } })
    expect(error.message).toContain('vm-a is busy (5)')
  })

  it('a platform that is gone for a while is survived, one that stays away is the cause', async () => {
    const { client, server } = await withVm(then(broken, broken, ok(vm('a', 1))), { retries: 0 })
    expect(await client.domains.waitForStatus(['a'], 'running')).toHaveLength(1)
    server.on(VM, broken)
    const error = await errorOf(client.domains.waitForStatus(['a'], 'running', { timeoutMs: 100 }))
    expect(error).toMatchObject({ code: 'ATP_VDI_TIMEOUT', cause: { code: 'ATP_VDI_HTTP' } })
  })

  it('what no repetition heals ends it at once', async () => {
    const { client, server } = await withVm(() => unknown)
    expect((await errorOf(client.domains.waitForStatus(['a'], 'running'))).code).toBe('ATP_VDI_REFUSED')
    server.on(VM, states(0))
    const strict = await clientAndServer({ assumptions: { missingEventIsUnfinished: false } })
    strict.server.on(EVENT, () => unknown)
    const waiting = strict.client.domains.waitForStatus(['a'], 'running', { events: ['e1'] })
    expect((await errorOf(waiting)).code).toBe('ATP_VDI_REFUSED')
  })

  it('an abort ends it', async () => {
    const { client, server } = await withVm(states(5))
    const abort = new AbortController()
    const waiting = errorOf(client.domains.waitForStatus(['a'], 'off', { signal: abort.signal }))
    await expect.poll(() => server.to(VM).length).toBeGreaterThan(1)
    abort.abort()
    expect((await waiting).code).toBe('ATP_INTERRUPTED')
  })

  it('pauses grow by half up to the longest', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const caller = { pace: { firstMs: 40, longestMs: 80 }, ended: new AbortController().signal }
    const startedMs = Date.now()
    const asked: number[] = []
    const round = async () => void asked.push(Date.now() - startedMs)
    const waiting = errorOf(until(caller, 'Godot', { timeoutMs: 300 }, () => 'he is late', round))
    await vi.advanceTimersByTimeAsync(300)
    expect((await waiting).message).toBe('waited 300 ms for Godot: he is late')
    expect(asked).toEqual([0, 40, 100, 180, 260])
  })
})

describe('desk pools', () => {
  const draft = { name: 'p', type: 1, amount: 2, modelId: 'm', domainPrefix: 'p' } as const
  const pool = { id: 'p', name: 'p', status: 0, curModelId: 'm' }
  const made = (server: CannedServer) =>
    server.on('POST /ocloud/v1/desk-pool', () => ok({ eventId: 'e1' })).on(EVENT, () => unknown)

  it('a new pool is found by its name, among those that were not there before', async () => {
    const { client, server } = await clientAndServer()
    const others = [
      { id: 'old', name: 'p' },
      { id: 'x', name: 'pp' },
    ]
    made(server).on(POOLS, then(page(others), page(others), page([...others, pool])))
    expect(await client.deskPools.create(draft)).toMatchObject({ eventId: 'e1', pool: { id: 'p' } })
    expect(server.to('POST /ocloud/v1/desk-pool').map(({ body }) => body)).toEqual([draft])
    expect(server.to(POOLS)[0]?.query.get('keyword')).toBe('p')
  })

  it('the reason of a pool that does not come is that of its event', async () => {
    const { client, server } = await clientAndServer()
    made(server)
      .on(POOLS, () => page([]))
      .on(EVENT, then(unknown, ok({ id: 'e1', isSuccess: 1, errorReason: '主机维护中' })))
    const error = await errorOf(client.deskPools.create(draft))
    expect(error).toMatchObject({ code: 'ATP_VDI_STATE', context: { failed: ['主机维护中'] } })
  })

  it('creation has one deadline for all of it', async () => {
    const { client, server } = await clientAndServer()
    made(server).on(POOLS, () => page([]))
    const error = await errorOf(client.deskPools.create(draft, { timeoutMs: 150 }))
    expect(error).toMatchObject({ code: 'ATP_VDI_TIMEOUT' })
    expect(error.message).toContain('event e1')
    server.on('POST /ocloud/v1/desk-pool', () => HELD)
    expect((await errorOf(client.deskPools.create(draft, { timeoutMs: 100 }))).code).toBe('ATP_VDI_TIMEOUT')
  })

  it('a pool is ready with all of its desktops, none of them busy', async () => {
    const { client, server } = await clientAndServer()
    const desktop = (id: string, status: number) => vm(id, status)
    made(server)
      .on(POOLS, then(page([]), page([pool])))
      .on(
        DESKTOPS,
        then(
          ok([]),
          ok([desktop('a', 5)]),
          ok([desktop('a', 0), desktop('b', 5)]),
          ok([desktop('a', 0), desktop('b', 0)]),
        ),
      )
    const ready = await client.deskPools.waitForPool('p', 2)
    expect(ready.pool.id).toBe('p')
    expect(ready.domains.map(({ id }) => id)).toEqual(['a', 'b'])
    expect(server.to(DESKTOPS)).toHaveLength(4)
  })

  it('a pool that delivers fewer desktops than asked fails once its event is over', async () => {
    const { client, server } = await clientAndServer()
    made(server)
      .on(POOLS, () => page([pool]))
      .on(DESKTOPS, () => ok([vm('a', 0)]))
      .on(EVENT, then(unknown, ok({ id: 'e1', isSuccess: 0 })))
    const error = await errorOf(client.deskPools.waitForPool('p', 2, { events: ['e1'] }))
    expect(error).toMatchObject({ code: 'ATP_VDI_STATE', context: { amount: 2, delivered: 1 } })
    const late = await errorOf(client.deskPools.waitForPool('p', 2, { timeoutMs: 100 }))
    expect(late.code).toBe('ATP_VDI_TIMEOUT')
    expect(late.message).toContain('it has 1: vm-a off (0)')
  })

  it('a failed creation has the reason of its event', async () => {
    const { client, server } = await clientAndServer()
    made(server)
      .on(POOLS, () => page([pool]))
      .on(DESKTOPS, () => ok([vm('a', 5)]))
    server.on(EVENT, then(unknown, ok({ id: 'e1', domainName: 'p-2', errorReason: 'storage full' })))
    const error = await errorOf(client.deskPools.waitForPool('p', 2, { events: ['e1'] }))
    expect(error.message).toContain('p-2: storage full')
  })

  it('a switched template is in use when the pool is idle again and says so', async () => {
    const { client, server } = await clientAndServer()
    const at = (curModelId: string, status: number) => page([{ ...pool, curModelId, status }])
    server.on(POOLS, then(at('m', 0), at('m', 1), at('n', 1), at('n', 0))).on(EVENT, () => unknown)
    expect(await client.deskPools.waitForModel('p', 'n', { events: ['e1'] })).toMatchObject({
      curModelId: 'n',
      status: 0,
    })
    expect(server.to(POOLS)).toHaveLength(4)
    server.on(POOLS, () => at('m', 0))
    const error = await errorOf(client.deskPools.waitForModel('p', 'n', { timeoutMs: 60 }))
    expect(error.message).toContain('it uses m, status 0')
  })
})

describe('waiting for an event', () => {
  it('ends with its verdict, and a failure has the reason of the platform', async () => {
    const { client, server } = await withVm(states(0))
    server.on(EVENT, then(unknown, event({}), event({ isSuccess: 0 })))
    await client.events.waitFor('e1')
    expect(server.to(EVENT)).toHaveLength(3)
    server.on(EVENT, () => event({ isSuccess: 1, errorReason: '存储不足' }))
    expect(await errorOf(client.events.waitFor('e1', 'a snapshot to be taken'))).toMatchObject({
      code: 'ATP_VDI_STATE',
      message: 'waited for a snapshot to be taken, but 存储不足',
    })
    server.on(EVENT, () => event({ isSuccess: 1 }))
    expect((await errorOf(client.events.waitFor('e1'))).message).toContain('without a reason')
    server.on(EVENT, () => event({}))
    expect(await errorOf(client.events.waitFor('e1', undefined, { timeoutMs: 100 }))).toMatchObject({
      code: 'ATP_VDI_TIMEOUT',
    })
  })
})
