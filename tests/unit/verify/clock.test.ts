import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/errors.ts'
import { GuestClock, offsetOf, type ClockPing } from '../../../framework/verify/clock.ts'

const nowNs = () => process.hrtime.bigint()

describe('an offset from pings', () => {
  it('holds the true offset, whatever the delays, and is at most half the fastest round trip wide', () => {
    const delays = fc.tuple(fc.integer({ min: 1000, max: 5_000_000 }), fc.integer({ min: 1000, max: 5_000_000 }))
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }),
        fc.integer({ min: -40, max: 40 }),
        fc.array(delays, { minLength: 1, maxLength: 30 }),
        (offset, driftPpm, delayed) => {
          let hostNs = 10n ** 12n
          const startNs = hostNs
          // What the guest's clock shows at a host time, cut to microseconds as its agent does.
          const exactly = (at: bigint) => at + offset + ((at - startNs) * BigInt(driftPpm)) / 1_000_000n
          const shown = (at: bigint) => exactly(at) - (((exactly(at) % 1000n) + 1000n) % 1000n)
          const pings: ClockPing[] = []
          for (const [there, back] of delayed) {
            const sentNs = hostNs
            const readNs = sentNs + BigInt(there)
            hostNs = readNs + BigInt(back)
            pings.push({ sentNs, guestNs: shown(readNs), receivedNs: hostNs })
          }
          const found = offsetOf(pings)
          if (!found) throw new Error('no offset')
          const truth = exactly(hostNs) - hostNs
          expect(found.lowNs <= truth && truth <= found.highNs).toBe(true)
          const fastest = Math.min(...delayed.map(([there, back]) => there + back))
          // Rounding to microseconds and the drift allowance over the series widen it a little.
          expect(Number(found.highNs - found.lowNs)).toBeLessThanOrEqual(
            fastest + 1000 + Number(hostNs - startNs) / 10_000,
          )
        },
      ),
    )
  })

  it('sees that the clock was set between two pings', () => {
    const ping = (sentNs: bigint, guestNs: bigint): ClockPing => ({ sentNs, guestNs, receivedNs: sentNs + 1000n })
    expect(offsetOf([ping(0n, 500n), ping(10_000n, 5_000_000_000n)])).toBeUndefined()
    expect(offsetOf([])).toBeUndefined()
  })
})

describe('a guest clock', () => {
  it('maps guest timestamps to host time within its bound', async () => {
    const offset = 1_700_000_000_123_456_000n
    const clock = new GuestClock(async () => nowNs() + offset)
    await clock.estimate()
    const before = nowNs()
    const { hostNs, boundNs } = clock.toHostTime(before + offset)
    const error = hostNs > before ? hostNs - before : before - hostNs
    expect(error <= boundNs).toBe(true)
    expect(boundNs < 5_000_000n).toBe(true)
  })

  it('forgets what it knew when the guest clock was set', async () => {
    let offset = 5_000_000_000n
    const clock = new GuestClock(async () => nowNs() + offset)
    await clock.estimate()
    offset += 3_600_000_000_000n
    await clock.estimate()
    const moment = nowNs()
    const { hostNs, boundNs } = clock.toHostTime(moment + offset)
    expect(hostNs - moment <= boundNs && moment - hostNs <= boundNs).toBe(true)
  })

  it('asks again only when its knowledge has aged', async () => {
    let asked = 0
    const clock = new GuestClock(async () => {
      asked++
      return nowNs()
    })
    expect(clock.fresh).toBe(false)
    await clock.refresh()
    const once = asked
    await clock.refresh()
    expect(asked).toBe(once)
    expect(clock.fresh).toBe(true)
  })

  it('says so when the guest does not answer or its clock keeps jumping', async () => {
    const silent = new GuestClock(async () => Promise.reject(new Error('agent gone')))
    await expect(silent.estimate()).rejects.toSatisfy(
      (error) =>
        isAtpError(error, 'ATP_CLOCK') && error.verdict === 'infrastructure' && error.message.includes('agent gone'),
    )
    let jump = 0n
    const wild = new GuestClock(async () => (jump += 1_000_000_000_000n))
    await expect(wild.estimate()).rejects.toSatisfy((error) => isAtpError(error, 'ATP_CLOCK_UNSTEADY'))
    expect(() => wild.toHostTime(0n)).toThrow('never compared')
  })
})
