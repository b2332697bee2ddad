import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CallStatistics, LatencyHistogram, observeAll, type HostObserver } from '../../../framework/hosts/index.ts'

describe('LatencyHistogram', () => {
  it('is empty at first', () => {
    const histogram = new LatencyHistogram()
    expect([histogram.count, histogram.meanMs, histogram.maxMs, histogram.percentileMs(99)]).toEqual([0, 0, 0, 0])
  })

  it('gives percentiles within 2.5 %, and exact mean and maximum', () => {
    const durations = fc.array(fc.double({ min: 0.001, max: 1_000_000, noNaN: true }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(durations, fc.integer({ min: 1, max: 100 }), (list, percent) => {
        const histogram = new LatencyHistogram()
        for (const durationMs of list) histogram.record(durationMs)
        const exact = list.toSorted((a, b) => a - b)[Math.ceil((percent / 100) * list.length) - 1] as number
        expect(Math.abs(histogram.percentileMs(percent) / exact - 1)).toBeLessThan(0.0251)
        expect(histogram.meanMs).toBeCloseTo(list.reduce((sum, one) => sum + one, 0) / list.length, 3)
        expect(histogram.maxMs).toBe(Math.max(...list))
      }),
    )
  })

  it('keeps durations beyond its range', () => {
    const histogram = new LatencyHistogram()
    for (const durationMs of [0, 1e-9, 1e12]) histogram.record(durationMs)
    expect(histogram.count).toBe(3)
    expect(histogram.percentileMs(1)).toBeLessThan(0.0011)
    expect(histogram.percentileMs(100)).toBeGreaterThan(9_000_000)
  })

  it('merges', () => {
    const [one, two, both] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()]
    for (let ms = 1; ms <= 1000; ms++) {
      ;(ms % 3 === 0 ? one : two).record(ms)
      both.record(ms)
    }
    one.merge(two)
    expect([one.count, one.meanMs, one.maxMs, one.percentileMs(50), one.percentileMs(99)]).toEqual([
      both.count,
      both.meanMs,
      both.maxMs,
      both.percentileMs(50),
      both.percentileMs(99),
    ])
  })
})

describe('CallStatistics', () => {
  const call = (operation: string, outcome: 'ok' | 'error' | 'timeout' | 'interrupted' | 'closed', durationMs = 1) => ({
    operation,
    outcome,
    durationMs,
    queuedMs: 0,
  })

  it('counts by operation and together; a cancelled call is no error', () => {
    const statistics = new CallStatistics()
    for (const outcome of ['ok', 'ok', 'error', 'timeout', 'interrupted', 'closed'] as const)
      statistics.record(call('monitor-command', outcome))
    statistics.record(call('agent-command', 'ok', 100))
    statistics.record(call('agent-command', 'ok', 200))
    const summary = statistics.summary()
    expect(summary).toMatchObject({ calls: 8, errors: 3, errorRate: 3 / 8, meanMs: 306 / 8 })
    expect(summary.operations['monitor-command']).toMatchObject({ calls: 6, errors: 3, errorRate: 0.5, meanMs: 1 })
    expect(summary.operations['agent-command']).toMatchObject({ calls: 2, errors: 0, errorRate: 0, meanMs: 150 })
    expect(summary.operations['agent-command']?.p99Ms).toBeCloseTo(200, -1)
  })

  it('says 0 of nothing', () => {
    expect(new CallStatistics().summary()).toEqual({
      calls: 0,
      errors: 0,
      errorRate: 0,
      meanMs: 0,
      p99Ms: 0,
      operations: {},
    })
  })

  it('merges the calls of several hosts', () => {
    const [one, two] = [new CallStatistics(), new CallStatistics()]
    one.record(call('a', 'ok', 10))
    two.record(call('a', 'error', 30))
    two.record(call('b', 'ok', 2))
    one.merge(two)
    expect(one.summary()).toMatchObject({ calls: 3, errors: 1, operations: { a: { calls: 2, meanMs: 20 }, b: {} } })
  })
})

it('observeAll tells each observer everything', () => {
  const told: unknown[][] = []
  const one = (name: string): HostObserver => ({
    linkOpened: (...args) => told.push([name, 'opened', ...args]),
    linkClosed: (...args) => told.push([name, 'closed', ...args]),
    stateChanged: (...args) => told.push([name, 'state', ...args]),
    callSettled: (...args) => told.push([name, 'call', ...args]),
    poolCounted: (...args) => told.push([name, 'counted', ...args]),
    poolTimed: (...args) => told.push([name, 'timed', ...args]),
  })
  const all = observeAll([one('a'), one('b')])
  const link = { host: 'h', role: 'calls' } as const
  const lost = new Error('lost')
  all.linkOpened(link, { durationMs: 1, reconnect: false })
  all.stateChanged({ host: 'h', from: 'connecting', to: 'connected' })
  all.callSettled(link, { operation: 'x', outcome: 'ok', durationMs: 1, queuedMs: 0 })
  all.poolCounted('h', 'idle', -1)
  all.poolTimed('h', 'acquire', 5)
  all.linkClosed(link, lost)
  expect(told.map(([name, what]) => `${String(name)} ${String(what)}`)).toEqual(
    ['opened', 'state', 'call', 'counted', 'timed', 'closed'].flatMap((what) => [`a ${what}`, `b ${what}`]),
  )
  expect(told.slice(-6).filter(([name]) => name === 'b')).toEqual([
    ['b', 'counted', 'h', 'idle', -1],
    ['b', 'timed', 'h', 'acquire', 5],
    ['b', 'closed', link, lost],
  ])
})
