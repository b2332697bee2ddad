import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rangeTime, timestampMs, zoneMs } from '../../../framework/vdi/times.ts'
import { type Got, ok } from './support/canned-server.ts'
import { clientAndServer, errorOf, vm } from './support/setup.ts'

const VMS = 'GET /ocloud/v1/domain'

/** A platform with this many VMs that gives at most `most` a page, and repeats its last page for ever. */
const paged =
  (rows: number, most = 1000) =>
  ({ query }: Got) => {
    const pageSize = Math.min(Number(query.get('pageSize')), most)
    const pages = Math.max(1, Math.ceil(rows / pageSize))
    const pageNum = Math.min(Number(query.get('pageNum')), pages)
    const list = Array.from({ length: rows }, (_, i) => vm(String(i), 0)).slice(
      (pageNum - 1) * pageSize,
      pageNum * pageSize,
    )
    return ok({ list, total: rows, pageNum, pageSize, pages })
  }

describe('lists', () => {
  it.each([
    [0, 1000, 1],
    [1, 1000, 1],
    [100, 1000, 1],
    [101, 1000, 2],
    [250, 1000, 3],
    [250, 60, 5],
  ])(
    '%i rows of a platform that gives %i a page are read to the end in %i questions',
    async (rows, most, questions) => {
      const { client, server } = await clientAndServer()
      server.on(VMS, paged(rows, most))
      const ids = (await client.domains.listAll()).map(({ id }) => id)
      expect(ids).toEqual(Array.from({ length: rows }, (_, i) => String(i)))
      expect(server.to(VMS)).toHaveLength(questions)
      expect(server.to(VMS).map(({ query }) => query.get('pageNum'))).toEqual(ids.length ? expect.any(Array) : ['1'])
    },
  )

  it('pages are read as they are needed', async () => {
    const { client, server } = await clientAndServer({ assumptions: { pageRows: 10 } })
    server.on(VMS, paged(1000))
    let met = 0
    for await (const { id } of client.domains.list())
      if (++met === 15) expect(id).toBe('14')
      else if (met > 15) break
    expect(server.to(VMS)).toHaveLength(2)
    expect(server.to(VMS)[1]?.query.get('pageSize')).toBe('10')
  })

  it('a page that never fills ends the list, a failing one fails it', async () => {
    const { client, server } = await clientAndServer()
    server.on(VMS, () => ok({ list: [], total: 5 }))
    expect(await client.domains.listAll()).toEqual([])
    server.on(VMS, (got) => (got.query.get('pageNum') === '2' ? { status: 9001, msg: 'no' } : paged(250)(got)))
    expect((await errorOf(client.domains.listAll())).code).toBe('ATP_VDI_REFUSED')
  })

  it('filters with several values are comma lists', async () => {
    const { client, server } = await clientAndServer()
    server.on(VMS, paged(0))
    await client.domains.listAll({
      status: [0, 5],
      osType: ['win10-64', '其他'],
      connected: true,
      bound: false,
      hostId: 'h',
    })
    expect(Object.fromEntries(server.to(VMS)[0]?.query ?? [])).toEqual({
      hostId: 'h',
      status: '0,5',
      osType: 'win10-64,其他',
      isConnected: '1',
      isBindUser: '0',
      pageNum: '1',
      pageSize: '100',
    })
  })

  it.each([
    ['repeat', ['0', '1']],
    ['comma', ['0,1']],
    ['pipe', ['0|1']],
  ] as const)('true lists are written in the form "%s"', async (arrayQuery, written) => {
    const { client, server } = await clientAndServer({ assumptions: { arrayQuery } })
    server.on('GET /ocloud/v1/desk-pool', () => ok({ list: [], total: 0 }))
    await client.deskPools.listAll({ typeList: [0, 1] })
    expect(server.to('GET /ocloud/v1/desk-pool')[0]?.query.getAll('typeList')).toEqual(written)
  })
})

describe('times', () => {
  const zone = fc.constantFrom('Z', '+08:00', '-03:30')

  it('are read in all forms', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
        zone,
        (date, offset) => {
          const ms = Math.floor(date.getTime() / 1000) * 1000
          const blank = rangeTime(new Date(ms), offset, 'blank')
          expect(timestampMs(blank, offset)).toBe(ms)
          expect(timestampMs(blank.replace(' ', 'T'), offset)).toBe(ms)
          expect(timestampMs(rangeTime(new Date(ms), offset, 'iso'), offset)).toBe(ms)
          expect(timestampMs(ms, offset)).toBe(ms)
          expect(timestampMs({ time: ms }, offset)).toBe(ms)
        },
      ),
    )
  })

  it.each([
    ['2026-01-31 08:00:00', 1_769_817_600_000],
    ['2026-01-31T08:00:00.500', 1_769_817_600_500],
    ['2026-01-31T00:00:00.000+0000', 1_769_817_600_000],
    ['2026-01-31T00:00:00Z', 1_769_817_600_000],
    [' 2026-01-31 08:00 ', 1_769_817_600_000],
  ])('%s', (written, ms) => {
    expect(timestampMs(written, '+08:00')).toBe(ms)
  })

  it('nothing stays nothing; other texts are errors', async () => {
    expect([timestampMs(null, 'Z'), timestampMs(undefined, 'Z')]).toEqual([undefined, undefined])
    for (const written of ['', 'yesterday', '2026-13-31 08:00:00', '31.01.2026'])
      expect(await errorOf((async () => timestampMs(written, 'Z'))())).toMatchObject({ code: 'ATP_VDI_ANSWER' })
    expect(zoneMs('-03:30')).toBe(-12_600_000)
  })

  it('the client reads them in its zone, and asks for ranges in it', async () => {
    const { client, server } = await clientAndServer({ assumptions: { timestampZone: '+01:00' } })
    expect(client.timestampMs('2026-01-31 01:00:00')).toBe(1_769_817_600_000)
    const path = 'GET /ocloud/v1/panel/host/h/performance'
    server.on(path, () => ok([{ id: 1, free: 2 }]))
    const from = new Date(1_769_817_600_000)
    expect(await client.hosts.performance('h', from, new Date(from.getTime() + 60_000))).toEqual([{ id: 1, free: 2 }])
    expect(Object.fromEntries(server.to(path)[0]?.query ?? [])).toEqual({
      beginTime: '2026-01-31 01:00:00',
      endTime: '2026-01-31 01:01:00',
    })
  })
})
