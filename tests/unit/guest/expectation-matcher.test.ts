import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ExpectationMatcher, type SeenInput } from '../../../guest/core/index.ts'
import type { ExpectedInput } from '../../../guest/protocol/index.ts'

const key = (code: number, value: number, guestNs = 0n): SeenInput => ({ kind: 'key', code, value, guestNs })
const asSeen = ([kind, code, value]: ExpectedInput): SeenInput => ({ kind, code, value, guestNs: 0n })
const indices = (matcher: ExpectationMatcher) =>
  matcher
    .take()
    .flatMap(({ seen, unexpected }) => [...seen.map(([index]) => index), ...(unexpected ? [`?${unexpected}`] : [])])

/** Strokes of letters: a press and a release each. */
const strokes = fc.array(fc.integer({ min: 16, max: 50 }), { minLength: 1, maxLength: 40 }).map((codes) =>
  codes.flatMap((code): ExpectedInput[] => [
    ['key', code, 1],
    ['key', code, 0],
  ]),
)
const clean = (expected: number) => ({ expected, seen: expected, lost: 0, unexpected: 0, reordered: 0 })

describe('keys and positions', () => {
  it('that all come in order are all seen, however the entries were added', () => {
    fc.assert(
      fc.property(strokes, fc.array(fc.nat(80), { maxLength: 5 }), (entries, cuts) => {
        const matcher = new ExpectationMatcher()
        const ends = [...cuts.map((cut) => Math.min(cut, entries.length)), entries.length].toSorted((a, b) => a - b)
        let start = 0
        for (const [number, end] of ends.entries()) {
          const part = entries.slice(start, end)
          start = end
          // Half of them overtake their announcement.
          const early = number % 2 === 0 ? part.length : 0
          for (const entry of part.slice(0, early)) matcher.see(asSeen(entry))
          matcher.add(part, number === ends.length - 1)
          for (const entry of part.slice(early)) matcher.see(asSeen(entry))
        }
        expect(indices(matcher)).toEqual(entries.map((_, index) => index))
        expect(matcher.finish()).toEqual(clean(entries.length))
      }),
    )
  })

  it('seen = expected − lost holds, and what was left out is lost, for any damage', () => {
    fc.assert(
      fc.property(
        strokes,
        fc.array(fc.tuple(fc.nat(80), fc.constantFrom('drop', 'twice', 'swap'))),
        (entries, damages) => {
          const seen = [...entries]
          let dropped = 0
          let doubled = 0
          for (const [at, what] of damages) {
            const place = at % Math.max(seen.length, 1)
            const one = seen[place]
            if (one === undefined) continue
            if (what === 'drop') dropped += seen.splice(place, 1).length
            else if (what === 'swap') seen.splice(place, 2, ...seen.slice(place, place + 2).toReversed())
            else {
              seen.splice(place, 0, one)
              doubled++
            }
          }
          const matcher = new ExpectationMatcher()
          matcher.add(entries, true)
          for (const entry of seen) matcher.see(asSeen(entry))
          const account = matcher.finish()
          expect(account.seen).toBe(account.expected - account.lost)
          expect(account.unexpected - account.lost).toBe(doubled - dropped)
          expect(account.seen + account.unexpected).toBe(seen.length)
          if (damages.length === 0) expect(account).toEqual(clean(entries.length))
        },
      ),
    )
  })

  it('swapped ones keep their indices and are reordered', () => {
    const matcher = new ExpectationMatcher()
    matcher.add(
      [
        ['key', 30, 1],
        ['key', 30, 0],
        ['key', 48, 1],
        ['key', 48, 0],
      ],
      true,
    )
    for (const input of [key(48, 1), key(30, 1), key(30, 0), key(48, 0)]) matcher.see(input)
    expect(indices(matcher)).toEqual([2, 0, 1, 3])
    expect(matcher.finish()).toEqual({ ...clean(4), reordered: 1 })
  })

  it('unexpected ones are counted where they came, without saying which', () => {
    const matcher = new ExpectationMatcher()
    matcher.add(
      [
        ['key', 30, 1],
        ['key', 30, 0],
      ],
      false,
    )
    matcher.see(key(30, 1, 7n))
    matcher.see(key(99, 1))
    expect(matcher.take()).toEqual([{ seen: [[0, '7']], unexpected: 0 }])
    matcher.see(key(30, 0, 9n))
    expect(matcher.take()).toEqual([
      { seen: [], unexpected: 1 },
      { seen: [[1, '9']], unexpected: 0 },
    ])
    matcher.see(key(99, 0))
    matcher.add([], true)
    expect(matcher.take()).toEqual([{ seen: [], unexpected: 1 }])
    expect(matcher.finish()).toEqual({ ...clean(2), unexpected: 2 })
  })

  it('autorepeat is nobody’s input', () => {
    const matcher = new ExpectationMatcher()
    matcher.add(
      [
        ['key', 30, 1],
        ['key', 30, 0],
      ],
      true,
    )
    for (const value of [1, 2, 2, 2, 0]) matcher.see(key(30, value))
    expect(matcher.finish()).toEqual(clean(2))
  })

  it('optional ones may come or not', () => {
    for (const came of [true, false]) {
      const matcher = new ExpectationMatcher()
      matcher.add(
        [
          ['abs', 0, 100, 'optional'],
          ['abs', 0, 101],
        ],
        true,
      )
      if (came) matcher.see({ kind: 'abs', code: 0, value: 100, guestNs: 0n })
      matcher.see({ kind: 'abs', code: 0, value: 101, guestNs: 0n })
      expect(indices(matcher)).toEqual(came ? [0, 1] : [1])
      expect(matcher.finish()).toEqual(clean(1))
    }
  })
})

