import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FineClock } from '../../../guest/agent/clock.ts'
import { detectVmId } from '../../../guest/agent/vm-id.ts'

describe('the fine clock', () => {
  /** A machine whose clocks advance by so much with each look at either. */
  function machine(offsetNs: bigint, steps: readonly number[]) {
    let nowNs = 1_000_000n
    let count = 0
    const pass = () => (nowNs += BigInt(steps[count++ % steps.length] as number))
    return {
      offsetNs,
      now: () => nowNs,
      monotonic: () => pass(),
      milliseconds() {
        return Number((pass() + this.offsetNs) / 1_000_000n)
      },
    }
  }
  const steps = fc.array(fc.integer({ min: 100, max: 400_000 }), { minLength: 1, maxLength: 20 })
  const offset = fc.bigInt({ min: 0n, max: 2n * 10n ** 18n })

  it('is right to within what it says, whatever the readings cost', () => {
    fc.assert(
      fc.property(offset, steps, fc.integer({ min: 1, max: 20 }), (offsetNs, steps, times) => {
        const real = machine(offsetNs, steps)
        const clock = new FineClock(
          () => real.monotonic(),
          () => real.milliseconds(),
        )
        for (let time = 0; time < times; time++) {
          const { guest_ns, error_ns } = clock.read()
          const wrong = BigInt(guest_ns) - (real.now() + offsetNs)
          expect(wrong < 0n ? -wrong : wrong).toBeLessThanOrEqual(BigInt(error_ns))
        }
      }),
    )
  })

  it('notices a clock that is set', () => {
    fc.assert(
      fc.property(offset, steps, fc.bigInt({ min: 3_000_000n, max: 10n ** 15n }), (offsetNs, steps, byNs) => {
        const real = machine(offsetNs, steps)
        const clock = new FineClock(
          () => real.monotonic(),
          () => real.milliseconds(),
        )
        clock.read()
        real.offsetNs += byNs
        const { guest_ns, error_ns } = clock.read()
        const wrong = BigInt(guest_ns) - (real.now() + real.offsetNs)
        expect(wrong < 0n ? -wrong : wrong).toBeLessThanOrEqual(BigInt(error_ns))
      }),
    )
  })

  it('agrees with the clock of this machine', () => {
    const clock = new FineClock()
    clock.read()
    const beforeNs = process.hrtime.bigint()
    const { guest_ns, error_ns } = clock.read()
    const afterNs = process.hrtime.bigint()
    const program = `import time
before = time.monotonic_ns(); real = time.clock_gettime_ns(time.CLOCK_REALTIME); after = time.monotonic_ns()
print(real - after, real - before)`
    const bounds = execFileSync('python3', ['-c', program], { encoding: 'utf8' }).trim().split(' ')
    const [leastNs, mostNs] = bounds.map(BigInt) as [bigint, bigint]
    expect(BigInt(guest_ns)).toBeGreaterThanOrEqual(beforeNs + leastNs - BigInt(error_ns))
    expect(BigInt(guest_ns)).toBeLessThanOrEqual(afterNs + mostNs + BigInt(error_ns))
    expect(BigInt(error_ns)).toBeLessThan(1_000_000n)
  })
})

describe('which VM this is', () => {
  const among = (files: Record<string, string>) => {
    const root = mkdtempSync(join(tmpdir(), 'atp-id-'))
    try {
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), text)
      }
      return detectVmId('linux', root, 'host-7')
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  }
  const serial = 'sys/class/dmi/id/product_serial'
  const uuid = 'sys/class/dmi/id/product_uuid'

  it('is the first thing that says it', () => {
    const all = { [serial]: 'S-1\n', [uuid]: 'B2C3\n', 'etc/machine-id': 'abc\n' }
    expect(among(all)).toEqual({ id: 'S-1', from: 'DMI product_serial' })
    expect(among({ ...all, [serial]: '' })).toEqual({ id: 'B2C3', from: 'DMI product_uuid' })
    expect(among({ 'etc/machine-id': 'abc\n' })).toEqual({ id: 'abc', from: 'machine-id' })
    expect(among({})).toEqual({ id: 'host-7', from: 'host name' })
  })

  it('is not what boards say that were never told', () => {
    for (const text of [
      'Not Specified',
      'Default string',
      'To be filled by O.E.M.',
      '00000000-0000-0000-0000-000000000000',
      'None',
    ]) {
      expect(among({ [serial]: text, [uuid]: 'B2C3' }).id).toBe('B2C3')
    }
  })
})
