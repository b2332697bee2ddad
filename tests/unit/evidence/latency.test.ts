import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DeliveryRecord, describeLatency, latencyByPath, metricKey } from '../../../framework/evidence/index.ts'

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
      'p50 2.00 · p95 3.00 · max 3.00 ms ± 0.40 ms (3 samples)',
    )
    expect(describeLatency(latencyByPath([delivery([1], { latenciesMs: undefined }), delivery([12])])[0]!)).toBe(
      'p50 1.00–12.0 · p95 1.00–12.0 · max 12.0 ms ± 0.40 ms (2 samples)',
    )
  })
})
