import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/errors.ts'
import { GuestClock, type ClockSource } from '../../../framework/verify/clock.ts'
import { offsetOf, type ClockPing } from '../../../framework/verify/clock-offset.ts'

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

  it('believes the latest comparison once the clock was set', async () => {
    let offset = 5_000_000_000n
    const clock = new GuestClock(async () => nowNs() + offset)
    await clock.estimate()
    offset += 3_600_000_000_000n
    await clock.estimate()
    const fromNs = nowNs()
    const { hostNs, boundNs } = clock.toHostTime(fromNs + offset)
    expect(hostNs - fromNs <= boundNs && fromNs - hostNs <= boundNs).toBe(true)
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

  it('asks a better source while that answers, and the first one after that', async () => {
    const clock = new GuestClock(async () => nowNs())
    const echo = { ...simulated(() => 0n), closed: false, answers: true }
    const source: ClockSource = {
      ...echo,
      ping: (options) => (echo.answers ? echo.ping(options) : Promise.reject(new Error('gone'))),
      close: () => (echo.closed = true),
    }
    await clock.prefer(source)
    expect(clock.source).toBe('echo')
    echo.answers = false
    await clock.estimate()
    expect(clock).toMatchObject({ source: 'guest-get-time', preferred: false })
    expect(echo.closed).toBe(true)
    expect(clock.wantsBetter).toBe(true)
    await clock.prefer(source)
    // One that is silent from the start is not worth another wait.
    expect(clock).toMatchObject({ preferred: false, wantsBetter: false })
  })

  it('keeps the better source while the guest answers nobody', async () => {
    let stands = false
    const now = async () => (stands ? Promise.reject(new Error('paused')) : nowNs())
    const clock = new GuestClock(now)
    const echo = simulated(() => 0n)
    await clock.prefer({ ...echo, ping: () => (stands ? Promise.reject(new Error('paused')) : echo.ping()) })
    stands = true
    await expect(clock.estimate()).rejects.toSatisfy((error) => isAtpError(error, 'ATP_CLOCK'))
    stands = false
    await clock.estimate()
    expect(clock.source).toBe('echo')
  })
})

/** A guest's clock in simulated time, `setBy(host time)` ahead. Each answer takes up to 2 ms there and back. */
function simulated(
  setBy: (atNs: bigint) => bigint,
  { delays = [200_000, 300_000], counts }: { delays?: readonly number[]; counts?: (atNs: bigint) => bigint } = {},
) {
  let asked = 0
  const delay = () => BigInt(delays[asked++ % delays.length] as number)
  const source = {
    hostNs: 10n ** 12n,
    name: 'echo',
    resolutionNs: 1n,
    ping: async (_options?: object): Promise<ClockPing> => {
      const sentNs = source.hostNs
      const readNs = sentNs + delay()
      source.hostNs = readNs + delay()
      const settings = counts && { settings: counts(readNs) }
      return { sentNs, guestNs: readNs + setBy(readNs), receivedNs: source.hostNs, ...settings }
    },
  }
  return source
}

describe('a guest clock that is set at any moment', () => {
  const delays = fc.array(fc.integer({ min: 20_000, max: 2_000_000 }), { minLength: 1, maxLength: 40 })
  const step = fc.oneof(
    fc.bigInt({ min: -3_000_000n, max: 3_000_000n }),
    fc.bigInt({ min: -3_600_000_000_000n, max: 3_600_000_000_000n }),
  )
  const START_NS = 10n ** 12n
  /** Compares, lets the guest stamp an event, compares again: what is said of the event is true, or nothing is. */
  const isTrue = async (source: ReturnType<typeof simulated>, offset: (atNs: bigint) => bigint, pauseNs: bigint) => {
    const clock = new GuestClock(source)
    try {
      await clock.estimate()
      const fromNs = source.hostNs
      const eventNs = fromNs + pauseNs
      const toNs = eventNs + pauseNs
      source.hostNs = toNs
      await clock.estimate()
      const stamp = eventNs + offset(eventNs)
      const { hostNs, boundNs, invalid } = clock.toHostTime(stamp - (stamp % 1000n), { fromNs, toNs })
      const error = hostNs > eventNs ? hostNs - eventNs : eventNs - hostNs
      return invalid !== undefined || error <= boundNs
    } catch (error) {
      return isAtpError(error, 'ATP_CLOCK_UNSTEADY')
    }
  }

  it('never yields a wrong time, be the step ever so small', async () => {
    await fc.assert(
      fc.asyncProperty(
        delays,
        step,
        fc.bigInt({ min: 0n, max: 60_000_000n }),
        fc.bigInt({ min: 1n, max: 5_000_000n }),
        async (delayed, by, afterNs, pauseNs) => {
          const offset = (atNs: bigint) => 10n ** 18n + (atNs >= START_NS + afterNs ? by : 0n)
          expect(await isTrue(simulated(offset, { delays: delayed }), offset, pauseNs)).toBe(true)
        },
      ),
    )
  })

  it('nor does one that creeps, or is set back before anybody looks where settings are counted', async () => {
    await fc.assert(
      fc.asyncProperty(delays, step, fc.bigInt({ min: 1n, max: 5_000_000n }), async (delayed, by, pauseNs) => {
        const creeping = (atNs: bigint) => 10n ** 18n + ((atNs - START_NS) * (by % 500n)) / 1_000_000n
        expect(await isTrue(simulated(creeping, { delays: delayed }), creeping, pauseNs)).toBe(true)
        const source: ReturnType<typeof simulated> = simulated(
          (atNs) => 10n ** 18n + (atNs > setNs && atNs < backNs ? by : 0n),
          { delays: delayed, counts: (atNs) => (atNs > setNs ? 2n : 0n) },
        )
        let [setNs, backNs] = [0n, 0n]
        const clock = new GuestClock(source)
        setNs = 10n ** 18n
        await clock.estimate()
        const fromNs = source.hostNs
        setNs = fromNs + 1n
        backNs = setNs + pauseNs
        source.hostNs = backNs + 1n
        await clock.estimate()
        expect(clock.toHostTime(fromNs + 10n ** 18n, { fromNs, toNs: backNs }).invalid).toContain('was set')
      }),
    )
  })

  it('says nothing about what was not confirmed', async () => {
    const source = simulated(() => 0n)
    const clock = new GuestClock(source)
    await clock.estimate()
    const fromNs = source.hostNs
    expect(clock.toHostTime(fromNs + 1n, { fromNs, toNs: fromNs + 2n }).invalid).toContain('could not be compared')
  })

  it('is watched while an action lasts', async () => {
    let offset = 10n ** 18n
    const clock = new GuestClock(async () => nowNs() + offset)
    const watch = await clock.watch()
    const fromNs = nowNs()
    const stamp = nowNs() + offset
    await watch.confirm()
    expect(clock.toHostTime(stamp, { fromNs, toNs: nowNs() }).invalid).toContain('could not be compared')
    expect(clock.toHostTime(stamp, { fromNs, toNs: fromNs }).invalid).toBeUndefined()
    const second = await clock.watch()
    offset += 5_000_000n
    await second.confirm()
    await second.stop()
    const nextNs = fromNs + 1_000_000n
    expect(clock.toHostTime(stamp, { fromNs: nextNs, toNs: nextNs }).invalid).toBeDefined()
  })
})
