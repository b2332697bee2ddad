import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import type { Delivery } from '../../framework/input/api.ts'
import { CLOCK_PORT } from '../../framework/verify/index.ts'
import { clockSlew, clockStep } from '../support/clock-setter.ts'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'

const CLOCK_PROGRAMS = "ps | grep -c '[.]atp-clock'"
const TEXT = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(2)

describe("the guest's clock", () => {
  let lease: LeasedTestVm
  let vm: DesktopVm
  beforeAll(async () => {
    lease = await leaseVm('ps2')
    vm = lease.vm
  })
  afterAll(() => lease?.end())

  const press = () => vm.keyboard.press('shift', { verify: 'require' })
  const typing = () => vm.keyboard.type(TEXT, { verify: 'require', delayMs: 10 })
  /** Some keys have no latency, with a reason; the others' is none that the step made longer or shorter. */
  const expectTruth = ({ outcome, latency, latenciesMs, excluded = {} }: Delivery) => {
    expect(outcome).toBe('delivered')
    expect(Object.keys(excluded)).toEqual(['the guest clock was set meanwhile'])
    expect(excluded['the guest clock was set meanwhile']).toBe(TEXT.length - latenciesMs.length)
    if (!latency) return
    // No key takes less than half a millisecond, nor longer than until it is back; the clocks allow what the bound says.
    expect(latency.minMs + latency.boundMs).toBeGreaterThan(0.5)
    expect(latency.p50Ms - latency.boundMs).toBeLessThan(latency.loop?.p50Ms ?? 0)
  }
  const programs = async () => Number((await vm.guest.shell(CLOCK_PROGRAMS)).stdoutText)

  it('is asked over its port, by a program that leaves no file', async () => {
    const first = await press()
    // Of the first input nothing but the warm-up is known.
    expect(first).toMatchObject({ latenciesMs: [], warmupMs: [expect.any(Number)] })
    const { latency } = await press()
    expect(latency).toMatchObject({ clock: 'echo', samples: 1 })
    expect(await programs()).toBe(1)
    const { stdoutText } = await vm.guest.shell('ls -a /dev/shm /run /tmp /var/tmp')
    expect(stdoutText).not.toContain('atp-clock')
  })

  it('is known to half a millisecond', async () => {
    const bounds: number[] = []
    for (let count = 0; count < 30; count++) bounds.push((await press()).latency?.boundMs ?? Infinity)
    expect(bounds.toSorted((left, right) => left - right)[15]).toBeLessThan(0.5)
  })

  it.each([2_000_000n, -2_000_000n, 1_000_000_000n, -3_600_000_000_000n])(
    'that is set by %d ns while keys are on their way takes the latency from those near it',
    async (byNs) => {
      const step = await clockStep(vm, byNs)
      await press()
      const typed = typing()
      await pause(50 + 100 * Math.random())
      await step()
      expectTruth(await typed)
      // The next one is measured by the clock as it is now.
      const { latency } = await press()
      expect(latency?.maxMs).toBeLessThan((latency?.loop?.maxMs ?? 0) + (latency?.boundMs ?? 0))
    },
  )

  it('that is set and set back is found', async () => {
    const [forward, back] = [await clockStep(vm, 3_000_000n), await clockStep(vm, -3_000_000n)]
    await press()
    const typed = typing()
    await pause(50)
    await forward()
    await back()
    expectTruth(await typed)
  })

  it('that runs much too fast says nothing, or what is true', async () => {
    const [faster, again] = [await clockSlew(vm, 500), await clockSlew(vm, 0)]
    await press()
    await faster()
    try {
      for (let count = 0; count < 3; count++) {
        const { latency, excluded } = await typing()
        if (!excluded) expect((latency?.minMs ?? 0) + (latency?.boundMs ?? 0)).toBeGreaterThan(0.5)
        expect(latency?.maxMs ?? 0).toBeLessThan((latency?.loop?.maxMs ?? 0) + (latency?.boundMs ?? 0.001))
      }
    } finally {
      await again()
    }
  })

  it('is asked through the agent when the program has died, and by another one for the next observer', async () => {
    await press()
    await vm.guest.shell("kill $(ps | sed -n '/[.]atp-clock/s/ *\\([0-9]*\\).*/\\1/p')")
    expect((await press()).latency).toMatchObject({ clock: 'guest-get-time', samples: 1 })
    await vm.mouse.move(10, 10, { verify: 'require' })
    expect((await press()).latency?.clock).toBe('echo')
  })

  it('is told after a reset by a new program, and to a session after another was cut off', async () => {
    await vm.reset()
    await vm.guest.shell('true')
    await press()
    expect((await press()).latency?.clock).toBe('echo')
    expect(await programs()).toBe(1)
    // As when the runner is killed: its connection ends, and nobody is told.
    await lease.host.close()
    vm = await lease.open('pristine')
    await press()
    expect((await press()).latency?.clock).toBe('echo')
    // Those that have ended may wait for init to notice.
    await expect.poll(programs, { timeout: 5000 }).toBe(1)
  })

  it('is asked through the agent where another holds the port', async () => {
    const other = await lease.open('pristine')
    await vm.reset()
    await vm.guest.shell('true')
    const held = await other.channel(CLOCK_PORT)
    try {
      await press()
      expect((await press()).latency?.clock).toBe('guest-get-time')
    } finally {
      held.destroy()
    }
  })
})
