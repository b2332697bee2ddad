import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InputEvent, InputObserver, ObservedEvent, SentEvent } from '../../../framework/input/api.ts'
import { KEYS, keyNamed } from '../../../framework/keys/index.ts'
import { expectationOf } from '../../../framework/input/expectation.ts'
import { reconcile } from '../../../framework/verify/reconcile.ts'

/** A guest clock that runs exactly one hour ahead, known to ± 0.1 ms. */
const HOUR_NS = 3_600_000_000_000n
const observer: InputObserver = {
  level: 'kernel',
  subscribe: () => () => {},
  toHostTime: (guestNs) => ({ hostNs: guestNs - HOUR_NS, boundNs: 100_000n }),
}
const held: ReadonlySet<number> = new Set()

const sendAll = (events: readonly InputEvent[]): SentEvent[] =>
  events.flatMap((event, index) => {
    const expected = expectationOf(event)
    return expected ? [{ ...expected, atNs: BigInt(index) * 1_000_000n }] : []
  })

/** What a flawless guest reports, 2 ms after each injection, back on the host after another 1 ms. */
function seeAll(sent: readonly SentEvent[]): ObservedEvent[] {
  return sent.map(({ type, code, value, atNs }) => ({
    type,
    code,
    value,
    guestNs: atNs + HOUR_NS + 2_000_000n,
    arrivedNs: atNs + 3_000_000n,
  }))
}
const stroke = (qcode: string): InputEvent[] => [
  { type: 'key', qcode, down: true },
  { type: 'key', qcode, down: false },
]
// One qcode for each evdev code, so that neighbours differ.
const qcodes = [...new Map(KEYS.map((key) => [key.evdev.code, key.qcode])).values()]

describe('an undamaged delivery', () => {
  it('accounts for every event, with latency, bound and loop', () => {
    const sent = sendAll([...stroke('a'), ...stroke('b')])
    const account = reconcile({ sent, observed: seeAll(sent), observer, held })
    expect(account).toMatchObject({
      sent: 4,
      seen: 4,
      lost: 0,
      duplicated: 0,
      reordered: 0,
      stuck: [],
      differences: [],
    })
    expect(account.latenciesMs).toEqual([2, 2])
    expect(account.latency).toEqual({
      level: 'kernel',
      samples: 2,
      minMs: 2,
      p50Ms: 2,
      p95Ms: 2,
      p99Ms: 2,
      maxMs: 2,
      boundMs: 0.1,
      loop: { p50Ms: 3, p95Ms: 3, maxMs: 3 },
    })
  })

  it('does not take autorepeat for duplicates', () => {
    const sent = sendAll(stroke('a'))
    const [down, up] = seeAll(sent) as [ObservedEvent, ObservedEvent]
    const account = reconcile({
      sent,
      observed: [down, { ...down, value: 2 }, { ...down, value: 2 }, up],
      observer,
      held,
    })
    expect(account).toMatchObject({ sent: 2, seen: 2, duplicated: 0 })
  })

  it('leaves out and counts samples that the clock bound rules out', () => {
    const sent = sendAll(stroke('a'))
    const early = seeAll(sent).map((event) => ({ ...event, guestNs: event.guestNs - 10_000_000n }))
    expect(reconcile({ sent, observed: early, observer, held })).toMatchObject({
      seen: 2,
      latenciesMs: [],
      excluded: { 'the guest clock moved: seen before it was sent, or after the report of it arrived': 1 },
    })
    const both = sendAll([...stroke('a'), ...stroke('b')])
    // Two hours late by the guest's clock, although the report of it is here already.
    const observed = seeAll(both).map((event, index) => (index < 2 ? { ...event, guestNs: 3n * HOUR_NS } : event))
    expect(reconcile({ sent: both, observed, observer, held })).toMatchObject({
      latency: { samples: 1 },
      excluded: { 'the guest clock moved: seen before it was sent, or after the report of it arrived': 1 },
    })
  })

  it('tells apart what the observer saw first of all, and what it must not believe', () => {
    const sent = sendAll([...stroke('a'), ...stroke('b'), ...stroke('c')])
    const observed = seeAll(sent)
    observed[0] = { ...(observed[0] as ObservedEvent), first: true }
    const doubtful: InputObserver = {
      ...observer,
      clock: 'echo',
      toHostTime: (guestNs, within) => ({
        ...observer.toHostTime(guestNs),
        // The second stroke's times.
        ...(within && within.fromNs === 2_000_000n ? { invalid: 'the guest clock was set meanwhile' } : {}),
      }),
    }
    expect(reconcile({ sent, observed, observer: doubtful, held })).toMatchObject({
      latency: { samples: 1, clock: 'echo' },
      latenciesMs: [2],
      warmupMs: [2],
      excluded: { 'the guest clock was set meanwhile': 1 },
    })
  })
})

