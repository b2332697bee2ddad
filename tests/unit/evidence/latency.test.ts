import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type DeliveryRecord,
  describeCounts,
  describeLatency,
  judgeLatency,
  latencyByPath,
  metricKey,
  withoutLatency,
} from '../../../framework/evidence/index.ts'

function delivery(values: number[], more: Partial<DeliveryRecord> = {}): DeliveryRecord {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = (fraction: number) => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] as number
  return {
    action: 'keyboard.type',
    input: 'x',
    path: { via: 'qmp', device: 'ps2' },
    verify: 'observe',
    outcome: 'delivered',
    sent: 1,
    seen: 1,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    stuck: [],
    differences: [],
    durationMs: 1,
    latency: {
      level: 'kernel',
      samples: values.length,
      minMs: rank(0),
      p50Ms: rank(0.5),
      p95Ms: rank(0.95),
      p99Ms: rank(0.99),
      maxMs: rank(1),
      boundMs: 0.4,
    },
    latenciesMs: values,
    ...more,
  }
}
const values = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 60 })

describe('latencyByPath', () => {
  it('never mixes quantities, levels or paths', () => {
    const base = delivery([1])
    const groups = latencyByPath([
      base,
      delivery([2], { path: { via: 'qmp', device: 'virtio' } }),
      delivery([3], { latency: { ...base.latency!, level: 'pixel' } }),
      delivery([4], { action: 'mouse.click' }),
      delivery([5], { latency: undefined }),
    ])
    expect(groups.map((group) => metricKey(group, 'p95'))).toEqual([
      'key-to-guest.kernel.qmp-ps2.p95',
      'key-to-guest.kernel.qmp-virtio.p95',
      'key-to-guest.pixel.qmp-ps2.p95',
      'pointer-to-guest.kernel.qmp-ps2.p95',
    ])
  })

  it('is exact from single values and keeps within its limits without them', () => {
    fc.assert(
      fc.property(fc.array(values, { minLength: 1, maxLength: 6 }), (parts) => {
        const [exact] = latencyByPath(parts.map((part) => delivery(part)))
        const [limits] = latencyByPath(parts.map((part) => delivery(part, { latenciesMs: undefined })))
        const all = parts.flat().sort((a, b) => a - b)
        for (const [key, fraction] of [
          ['p50', 0.5],
          ['p95', 0.95],
          ['p99', 0.99],
        ] as const) {
          const truth = all[Math.ceil(fraction * all.length) - 1] as number
          expect(exact![key]).toEqual({ lowMs: truth, highMs: truth })
          expect(limits![key].lowMs).toBeLessThanOrEqual(truth)
          expect(limits![key].highMs).toBeGreaterThanOrEqual(truth)
        }
      }),
    )
  })

  it('reads as value ± bound', () => {
    expect(describeLatency(latencyByPath([delivery([1, 2, 3])])[0]!)).toBe(
      'p50 2.00 · p95 3.00 · p99 3.00 · max 3.00 ms ± 0.40 ms (3 samples)',
    )
    expect(describeLatency(latencyByPath([delivery([1], { latenciesMs: undefined }), delivery([12])])[0]!)).toBe(
      'p50 1.00–12.0 · p95 1.00–12.0 · p99 1.00–12.0 · max 12.0 ms ± 0.40 ms (2 samples)',
    )
  })

  it('states a bound in which the true percentiles lie, wherever each value lies in its own', () => {
    const action = fc.record({
      parts: fc.array(
        fc.record({ value: fc.integer({ min: 1, max: 90 }), at: fc.double({ min: -1, max: 1, noNaN: true }) }),
        {
          minLength: 1,
          maxLength: 20,
        },
      ),
      boundMs: fc.double({ min: 0.1, max: 5, noNaN: true }),
    })
    fc.assert(
      fc.property(fc.array(action, { minLength: 1, maxLength: 5 }), (actions) => {
        const deliveries = actions.map(({ parts, boundMs }) => {
          const one = delivery(parts.map(({ value }) => value))
          return { ...one, latency: { ...one.latency!, boundMs } }
        })
        const truth = actions
          .flatMap(({ parts, boundMs }) => parts.map(({ value, at }) => value + at * boundMs))
          .sort((left, right) => left - right)
        const [found] = latencyByPath(deliveries)
        for (const [key, share] of [
          ['p50', 0.5],
          ['p95', 0.95],
          ['p99', 0.99],
        ] as const) {
          const error = Math.abs((truth[Math.ceil(share * truth.length) - 1] as number) - found![key].lowMs)
          expect(error).toBeLessThanOrEqual(found!.boundMs + 1e-9)
        }
      }),
    )
  })

  it('counts what was left out, also where nothing else is left', () => {
    const warm = delivery([1], { warmupMs: [9], excluded: { 'the clock was set': 2 } })
    expect(describeCounts(latencyByPath([warm, delivery([2, 3], { excluded: { 'the clock was set': 1 } })])[0]!)).toBe(
      '3 samples, 1 warm-up, 3 left out: the clock was set',
    )
    const nothing = delivery([1], {
      latency: undefined,
      latenciesMs: [],
      observed: { by: 'evdev', level: 'kernel' },
      excluded: { 'the clock was set': 5 },
    })
    expect(latencyByPath([nothing])).toEqual([])
    expect(withoutLatency([nothing]).map(describeCounts)).toEqual(['0 samples, 5 left out: the clock was set'])
    expect(withoutLatency([nothing, warm])).toEqual([])
  })
})