describe('relative motion', () => {
  const moved = (value: number, code = 0): SeenInput => ({ kind: 'rel', code, value, guestNs: 0n })
  const distances = fc.array(
    fc.integer({ min: -50, max: 50 }).filter((value) => value !== 0),
    { minLength: 1, maxLength: 12 },
  )

  it('is whole however it is split and joined', () => {
    fc.assert(
      fc.property(distances, fc.nat(), (values, seed) => {
        const matcher = new ExpectationMatcher()
        matcher.add(
          values.map((value) => ['rel', 0, value] as const),
          true,
        )
        // Whole ones, halves, or all in one.
        if (seed % 3 === 0) for (const value of values) matcher.see(moved(value))
        else if (seed % 3 === 1)
          for (const value of values)
            for (const part of [Math.trunc(value / 2), value - Math.trunc(value / 2)]) matcher.see(moved(part))
        else matcher.see(moved(values.reduce((sum, value) => sum + value, 0)))
        expect(matcher.finish()).toEqual(clean(values.length))
      }),
    )
  })

  it('that overtakes its announcement is seen once it is announced, but not motion that has not begun', () => {
    const matcher = new ExpectationMatcher()
    matcher.see(moved(3))
    matcher.add([['rel', 0, 3]], false)
    expect(indices(matcher)).toEqual([0])
    matcher.add(
      [
        ['rel', 0, -2],
        ['rel', 0, 2],
      ],
      false,
    )
    expect(indices(matcher)).toEqual([])
    matcher.see(moved(-2))
    matcher.see(moved(2))
    expect(indices(matcher)).toEqual([1, 2])
  })

  it('that falls short is lost, that goes too far or elsewhere is unexpected too', () => {
    const account = (value: number, code = 0) => {
      const matcher = new ExpectationMatcher()
      matcher.add([['rel', 0, 10]], true)
      matcher.see(moved(value, code))
      return matcher.finish()
    }
    expect(account(4)).toEqual({ expected: 1, seen: 0, lost: 1, unexpected: 0, reordered: 0 })
    expect(account(14)).toEqual({ expected: 1, seen: 0, lost: 1, unexpected: 1, reordered: 0 })
    expect(account(10, 1)).toEqual({ expected: 1, seen: 0, lost: 1, unexpected: 1, reordered: 0 })
  })
})

it('twenty thousand strokes are matched', () => {
  const entries = Array.from({ length: 40_000 }, (_, index): ExpectedInput => [
    'key',
    16 + ((index >> 1) % 35),
    1 - (index % 2),
  ])
  const matcher = new ExpectationMatcher()
  matcher.add(entries, true)
  for (const entry of entries) matcher.see(asSeen(entry))
  expect(matcher.finish()).toEqual(clean(entries.length))
})
