import { describe, expect, it } from 'vitest'
import { riseOf } from '../../support/calibration/rise.ts'

/** Numbers between 0 and 1 from a seed. */
function dice(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

describe('the estimator of calibration runs', () => {
  it('states a bound that holds in at least 95 % of the runs, whatever the noise', () => {
    const random = dice(20_261_120)
    // Mostly a little, sometimes very late, as a busy machine is; the clock's error changes sides.
    const noise = () => 2 + random() + (random() < 0.2 ? 30 * random() : 0)
    let inside = 0
    for (let run = 0; run < 400; run++) {
      const clockMs = random() < 0.5 ? 0.2 : -0.2
      const press = (heldMs: number) => ({ latencyMs: noise() + heldMs + clockMs, boundMs: 0.25, heldMs })
      const rise = riseOf(
        Array.from({ length: 25 }, () => press(0.1)),
        Array.from({ length: 25 }, () => press(5.1)),
      )
      expect(rise.knownMs).toBeCloseTo(5)
      if (Math.abs(rise.errorMs) <= rise.boundMs) inside++
    }
    expect(inside).toBeGreaterThanOrEqual(380)
  })

  it('finds a latency that does not rise as it should', () => {
    const press = (latencyMs: number, heldMs: number) => ({ latencyMs, boundMs: 0.2, heldMs })
    const before = Array.from({ length: 25 }, (_, index) => press(2 + index / 100, 0))
    const after = Array.from({ length: 25 }, (_, index) => press(6 + index / 100, 5))
    const { riseMs, errorMs, boundMs } = riseOf(before, after)
    expect(riseMs).toBeCloseTo(4)
    expect(Math.abs(errorMs)).toBeGreaterThan(boundMs)
  })

  it('needs enough pairs for its confidence', () => {
    const one = { latencyMs: 1, boundMs: 0.1, heldMs: 0 }
    expect(() => riseOf([one, one], [one, one])).toThrow('too few')
  })
})