describe('judgeLatency', () => {
  const many = Array.from({ length: 40 }, (_, index) => index / 10)
  const judge = (limits: Parameters<typeof judgeLatency>[2], ...more: DeliveryRecord[]) =>
    judgeLatency('the keyboard', [delivery(many), ...more], limits)
  const thrown = (work: () => unknown) => {
    try {
      work()
    } catch (error) {
      return error
    }
    throw new Error('nothing was thrown')
  }

  it('passes within the limit, and fails beyond it, with value and bound', () => {
    expect(judge({ p50: '<3ms', p95: 5, max: '4.4ms' })).toEqual({
      pass: true,
      text: 'p50 is 1.90 ± 0.40 ms, p95 is 3.70 ± 0.40 ms, max is 3.90 ± 0.40 ms',
    })
    expect(judge({ p50: '<= 1ms', p95: '3ms' })).toEqual({
      pass: false,
      text: 'p50 is 1.90 ± 0.40 ms, over the limit of 1 ms\np95 is 3.70 ± 0.40 ms, over the limit of 3 ms',
    })
  })

  it('does not know with a limit inside value ± bound, or with too few samples', () => {
    expect(thrown(() => judge({ p95: '4ms' }))).toMatchObject({
      code: 'ATP_EXPECT_INCONCLUSIVE',
      message: expect.stringContaining('p95 is 3.70 ± 0.40 ms, and the limit of 4 ms lies inside'),
    })
    expect(thrown(() => judge({ p95: '1s', minSamples: 41 }))).toMatchObject({
      code: 'ATP_EXPECT_INCONCLUSIVE',
      verdict: 'spec',
      message: expect.stringContaining('40 samples; this assertion needs 41'),
    })
    const unseen = delivery([1], { latency: undefined, latenciesMs: [], outcome: 'unverified', reason: 'no observer' })
    expect(thrown(() => judgeLatency('keyboard.type', [unseen], { p95: 1 }))).toMatchObject({
      code: 'ATP_EXPECT_INCONCLUSIVE',
      message: expect.stringContaining('keyboard.type: no observer'),
    })
  })

  it('is inconclusive when what was left out may have been slow', () => {
    const left = (count: number) => delivery([1], { excluded: { 'the guest stood still': count } })
    expect(judge({ p95: 9 }, left(2))).toMatchObject({ pass: true })
    expect(judge({ p50: 9 }, left(41))).toMatchObject({ pass: true })
    for (const [limits, count] of [
      [{ max: 9 }, 1],
      [{ p99: 9 }, 1],
      [{ p95: 9 }, 3],
      [{ p50: 9 }, 42],
    ] as const) {
      expect(thrown(() => judge(limits, left(count)))).toMatchObject({
        code: 'ATP_EXPECT_INCONCLUSIVE',
        verdict: 'infrastructure',
        message: expect.stringContaining(`${count} left out: the guest stood still`),
      })
    }
    expect(judge({ max: 1 }, left(1))).toMatchObject({ pass: false })
  })

  it('takes no limits that could not fail', () => {
    for (const limits of [
      { p95: 9, minSamples: NaN },
      { p95: 9, minSamples: 0 },
      { p95: 9, p90: 1 },
    ]) {
      expect(thrown(() => judge(limits))).toMatchObject({ code: 'ATP_EXPECT_LIMIT' })
    }
  })

  it('takes as many actions as a long run has', () => {
    const one = delivery([1])
    const [all] = latencyByPath(Array.from({ length: 200_000 }, () => one))
    expect(all).toMatchObject({ samples: 200_000, maxMs: 1 })
  })

  it('mixes no paths, and takes no limits that are none', () => {
    const other = delivery([1], { path: { via: 'spice', device: 'ps2' } })
    expect(thrown(() => judge({ p95: 9 }, other))).toMatchObject({
      code: 'ATP_EXPECT_MIXED',
      verdict: 'spec',
      message: expect.stringContaining('key-to-guest, kernel, qmp/ps2 (40); key-to-guest, kernel, spice/ps2 (1)'),
    })
    expect(thrown(() => judge({}))).toMatchObject({ code: 'ATP_EXPECT_LIMIT' })
    expect(thrown(() => judge({ p95: 'soon' }))).toMatchObject({ code: 'ATP_EXPECT_LIMIT' })
  })
})
