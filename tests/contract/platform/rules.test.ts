import { request } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import {
  MemoryWorld,
  SteppedClock,
  startPlatform,
  type Platform,
  type PlatformBehaviour,
  type PlatformOptions,
} from '../../../lab/platform/index.ts'
import { Caller, idsOf, type Json } from './caller.ts'

const open: Platform[] = []
afterEach(async () => {
  for (const platform of open.splice(0)) await platform.close()
})

async function start(behaviour: Partial<PlatformBehaviour> = {}, options: PlatformOptions = {}) {
  const world = new MemoryWorld()
  const platform = await startPlatform({ world, ...options, behaviour: { busyMs: 0, ...behaviour } })
  open.push(platform)
  return { platform, caller: await Caller.open(platform), world }
}

const refusal = async (caller: Caller, method: string, path: string, body?: unknown) => {
  const { status, msg } = await caller.call(method, `/ocloud/v1${path}`, body)
  return `${status} ${msg}`
}

describe('what the platform does not know', () => {
  it('is refused: fields, types, missing fields, values, ids, bodies', async () => {
    const { caller } = await start()
    const bad = (method: string, path: string, body?: unknown) => refusal(caller, method, path, body)
    expect(await bad('POST', '/domain/start', { domain_id: 'x' })).toMatch(/^9401 "domain_id" of the body/)
    expect(await bad('GET', '/domain?deskpoolId=x')).toMatch(/^9401 "deskpoolId" of the query/)
    expect(await bad('GET', '/host?pageNo=1')).toMatch(/^9401/)
    expect(await bad('POST', '/desk-pool', { name: 'p', amount: 1 })).toMatch(/^9402 "type"/)
    expect(await bad('GET', '/user')).toMatch(/^9402 "group"/)
    expect(await bad('POST', '/domain/start', {})).toMatch(/^9402/)
    expect(await bad('POST', '/domain/start', { idList: 'x' })).toMatch(/^9403 "idList" of the body must be array/)
    expect(await bad('POST', '/domain/start', { idList: [1] })).toMatch(/^9403 "idList\[0\]"/)
    expect(await bad('POST', '/domain/start', { idList: null })).toMatch(/^9403/)
    expect(await bad('POST', '/desk-pool', { name: 'p', amount: '2', type: 1 })).toMatch(/^9403 "amount"/)
    expect(await bad('POST', '/desk-pool', { name: 'p', amount: 2 ** 31, type: 1 })).toMatch(/^9403 "amount"/)
    expect(await bad('GET', '/domain?pageNum=one')).toMatch(/^9403 "pageNum"/)
    expect(await bad('POST', '/desk-pool', { name: 'p', amount: 1, type: 7 })).toMatch(/^9405 "type"/)
    expect(await bad('POST', '/desk-pool', { name: 'a/b', amount: 0, type: 1 })).toMatch(/^9405/)
    expect(await bad('POST', '/desk-pool', { name: 'p', amount: 1, type: 1, modelId: 'none' })).toMatch(/^9404/)
    expect(await bad('GET', '/domain/none')).toMatch(/^9404/)
    expect(await bad('POST', '/domain/start', [])).toMatch(/^9403 the body must be object/)
    expect(await bad('POST', '/logout', { x: 1 })).toMatch(/^9401/)
  })

  it('is refused: unknown paths and methods, as Spring does it or in an envelope', async () => {
    const { caller } = await start()
    const missing = await caller.raw('GET', '/ocloud/v1/host/storage/x')
    expect([missing.status, await missing.json()]).toMatchObject([404, { status: 404, error: 'Not Found' }])
    expect((await caller.raw('DELETE', '/ocloud/v1/domain/delete')).status).toBe(405)
    const { caller: other } = await start({ unknownPath: 'envelope' })
    expect(await refusal(other, 'GET', '/desk-pool/x/y/z')).toMatch(/^9406/)
  })

  it('is refused: text that is no JSON, another content type, a body that is too large', async () => {
    const { platform, caller } = await start()
    const send = async (type: string, body: string | Buffer) => {
      const headers = { Token: caller.token, 'content-type': type }
      const answer = await fetch(`${platform.url}/ocloud/v1/domain/start`, { method: 'POST', headers, body })
      return ((await answer.json()) as Json)['status']
    }
    expect(await send('application/json', '{"idList"')).toBe(9400)
    expect(await send('application/json', Buffer.from([0x7b, 0xff, 0x7d]))).toBe(9400)
    expect(await send('text/plain', '{"idList":["x"]}')).toBe(9400)
    expect(await send('application/json', `{"idList":["${'x'.repeat(1_100_000)}"]}`)).toBe(9413)
    expect(await send('application/json; charset=UTF-8', '{"idList":["x"]}')).toBe(0)
  })

  it('is refused: states that do not allow it, in the list of errors or the envelope', async () => {
    const { caller } = await start()
    const { vms } = await caller.pool('p', 2)
    const [one, two] = idsOf(vms) as [string, string]
    await caller.verb('start', [one])
    const { errorList, eventIdList } = await caller.post<{ errorList: Json[]; eventIdList: string[] }>(
      '/domain/start',
      {
        idList: [one, two, 'gone'],
      },
    )
    expect(eventIdList).toHaveLength(1)
    expect(errorList).toMatchObject([
      { domainId: one, domainName: 'p-1', errorMsg: expect.stringContaining('running') as string },
      { domainId: 'gone', errorMsg: expect.stringContaining('no VM') as string },
    ])
    await caller.settled([one, two])
    expect(await refusal(caller, 'POST', '/domain/delete', { domainIdList: [one], isRecycle: 0 })).toMatch(/^9409/)
    expect(await refusal(caller, 'POST', `/domain/${one}/to-model`)).toMatch(/^9409/)
    const { caller: strict } = await start({ wrongState: 'envelope' })
    expect(await refusal(strict, 'POST', '/domain/start', { idList: ['gone'] })).toMatch(/^9404/)
  })
})

