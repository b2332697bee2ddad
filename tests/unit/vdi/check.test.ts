import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { check } from '../../../framework/vdi/check.ts'
import { VDI_OPERATIONS } from '../../../framework/vdi/index.ts'
import {
  body,
  bool,
  decimal,
  int,
  type JsonSchema,
  listOf,
  long,
  oneOf,
  record,
  text,
  wireTime,
} from '../../../framework/vdi/schema.ts'
import { ok, page } from './support/canned-server.ts'
import { clientAndServer, errorOf, vm } from './support/setup.ts'

const VMS = 'GET /ocloud/v1/domain'

describe('schemas', () => {
  const row = record({ id: text, status: int }, { size: long, when: wireTime, tags: listOf(text) })
  const request = body({ name: text }, { kind: oneOf(0, 1) })

  it.each([
    [{ id: 'a', status: 1 }, undefined],
    [{ id: 'a', status: 1, size: null, when: null, tags: null }, undefined],
    [{ id: 'a', status: 1, when: '2026-01-31 08:00:00' }, undefined],
    [{ id: 'a', status: 1, when: 1_769_817_600_000 }, undefined],
    [{ id: 'a', status: 1, when: { time: 1_769_817_600_000, year: 126, month: 0 } }, undefined],
    [
      { id: 'a', status: 1, when: { year: 126 } },
      { path: 'when.time', expected: 'a value', found: 'nothing' },
    ],
    [{ id: 'a' }, { path: 'status', expected: 'a value', found: 'nothing' }],
    [
      { id: 'a', status: null },
      { path: 'status', expected: 'integer', found: 'null' },
    ],
    [
      { id: 'a', status: '1' },
      { path: 'status', expected: 'integer', found: 'a text, "1"' },
    ],
    [
      { id: 'a', status: 1.5 },
      { path: 'status', expected: 'integer', found: 'a number, 1.5' },
    ],
    [
      { id: 'a', status: 1, tags: ['x', {}] },
      { path: 'tags[1]', expected: 'string', found: 'an object' },
    ],
    [
      { id: 'a', status: 1, size: 2 ** 60 },
      { path: 'size', expected: 'a value <= 9007199254740991' },
    ],
    [
      { id: 'a', status: 1, statsu: 1 },
      { path: 'statsu', expected: 'no such field; is "status" meant?' },
    ],
    [7, { path: 'the whole', expected: 'object', found: 'a number, 7' }],
  ])('%j: %j', (value, wrong) => {
    const found = check(row.json, value, 'strict')
    if (wrong) expect(found).toMatchObject(wrong)
    else expect(found).toBeUndefined()
  })

  it('an unknown field is found in any row, whatever rows came before', () => {
    const rows = record({ rows: listOf(row) })
    const plain = { id: 'a', status: 1, size: 2 }
    const fits = (...list: object[]) => check(rows.json, { rows: list }, 'strict')
    expect(fits(plain, plain, { status: 1, id: 'b' }, { ...plain, tags: [] }, plain, {})).toMatchObject({
      path: 'rows[5].id',
    })
    for (const before of [[], [plain], [plain, plain], [{ status: 1, id: 'b' }]]) {
      for (const unknown of [
        { ...plain, domain_id: 1 },
        { domain_id: 1, ...plain },
        { id: 'a', domain_id: 1, status: 1 },
      ])
        expect(fits(...before, unknown)).toMatchObject({ path: `rows[${before.length}].domain_id` })
    }
    const inherited = JSON.parse('{"id":"a","status":1,"__proto__":{"x":1}}')
    expect(fits(plain, inherited)).toMatchObject({ path: 'rows[1].__proto__' })
  })

  it('optional fields of requests may be missing, not null', () => {
    expect(check(request.json, { name: 'a', kind: undefined }, 'strict')).toBeUndefined()
    expect(check(request.json, { name: 'a', kind: null }, 'strict')).toMatchObject({ path: 'kind' })
    expect(check(request.json, { name: 'a', kind: 2 }, 'strict')).toMatchObject({ expected: 'one of 0, 1' })
  })

  it('tolerant checks keep unknown fields and read scalars in another spelling, nothing else', () => {
    const value = { id: 7, status: '5', size: '12', extra: { x: 1 } }
    expect(check(row.json, value, 'tolerant')).toBeUndefined()
    expect(value).toEqual({ id: '7', status: 5, size: 12, extra: { x: 1 } })
    for (const status of ['on', '', ' ', '0x1', null, {}, []])
      expect(check(row.json, { id: 'a', status }, 'tolerant')).toBeDefined()
    expect(check(row.json, { id: 'a' }, 'tolerant')).toMatchObject({ path: 'status' })
  })

  it('null is no spelling of anything: a status that is not known is not 0, and no id is not an empty one', () => {
    const rows = record({ rows: listOf(row) })
    const value = {
      rows: [
        { id: 'a', status: 1 },
        { id: 'b', status: null },
      ],
    }
    expect(check(rows.json, value, 'tolerant')).toMatchObject({ path: 'rows[1].status', found: 'null' })
    expect(check(row.json, { id: null, status: 1 }, 'tolerant')).toMatchObject({ path: 'id', found: 'null' })
    expect(check(listOf(text).json, [null], 'tolerant')).toMatchObject({ found: 'null' })
  })

  it.each<[string, unknown, unknown]>([
    ['a number as text', { 'a/b~c': 5 }, { 'a/b~c': '5' }],
    ['a text as number', { count: ' 7 ', share: '0.5' }, { count: 7, share: 0.5 }],
    ['a truth value as text or number', { open: 'false', count: true }, { open: false, count: 1 }],
    ['a number as truth value', { open: 1 }, { open: true }],
  ])('tolerant checks read %s', (_, value, read) => {
    const schema = record({}, { 'a/b~c': text, count: int, share: decimal, open: bool })
    expect(check(schema.json, value, 'tolerant')).toBeUndefined()
    expect(value).toEqual(read)
  })

  it.each(['token', 'password', 'key', 'data.secretKey'])('the value of %s is not told', (path) => {
    const name = path.split('.').at(-1) as string
    const inner = record({ [name]: int })
    const schema = path.includes('.') ? record({ data: inner }) : inner
    const value = path.includes('.') ? { data: { [name]: 'hush-hush' } } : { [name]: 'hush-hush' }
    expect(check(schema.json, value, 'strict')).toEqual({ path, expected: 'integer', found: 'a text' })
  })
})

