import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_BEHAVIOUR, PLATFORM_OPERATIONS } from '../../../lab/platform/index.ts'
import { parseTime, present } from '../../../lab/platform/present.ts'
import { readQuery } from '../../../lab/platform/request.ts'
import { array, int, misfitOf, object, required, string, timestamp } from '../../../lab/platform/schema.ts'
import { Router } from '../../../lab/platform/router.ts'

const shape = object('Sample', { idList: required(array(string)), amount: int })
const valid = fc.record({ idList: fc.array(fc.string()), amount: fc.integer() }, { requiredKeys: ['idList'] })

describe('shapes', () => {
  it('take every value of theirs, and nothing with a field more', () => {
    fc.assert(
      fc.property(
        valid,
        fc.string().filter((name) => !['idList', 'amount', '__proto__'].includes(name)),
        (value, name) => {
          expect(misfitOf(shape, value)).toBeUndefined()
          expect(misfitOf(shape, { ...value, [name]: 1 })).toMatchObject({ kind: 'unknown', path: name })
        },
      ),
    )
  })

  it('never take what is no object, and never throw', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const isObject = typeof value === 'object' && value !== null && 'idList' in value
        if (!isObject) expect(misfitOf(shape, value)).toBeDefined()
        misfitOf(shape, value)
      }),
    )
  })

  it('name the place of what is wrong', () => {
    expect(misfitOf(shape, { idList: ['a', 1] })).toEqual({ kind: 'type', path: 'idList[1]', expected: 'string' })
    expect(misfitOf(shape, { amount: 1 })).toEqual({ kind: 'missing', path: 'idList', expected: 'array' })
    expect(misfitOf(shape, { idList: [], amount: 1.5 })).toMatchObject({ kind: 'type', path: 'amount' })
  })
})

describe('queries', () => {
  const operation = {
    query: { idList: array(string), pageNum: int },
  } as unknown as (typeof PLATFORM_OPERATIONS)[number]
  const id = fc.stringMatching(/^[0-9a-f-]{1,36}$/)

  it('take lists repeated, with commas and with pipes', () => {
    fc.assert(
      fc.property(fc.array(id, { minLength: 1 }), (ids) => {
        const forms: [string, string][][] = [
          ids.map((one): [string, string] => ['idList', one]),
          [['idList', ids.join(',')]],
          [['idList', ids.join('|')]],
        ]
        for (const form of forms) expect(readQuery(operation, new URLSearchParams(form))).toEqual({ idList: ids })
      }),
    )
  })

  it('refuse numbers that are none', () => {
    for (const text of ['', 'one', '1.5', '1e3', '99999999999'])
      expect(() => readQuery(operation, new URLSearchParams({ pageNum: text }))).toThrow('pageNum')
  })
})

describe('times', () => {
  const at = object('At', { time: timestamp })
  const whole = fc.integer({ min: 0, max: 4_102_444_800 }).map((seconds) => seconds * 1000)

  const zone = fc
    .tuple(fc.constantFrom('+', '-'), fc.integer({ min: 0, max: 14 }), fc.constantFrom('00', '30', '45'))
    .map(([sign, hours, minutes]) => `${sign}${String(hours).padStart(2, '0')}:${minutes}`)

  it('are the same in every wire form, in any zone', () => {
    fc.assert(
      fc.property(whole, zone, (ms, timeZone) => {
        for (const timestamps of ['text', 'iso'] as const) {
          const form = { ...DEFAULT_BEHAVIOUR, timestamps, timeZone }
          const { time } = present(at, { time: ms }, form) as { time: string }
          expect(parseTime(time, timeZone)).toBe(ms)
          expect(parseTime(`${time}${timeZone}`, '+00:00')).toBe(ms)
        }
        expect(present(at, { time: ms }, { ...DEFAULT_BEHAVIOUR, timestamps: 'number' })).toEqual({ time: ms })
        expect(present(at, { time: ms }, { ...DEFAULT_BEHAVIOUR, timestamps: 'object' })).toMatchObject({
          time: { time: ms },
        })
      }),
    )
  })

  it("are those of a clock in the platform's zone", () => {
    const ms = Date.parse('2026-01-31T20:30:05Z')
    const shown = (form: object) => present(at, { time: ms }, { ...DEFAULT_BEHAVIOUR, ...form })
    expect(shown({})).toEqual({ time: '2026-02-01 04:30:05' })
    expect(shown({ timeZone: '-03:30', timestamps: 'iso' })).toEqual({ time: '2026-01-31T17:00:05' })
    expect(shown({ timestamps: 'object' })).toMatchObject({
      time: { time: ms, year: 126, month: 1, date: 1, day: 0, hours: 4, minutes: 30, seconds: 5, timezoneOffset: -480 },
    })
    expect(parseTime('2026-02-01 04:30:05', '+08:00')).toBe(ms)
    expect(parseTime('2026-01-31T20:30:05Z', '+08:00')).toBe(ms)
    for (const text of ['', 'now', '2026-01-31', '2026-13-01 00:00:00'])
      expect(parseTime(text, '+08:00')).toBeUndefined()
  })

  it('in answers have no field the platform does not know', () => {
    expect(() => present(at, { when: 1 }, DEFAULT_BEHAVIOUR)).toThrow('At has no field "when"')
  })
})

describe('the table', () => {
  it('has every name and every path once, and each is found by its router', () => {
    const router = new Router(PLATFORM_OPERATIONS)
    for (const operation of PLATFORM_OPERATIONS) {
      const found = router.find(operation.method, operation.path.replaceAll(/\{\w+\}/g, 'x'))
      expect(found).toMatchObject({ operation: { name: operation.name } })
    }
    expect(new Set(PLATFORM_OPERATIONS.map(({ name }) => name)).size).toBe(PLATFORM_OPERATIONS.length)
    expect(router.find('GET', '/ocloud/v1/domain/')).toBeUndefined()
  })
})
