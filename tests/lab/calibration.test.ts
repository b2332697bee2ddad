import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { calibratedVm, type CalibratedVm } from '../support/calibration/calibrated-vm.ts'

/** More of them, for the share that lies inside: `npm run soak -- tests/soak/calibration.test.ts`. */
const RUNS = 3

describe.each(['qmp', 'spice'] as const)('a delay of 5 ms on the wire of %s', (via) => {
  let vm: CalibratedVm
  beforeAll(async () => {
    vm = await calibratedVm(via)
  })
  afterAll(() => vm?.close())

  it('raises the reported latency by as much, within the stated bound', async () => {
    const bounds: number[] = []
    for (let run = 0; run < RUNS; run++) {
      const { riseMs, knownMs, errorMs, boundMs } = await vm.calibrate()
      console.log(`${via}: held ${knownMs.toFixed(3)} ms longer, reported ${riseMs.toFixed(3)} ± ${boundMs.toFixed(3)}`)
      expect(knownMs).toBeGreaterThan(4.9)
      expect(Math.abs(errorMs)).toBeLessThanOrEqual(boundMs)
      bounds.push(boundMs)
    }
    // A bound as wide as the delay would hold of anything.
    expect(Math.min(...bounds)).toBeLessThan(5)
  })
})