/** Values that a schema accepts, from its own words. */
function valuesOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const [type = 'null', ...others] = [schema.type ?? 'null'].flat()
  if (others.length > 0) return fc.oneof(...[type, ...others].map((one) => valuesOf({ ...schema, type: one })))
  if (schema.enum) return fc.constantFrom(...schema.enum)
  switch (type) {
    case 'object': {
      const fields = Object.entries(schema.properties ?? {})
      const required = (schema.required ?? []) as never[]
      return fc.record(Object.fromEntries(fields.map(([name, one]) => [name, valuesOf(one)])), {
        requiredKeys: required,
      })
    }
    case 'array':
      return fc.array(valuesOf(schema.items as JsonSchema), { minLength: schema.minItems ?? 0, maxLength: 2 })
    case 'string':
      return fc.string({ unit: 'grapheme' })
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return fc.maxSafeInteger()
    default:
      return fc.constant(null)
  }
}

describe('operations', () => {
  it.each(VDI_OPERATIONS.map((operation) => [operation.name, operation] as const))('%s', (_, operation) => {
    expect(operation.path).toMatch(/^\/ocloud\//)
    expect(operation.idempotent || operation.method !== 'GET').toBe(true)
    for (const schema of [operation.query, operation.body, operation.answer]) {
      if (!schema) continue
      fc.assert(
        fc.property(valuesOf(schema.json), (value) => {
          const once = JSON.parse(JSON.stringify(value)) as object
          expect(check(schema.json, once, 'strict')).toBeUndefined()
          // What fits exactly also fits tolerantly, unchanged.
          const copy = structuredClone(once)
          expect(check(schema.json, copy, 'tolerant')).toBeUndefined()
          expect(copy).toEqual(once)
          if (schema.json.type === 'object')
            expect(check(schema.json, { ...once, domain_id: 'x' }, 'strict')).toMatchObject({ path: 'domain_id' })
        }),
        { numRuns: 15 },
      )
    }
  })

  it('have names of their own, and each address once', () => {
    const names = VDI_OPERATIONS.map(({ name }) => name)
    const addresses = VDI_OPERATIONS.map(({ method, path }) => `${method} ${path}`)
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(addresses).size).toBe(addresses.length)
  })
})

