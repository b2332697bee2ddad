import { describe, expect, it } from 'vitest'
import { calibratedVm } from '../support/calibration/calibrated-vm.ts'

const RUNS = 40
const SHARE_INSIDE = 0.95
const TIMEOUT_MS = 30 * 60_000

describe.each(['qmp', 'spice'] as const)('a delay of 5 ms on the wire of %s, many times', (via) => {
  it(
    'raises the reported latency within the stated bound in 95 % of the runs',
    async () => {
      const vm = await calibratedVm(via)
      try {
        let inside = 0
        const bounds: number[] = []
        for (let run = 0; run < RUNS; run++) {
          const { errorMs, boundMs } = await vm.calibrate()
          if (Math.abs(errorMs) <= boundMs) inside++
          bounds.push(boundMs)
        }
        const middle = bounds.toSorted((left, right) => left - right)[RUNS / 2]
        console.log(`${via}: ${inside} of ${RUNS} runs inside, median bound ${middle?.toFixed(3)} ms`)
        expect(inside / RUNS).toBeGreaterThanOrEqual(SHARE_INSIDE)
      } finally {
        await vm.close()
      }
    },
    TIMEOUT_MS,
  )
})