describe('behaviour that is a choice', () => {
  it('shows a VM busy for as long as the clock says, or never', async () => {
    const clock = new SteppedClock()
    const { caller } = await start({ busyMs: 1000 }, { clock })
    const [template] = await caller.get<Json[]>('/model/all')
    const pool = { name: 'p', amount: 1, type: 1, modelId: template?.['id'] }
    const created = await caller.post<Json>('/desk-pool', pool)
    clock.advance(1000)
    expect(await caller.outcome(created['eventId'] as string)).toBe('ok')
    const ids = idsOf(await caller.list('/domain'))
    const { eventIdList } = await caller.post<{ eventIdList: string[] }>('/domain/start', { idList: ids })
    expect((await caller.vm(ids[0] as string))['status']).toBe(5)
    const event = await caller.get<Json>(`/event/${eventIdList[0]}`)
    expect([event['isSuccess'], event['domainId']]).toEqual([undefined, ids[0]])
    clock.advance(999)
    expect((await caller.vm(ids[0] as string))['status']).toBe(5)
    clock.advance(1)
    expect(await caller.settled(ids)).toEqual([1])

    const { caller: quick } = await start({ transitions: 'instant' })
    const { vms } = await quick.pool('q', 1)
    await quick.post('/domain/start', { idList: idsOf(vms) })
    expect((await quick.vm(vms[0]?.['id'] as string))['status']).toBe(1)
  })

  it('writes times in four forms and missing values in two', async () => {
    const created = async (behaviour: Partial<PlatformBehaviour>) => {
      const { caller } = await start(behaviour)
      return (await caller.get<Json[]>('/model/all'))[0] as Json
    }
    expect((await created({}))['createTime']).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
    expect((await created({ timestamps: 'iso' }))['createTime']).toMatch(/^\d{4}-\d\d-\d\dT/)
    expect((await created({ timestamps: 'number' }))['createTime']).toBeGreaterThan(1e12)
    const { time, year } = (await created({ timestamps: 'object' }))['createTime'] as { time: number; year: number }
    expect(new Date(time).getFullYear()).toBe(year + 1900)
    expect(await created({})).not.toHaveProperty('userId')
    expect(await created({ emptyFields: 'null' })).toHaveProperty('userId', null)
  })

  it('names VMs, tells success and begins pools as told', async () => {
    const behaviour = { vmNames: 'padded', libvirtNames: 'own', eventSuccess: 1, poolsEnabled: 0 } as const
    const { caller, world } = await start(behaviour)
    const [template] = await caller.get<Json[]>('/model/all')
    const body = { name: 'p', amount: 1, type: 1, modelId: template?.['id'] }
    const { eventId } = await caller.post<Json>('/desk-pool', body)
    await expect(caller.outcome(eventId as string)).resolves.not.toBe('ok')
    expect(await caller.get<Json>(`/event/${eventId}`)).toMatchObject({ isSuccess: 1 })
    expect(await caller.list('/desk-pool')).toMatchObject([{ enabled: 0 }])
    expect((await caller.list('/domain')).map((row) => row['name'])).toEqual(['p-001'])
    expect(world.list()[0]?.name).toMatch(/^ocl-[0-9a-f]{8}$/)
  })

  it('shows events at the end only', async () => {
    const clock = new SteppedClock()
    const { caller } = await start({ busyMs: 10, eventLife: 'when-finished' }, { clock })
    const [template] = await caller.get<Json[]>('/model/all')
    const created = await caller.post<Json>('/desk-pool', { name: 'p', amount: 1, type: 1, modelId: template?.['id'] })
    expect(await refusal(caller, 'GET', `/event/${created['eventId']}`)).toMatch(/^9404/)
    clock.advance(10)
    await expect.poll(() => refusal(caller, 'GET', `/event/${created['eventId']}`)).toMatch(/^0/)
  })

  it('ends tokens: sliding, absolute, one session only, with HTTP 401', async () => {
    const clock = new SteppedClock()
    const sliding = await start({ tokenLifeMs: 100 }, { clock })
    for (let round = 0; round < 3; round += 1) {
      clock.advance(99)
      expect(await refusal(sliding.caller, 'GET', '/host')).toMatch(/^0/)
    }
    clock.advance(100)
    expect(await refusal(sliding.caller, 'GET', '/host')).toMatch(/^1006/)
    const absolute = await start({ tokenLifeMs: 100, tokenExpiry: 'absolute', tokenErrorStatus: 401 }, { clock })
    clock.advance(60)
    expect(await refusal(absolute.caller, 'GET', '/host')).toMatch(/^0/)
    clock.advance(60)
    expect((await absolute.caller.raw('GET', '/ocloud/v1/host')).status).toBe(401)
    const single = await start({ sessions: 'single' })
    await Caller.open(single.platform)
    expect(await refusal(single.caller, 'GET', '/host')).toMatch(/^1006/)
  })
})