describe('damage', () => {
  const strokes = fc.array(fc.constantFrom(...qcodes), { minLength: 150, maxLength: 300 })
  /** Positions more than 40 events apart, so that two damages cannot be mistaken for a third kind. */
  const places = (length: number, seeds: readonly number[]) =>
    seeds.map((seed, index) => index * 64 + 4 + (seed % 24)).filter((place) => place < length - 2)

  it('is found exactly: what was lost, duplicated and swapped at random', () => {
    const seeds = fc.array(fc.tuple(fc.nat(), fc.constantFrom('lose', 'double', 'swap')), { maxLength: 14 })
    fc.assert(
      fc.property(strokes, seeds, (keys, damage) => {
        const sent = sendAll(keys.flatMap(stroke))
        const observed = seeAll(sent)
        const expected = { lost: 0, duplicated: 0, reordered: 0 }
        const at = places(
          observed.length,
          damage.map(([seed]) => seed),
        )
        // From the end, so that earlier positions stay valid.
        at.toReversed().forEach((place, index) => {
          const [event, next] = observed.slice(place, place + 2) as [ObservedEvent, ObservedEvent]
          switch (damage[at.length - 1 - index]?.[1]) {
            case 'lose':
              observed.splice(place, 1)
              expected.lost++
              break
            case 'double':
              observed.splice(place, 0, event)
              expected.duplicated++
              break
            default:
              observed.splice(place, 2, next, event)
              if (next.code !== event.code || next.value !== event.value) expected.reordered++
          }
        })
        const account = reconcile({ sent, observed, observer, held })
        expect(account).toMatchObject({ ...expected, sent: sent.length, seen: observed.length })
        const damaged = expected.lost + expected.duplicated + expected.reordered
        expect(account.differences.length).toBe(Math.min(damaged, 11))
      }),
    )
  })

  it('says which key went missing', () => {
    const sent = sendAll([...stroke('a'), ...stroke('b')])
    const account = reconcile({ sent, observed: seeAll(sent).slice(0, 2), observer, held })
    expect(account).toMatchObject({ lost: 2, seen: 2 })
    expect(account.differences[0]).toBe('sent KEY_B press, saw nothing (event 3 of 4)')
  })

  it('names foreign keys and keys that stay down, but not those held on purpose', () => {
    const sent = sendAll(stroke('a'))
    const foreign: ObservedEvent = {
      type: 'key',
      code: keyNamed('shift').evdev.code,
      value: 1,
      guestNs: HOUR_NS,
      arrivedNs: 0n,
    }
    const account = reconcile({ sent, observed: [foreign, ...seeAll(sent)], observer, held })
    expect(account).toMatchObject({ duplicated: 1, stuck: ['KEY_LEFTSHIFT'] })
    expect(account.differences).toEqual(['saw KEY_LEFTSHIFT press, which was not sent'])
    expect(reconcile({ sent, observed: [foreign, ...seeAll(sent)], observer, held: new Set([42]) }).stuck).toEqual([])
  })

  it('has no latency where either of two equal keys may be the one that was seen', () => {
    const sent = sendAll([...stroke('x'), ...stroke('a'), ...stroke('a'), ...stroke('b')])
    const whole = seeAll(sent)
    const lostFirst = [...whole.slice(0, 2), ...whole.slice(4)]
    const lostSecond = [...whole.slice(0, 4), ...whole.slice(6)]
    const twice = [...whole.slice(0, 2), ...whole.slice(2, 4), ...whole.slice(2)]
    for (const observed of [lostFirst, lostSecond, twice]) {
      const { latenciesMs, excluded } = reconcile({ sent, observed, observer, held })
      expect(new Set(latenciesMs)).toEqual(new Set([2]))
      expect(Object.keys(excluded)).toEqual([expect.stringContaining('not known')])
    }
  })

  it('counts by key when nearly everything is gone', () => {
    const sent = sendAll(
      Array.from({ length: 10_000 }, (_, index) => stroke(qcodes[(index * 7) % 50] as string)).flat(),
    )
    const observed = seeAll(sent).filter((_, index) => index % 100 < 2)
    const account = reconcile({ sent, observed, observer, held })
    expect(account).toMatchObject({ sent: 20_000, seen: 400, lost: 19_600, duplicated: 0, reordered: 0 })
    expect(account.differences).toHaveLength(11)
    expect(account.differences[0]).toContain('sent 20000 events, saw 400')
  })
})