describe('answers', () => {
  it('strict: an unknown field is an error that names the place', async () => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    server.on(VMS, () => page([vm('a', 1), vm('b', 1, { keepalive: 1 })]))
    const error = await errorOf(client.domains.listAll())
    expect(error).toMatchObject({
      code: 'ATP_VDI_ANSWER',
      context: { operation: 'domains.list', path: 'data.list[1].keepalive', found: 'a number, 1' },
    })
    expect(error.message).toContain('data.list[1].keepalive: expected no such field; is "keepAlive" meant?')
  })

  it('strict: so is one in the frame, and a number as text', async () => {
    const { client, server } = await clientAndServer({ validation: 'strict' })
    server.on(VMS, () => ({ ...page([]), took: 7 }))
    expect(await errorOf(client.domains.listAll())).toMatchObject({ context: { path: 'took' } })
    server.on(VMS, () => page([vm('a', 1, { cpu: '2' })]))
    expect(await errorOf(client.domains.listAll())).toMatchObject({
      context: { path: 'data.list[0].cpu', expected: 'integer or null', found: 'a text, "2"' },
    })
  })

  it('tolerant: both are fine, and the number is one; a wrong type is an error', async () => {
    const { client, server } = await clientAndServer()
    server.on(VMS, () => ({ ...page([vm('a', 1, { cpu: '2', keepalive: 1, mouseMode: 1 })]), took: 7 }))
    const [found] = await client.domains.listAll()
    expect(found).toMatchObject({ id: 'a', cpu: 2, keepalive: 1, mouseMode: '1' })
    server.on(VMS, () => page([vm('a', 1, { cpu: ['2'] })]))
    expect(await errorOf(client.domains.listAll())).toMatchObject({ context: { path: 'data.list[0].cpu' } })
  })
})

describe('requests', () => {
  it.each([
    [
      'an unknown field',
      (c: Client) => c.deskPools.create({ name: 'p', type: 1, amount: 2, template_id: 'm' } as never),
    ],
    ['a missing field', (c: Client) => c.deskPools.update('p', { name: 'p' } as never)],
    ['a wrong type', (c: Client) => c.domains.setCpuMemory(['a'], { cpu: '2' as never })],
    ['no VM', (c: Client) => c.domains.start([])],
    ['an unknown filter', (c: Client) => c.domains.listAll({ deskpoolId: 'p' } as never)],
    ['no id', (c: Client) => c.deskPools.delete('')],
    ['a dot segment as id', (c: Client) => c.domains.disks.delete('a', '..')],
    ['a wait for no VM', (c: Client) => c.domains.waitForStatus([], 'running')],
  ])('%s is refused before anything is sent', async (_, call) => {
    const { client, server } = await clientAndServer({ validation: 'tolerant' })
    server.on('GET /ocloud/v1/desk-pool', () => page([]))
    expect(await errorOf(call(client))).toMatchObject({ code: 'ATP_VDI_REQUEST', branch: 'config' })
    expect(server.got.filter(({ method, path }) => method !== 'GET' && !path.endsWith('/login'))).toEqual([])
  })

  it('ids and texts of any kind arrive as they are', async () => {
    const { client, server } = await clientAndServer()
    server.on(`GET /ocloud/v1/domain/${encodeURIComponent('a/b?c#d 中')}`, () => ok(vm('x', 1))).on(VMS, () => page([]))
    expect(await client.domains.get('a/b?c#d 中')).toMatchObject({ id: 'x' })
    await client.domains.listAll({ keyword: '中文 & ?=' })
    expect(server.to(VMS)[0]?.query.get('keyword')).toBe('中文 & ?=')
  })
})
type Client = Awaited<ReturnType<typeof clientAndServer>>['client']