describe('faults', () => {
  const path = '/ocloud/v1/host'

  it('of calls: nth and times, latency, refusal, page, half an answer, lost connection, HTTP 500', async () => {
    const { platform, caller } = await start()
    const { faults } = platform
    faults.add({ kind: 'refuse', operation: 'host.list', nth: 2, times: 2, code: 4711, reason: '忙' })
    const answers = [1, 2, 3, 4].map(() => refusal(caller, 'GET', '/host'))
    expect((await Promise.all(answers)).map((text) => text.split(' ')[0])).toEqual(['0', '4711', '4711', '0'])
    faults.clear()
    faults.add({ kind: 'html' })
    expect((await caller.raw('GET', path)).headers.get('content-type')).toContain('text/html')
    faults.add({ kind: 'http-500' })
    expect((await caller.raw('GET', path)).status).toBe(500)
    faults.add({ kind: 'drop' })
    await expect(caller.raw('GET', path)).rejects.toThrow('fetch failed')
    faults.add({ kind: 'truncated' })
    await expect(caller.raw('GET', path).then((answer) => answer.text())).rejects.toThrow('terminated')
    faults.add({ kind: 'latency', ms: 60 })
    const before = performance.now()
    await caller.raw('GET', path)
    expect(performance.now() - before).toBeGreaterThan(55)
    faults.add({ kind: 'expire-token' })
    expect(await refusal(caller, 'GET', '/host')).toMatch(/^1006/)
    await caller.login()
    platform.expireTokens()
    expect(await refusal(caller, 'GET', '/host')).toMatch(/^1006/)
    expect(platform.logins).toBe(2)
  })

  it('of single VMs: refused, failed, stuck until the fault is gone', async () => {
    const { platform, caller } = await start()
    const ids = idsOf((await caller.pool('p', 3)).vms)
    platform.faults.add({ kind: 'refuse-vm', domains: [ids[1] as string], reason: 'no licence' })
    const { errorList } = await caller.post<{ errorList: Json[] }>('/domain/start', { idList: ids })
    expect(errorList).toMatchObject([{ domainId: ids[1], errorMsg: 'no licence' }])
    expect(await caller.settled(ids)).toEqual([1, 0, 1])
    const fault = platform.faults.add({ kind: 'stuck', operation: 'domain.suspend', times: 0 })
    await caller.post('/domain/suspend', { idList: [ids[0]] })
    expect((await caller.vm(ids[0] as string))['status']).toBe(5)
    platform.faults.remove(fault)
    expect(await caller.settled(ids)).toEqual([2, 0, 1])
  })

  it('are set over HTTP, with their own token', async () => {
    const { platform, caller } = await start()
    const send = (method: string, tail: string, token: string, body?: unknown) =>
      fetch(`${platform.url}/stand-in/${tail}`, {
        method,
        headers: { 'Fault-Token': token, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
    const token = platform.faultToken.reveal()
    expect((await send('POST', 'faults', caller.token, { kind: 'drop' })).status).toBe(403)
    expect((await send('POST', 'faults', token, { kind: 'earthquake' })).status).toBe(400)
    const { id } = (await (await send('POST', 'faults', token, { kind: 'http-500' })).json()) as { id: string }
    expect(await (await send('GET', 'faults', token)).json()).toMatchObject([{ id, kind: 'http-500', seen: 0 }])
    expect((await caller.raw('GET', path)).status).toBe(500)
    expect((await send('DELETE', `faults/${id}`, token)).status).toBe(200)
    expect((await send('DELETE', `faults/${id}`, token)).status).toBe(404)
    await send('POST', 'expire-tokens', token)
    expect(await refusal(caller, 'GET', '/host')).toMatch(/^1006/)
    await send('DELETE', 'faults', token)
    expect(platform.faults.list()).toEqual([])
  })
})

describe('a platform', () => {
  it('closes with calls, work and connections under way, and leaves no VM', async () => {
    const { platform, caller, world } = await start({ busyMs: 60_000 })
    const [template] = await caller.get<Json[]>('/model/all')
    await caller.post('/desk-pool', { name: 'p', amount: 5, type: 1, modelId: template?.['id'] })
    platform.faults.add({ kind: 'latency', ms: 60_000 })
    const waiting = caller.raw('GET', path()).catch((error: Error) => error.message)
    const idle = request(`${platform.url}/ocloud/v1/host`, { method: 'POST' })
    idle.on('error', () => {})
    idle.flushHeaders()
    await platform.close()
    expect(await waiting).toBe('fetch failed')
    expect(world.list()).toEqual([])
    await expect(fetch(platform.url)).rejects.toThrow('fetch failed')
  })

  it('pages through a thousand VMs', { timeout: 30_000 }, async () => {
    const { caller } = await start()
    await caller.pool('big', 1000)
    const begun = performance.now()
    const names = new Set<unknown>()
    for (let pageNum = 1; pageNum <= 10; pageNum += 1)
      for (const row of await caller.list(`/domain?pageNum=${pageNum}&pageSize=100`)) names.add(row['name'])
    expect(names.size).toBe(1000)
    expect(performance.now() - begun).toBeLessThan(5000)
  })

  it('answers fifty calls at once', async () => {
    const { caller } = await start()
    const { vms } = await caller.pool('p', 25)
    const answers = await Promise.all([...vms, ...vms].map((vm) => caller.vm(vm['id'] as string)))
    expect(answers.map((row) => row['id'])).toEqual([...idsOf(vms), ...idsOf(vms)])
  })
})

const path = () => '/ocloud/v1/host'