describe('any damage', () => {
  const few = fc.constantFrom(...qcodes.slice(0, 3))
  const kind = fc.constantFrom('lose', 'double', 'swap', 'foreign', 'move', 'letGo')
  const anyDamage = fc.array(fc.tuple(fc.nat(), kind, fc.nat({ max: 40 })), { maxLength: 12 })
  const symbol = ({ type, code, value }: { type: string; code: number; value: number }) => `${type} ${code} ${value}`
  const F24 = { type: 'key', code: 194, value: 1, guestNs: HOUR_NS, arrivedNs: 0n } as const

  function damageOf(events: readonly ObservedEvent[], damage: readonly [number, string, number][]): ObservedEvent[] {
    const observed = [...events]
    for (const [seed, how, far] of damage) {
      if (observed.length === 0) break
      const place = seed % observed.length
      const event = observed[place] as ObservedEvent
      if (how === 'lose') observed.splice(place, 1)
      if (how === 'double') observed.splice(place, 0, event)
      if (how === 'swap') observed.splice(place, 2, ...observed.slice(place, place + 2).toReversed())
      if (how === 'foreign') observed.splice(place, 0, F24)
      if (how === 'move') observed.splice(Math.min(place + far, observed.length - 1), 0, ...observed.splice(place, 1))
      if (how === 'letGo') observed.splice(place, 0, { ...event, value: 0 })
    }
    return observed
  }
  const balanceOf = (sent: readonly SentEvent[], observed: readonly ObservedEvent[]) => {
    const balance = new Map<string, number>()
    for (const event of sent) balance.set(symbol(event), (balance.get(symbol(event)) ?? 0) + 1)
    for (const event of observed) balance.set(symbol(event), (balance.get(symbol(event)) ?? 0) - 1)
    const counts = [...balance.values()]
    const sum = (sign: 1 | -1) => counts.reduce((total, count) => total + Math.max(0, sign * count), 0)
    return { missing: sum(1), surplus: sum(-1) }
  }

  it('however dense, is never green, never hides a loss, and never calls whole what is not', () => {
    fc.assert(
      fc.property(fc.array(few, { maxLength: 40 }), anyDamage, (keys, damage) => {
        const sent = sendAll(keys.flatMap(stroke))
        const observed = damageOf(seeAll(sent), damage)
        const account = reconcile({ sent, observed, observer, held })
        const whole = sent.map(symbol).join() === observed.map(symbol).join()
        const { lost, duplicated, reordered, stuck, differences } = account
        expect(lost + duplicated + reordered === 0).toBe(whole)
        expect(differences.length > 0).toBe(!whole)
        expect(account.sent).toBe(sent.length)
        expect(account.seen).toBe(observed.length)
        // What is gone or surplus altogether; beyond that, what stands far from its place is told as both.
        const { missing, surplus } = balanceOf(sent, observed)
        expect(lost).toBeGreaterThanOrEqual(missing)
        expect(duplicated).toBeGreaterThanOrEqual(surplus)
        expect(lost - missing).toBe(duplicated - surplus)
        // Never more than there are places where something was done to it.
        expect(lost + duplicated + reordered).toBeLessThanOrEqual(2 * damage.length)
        const last = new Map(observed.map(({ code, value }) => [code, value]))
        expect(stuck).toHaveLength([...last.values()].filter((value) => value !== 0).length)
      }),
    )
  })

  it('of one kind alone is counted exactly, wherever it is', () => {
    const strokes = fc.array(few, { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(strokes, fc.array(fc.nat()), (keys, places) => {
        const sent = sendAll(keys.flatMap(stroke))
        const whole = seeAll(sent)
        const chosen = new Set(places.map((place) => place % whole.length))
        const without = whole.filter((_, index) => !chosen.has(index))
        expect(reconcile({ sent, observed: without, observer, held })).toMatchObject({
          lost: chosen.size,
          duplicated: 0,
          reordered: 0,
        })
        const twice = whole.flatMap((event, index) => (chosen.has(index) ? [event, event] : [event]))
        expect(reconcile({ sent, observed: twice, observer, held })).toMatchObject({
          lost: 0,
          duplicated: chosen.size,
          reordered: 0,
        })
      }),
    )
  })

  it('is red too when it is too much to be told apart and nothing is missing', () => {
    const sent = sendAll(Array.from({ length: 3000 }, (_, index) => stroke(qcodes[index % 50] as string)).flat())
    const account = reconcile({ sent, observed: seeAll(sent).toReversed(), observer, held })
    expect(account).toMatchObject({ seen: 6000, lost: 0, duplicated: 0 })
    expect(account.reordered).toBeGreaterThan(1000)
    expect(account.differences[1]).toMatch(/^at least \d+ events came in another order$/)
  })
})

describe('the mouse', () => {
  it('is red for motion that nobody sent', () => {
    const motion = (code: number, value: number): ObservedEvent => ({
      type: 'rel',
      code,
      value,
      guestNs: HOUR_NS + 1n,
      arrivedNs: 5n,
    })
    const sent = sendAll([{ type: 'rel', axis: 'x', value: 5 }])
    const account = reconcile({ sent, observed: [motion(0, 5), motion(1, 3), motion(1, 4)], observer, held })
    expect(account).toMatchObject({ lost: 0, duplicated: 1, differences: ['saw REL_Y 7, which was not sent'] })
    const notch = sendAll([{ type: 'button', button: 'wheel-up', down: true }])
    // A notch in fractions of one.
    expect(reconcile({ sent: notch, observed: [motion(8, 1), motion(11, 120)], observer, held }).differences).toEqual(
      [],
    )
  })

  it('compares relative motion by its sum, however the guest split it', () => {
    const sent = sendAll([{ type: 'rel', axis: 'x', value: 300 }])
    const piece = (value: number): ObservedEvent => ({
      type: 'rel',
      code: 0,
      value,
      guestNs: HOUR_NS + 1n,
      arrivedNs: 5n,
    })
    const whole = reconcile({ sent, observed: [piece(127), piece(127), piece(46)], observer, held })
    expect(whole).toMatchObject({ sent: 1, seen: 1, lost: 0 })
    expect(whole.latency?.samples).toBe(1)
    const short = reconcile({ sent, observed: [piece(127)], observer, held })
    expect(short).toMatchObject({ sent: 1, seen: 0, lost: 1, differences: ['REL_X 300 sent, 127 seen'] })
  })

  it('counts a wheel notch once and one move of two axes as one latency sample', () => {
    const notch = sendAll([
      { type: 'button', button: 'wheel-up', down: true },
      { type: 'button', button: 'wheel-up', down: false },
    ])
    expect(reconcile({ sent: notch, observed: seeAll(notch), observer, held })).toMatchObject({
      sent: 1,
      seen: 1,
      lost: 0,
    })
    const move: SentEvent[] = [
      { type: 'abs', code: 0, value: 11, atNs: 0n, optional: true },
      { type: 'abs', code: 0, value: 10, atNs: 7n },
      { type: 'abs', code: 1, value: 20, atNs: 7n },
    ]
    const account = reconcile({ sent: move, observed: seeAll(move), observer, held })
    expect(account).toMatchObject({ sent: 2, seen: 2, lost: 0, duplicated: 0 })
    expect(account.latenciesMs).toHaveLength(1)
  })
})
