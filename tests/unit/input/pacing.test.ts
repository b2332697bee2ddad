import { afterEach, describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { KeyboardDevice } from '../../../framework/input/index.ts'
import type { InputEvent } from '../../../framework/input/api.ts'
import { AckWindow, PathPace, strokeCost } from '../../../framework/input/pacing.ts'
import { SimulatedGuest, type SimulatedGuestOptions } from './simulated-guest.ts'

let guest: SimulatedGuest
const keyboardOf = (options: SimulatedGuestOptions = {}) => {
  guest = new SimulatedGuest(options)
  return new KeyboardDevice(guest.host())
}
afterEach(() => guest?.close())

/** Loses each n-th release. */
const losesReleases = (every: number): SimulatedGuestOptions['fault'] => {
  let releases = 0
  return (event) => (event.type === 'key' && !event.down && ++releases % every === 0 ? 'drop' : 'pass')
}

describe('the acknowledgement window', () => {
  const MS = 1_000_000n

  it('is as large as the device queue, counted at its dearest', () => {
    const pace = new PathPace()
    for (let count = 0; count < 20; count++) {
      pace.wasIdle(100)
      pace.tookStroke(1)
    }
    for (const [device, cost, strokes] of [
      ['ps2', 3, 5],
      ['usb', 2, 8],
      ['virtio', 4, 16],
    ] as const) {
      const window = new AckWindow(device, pace)
      while (window.hasRoomFor(cost)) window.sent([30], cost)
      expect(window.inFlight).toBe(strokes)
    }
  })

  it('is not opened by a release that was seen twice', () => {
    const window = new AckWindow('ps2', new PathPace())
    window.beginCall()
    for (let count = 0; count < 4; count++) window.sent([30], 3)
    window.pressed(30)
    for (let count = 0; count < 4; count++) window.released(30, 0n)
    expect(window.inFlight).toBe(3)
  })

  it('settles what left before an acknowledged stroke', () => {
    const window = new AckWindow('ps2', new PathPace())
    for (const code of [30, 31, 32]) window.sent([code], 3)
    window.pressed(32)
    window.released(32, 0n)
    expect(window.inFlight).toBe(0)
  })

  it("waits for a shifted stroke's last release, also when the same key follows", () => {
    const window = new AckWindow('usb', new PathPace())
    const [B, SHIFT] = [48, 42]
    window.sent([B, SHIFT], 4)
    window.sent([B], 2)
    window.pressed(SHIFT)
    window.pressed(B)
    window.released(B, 0n)
    expect(window.inFlight).toBe(2)
    window.released(SHIFT, 0n)
    expect(window.inFlight).toBe(1)
    window.pressed(B)
    window.released(B, 0n)
    expect(window.inFlight).toBe(0)
  })

  it('never holds more than the device, whatever the guest reports', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 3 }), fc.boolean(), fc.nat({ max: 9 }))), (steps) => {
        const window = new AckWindow('usb', new PathPace())
        let sent = 0
        for (const [code, send, afterMs] of steps) {
          if (send && window.hasRoomFor(4)) {
            window.beginCall()
            window.sent([code], 4)
            window.callAnswered()
            sent++
          } else if (!send) {
            window.pressed(code)
            window.released(code, BigInt(afterMs) * MS)
          }
          expect(window.inFlight).toBeLessThanOrEqual(4)
        }
        expect(window.inFlight).toBeLessThanOrEqual(sent)
      }),
    )
  })

  it('puts more strokes into a call the slower the path is beside the guest', () => {
    const strokesFor = (idleMs: number) => {
      const pace = new PathPace()
      const window = new AckWindow('virtio', pace)
      let guestNs = 0n
      for (let call = 0; call < 40; call++) {
        window.beginCall()
        const strokes = pace.strokesPerCall
        for (let count = 0; count < strokes; count++) window.sent([30], 4)
        window.callAnswered()
        guestNs += BigInt(Math.round(idleMs * 1e6))
        for (let count = 0; count < strokes; count++) {
          guestNs += MS
          window.pressed(30)
          window.released(30, guestNs)
        }
      }
      return pace.strokesPerCall
    }
    expect(strokesFor(0.1)).toBe(1)
    expect(strokesFor(1)).toBe(4)
    expect(strokesFor(2)).toBe(8)
  })

  it('lets more be on their way the longer the guest waits, and few where it never does', () => {
    const pace = new PathPace()
    expect(pace.strokesInFlight).toBe(4)
    for (let count = 0; count < 60; count++) {
      pace.tookStroke(16)
      pace.wasIdle(16 + 6)
    }
    expect(pace.strokesInFlight).toBe(7)
    for (let count = 0; count < 60; count++) pace.wasIdle(0)
    expect(pace.strokesInFlight).toBe(4)
  })

  it('counts a stroke at what its bytes, events or descriptors take', () => {
    const stroke: InputEvent[] = [
      { type: 'key', qcode: 'shift', down: true },
      { type: 'key', qcode: 'a', down: true },
      { type: 'key', qcode: 'a', down: false },
      { type: 'key', qcode: 'shift', down: false },
    ]
    expect(strokeCost(stroke, 'ps2')).toBe(6)
    expect(strokeCost(stroke, 'usb')).toBe(4)
    expect(strokeCost(stroke, 'virtio')).toBe(8)
  })
})

describe('typing into a guest that loses releases', () => {
  it('goes on at the pace of the guest, without overfilling the device', async () => {
    const keyboard = keyboardOf({ fault: losesReleases(5), queue: 16, pollMs: 1, perPoll: 2 })
    const delivery = await keyboard.type('abcdefghij'.repeat(10))
    expect(delivery).toMatchObject({ outcome: 'damaged', sent: 200, lost: 20, duplicated: 0, reordered: 0 })
    expect(guest.overflowed).toBe(0)
  })

  it('neither stops nor hurries when all strokes are the same', async () => {
    const keyboard = keyboardOf({ fault: losesReleases(4), queue: 16, pollMs: 1, perPoll: 2 })
    const delivery = await keyboard.type('a'.repeat(40), { verify: 'observe' })
    expect(delivery).toMatchObject({ outcome: 'damaged', sent: 80, lost: 10, duplicated: 0 })
    expect(delivery.differences.join()).not.toContain('stopped')
    expect(guest.overflowed).toBe(0)
    expect(guest.received).toHaveLength(70)
  })

  it('waits again for a guest that reports again', async () => {
    const keyboard = keyboardOf({ queue: 16, pollMs: 1, perPoll: 2 })
    guest.frozen = true
    setTimeout(() => (guest.frozen = false), 2500)
    const delivery = await keyboard.type('abcdefghijklmnopqrstuvwxyz'.repeat(4))
    // What left while nobody took it is lost; what left afterwards is not.
    expect(delivery.lost).toBeLessThan(delivery.sent / 2)
    expect(delivery.durationMs).toBeLessThan(6000)
  })
})

it('goes on when a guest that stood still reports again, whether or not it was asked in between', async () => {
  const keyboard = keyboardOf()
  guest.answersAfterMs = 8000
  setTimeout(() => (guest.frozen = true), 30)
  setTimeout(() => (guest.frozen = false), 700)
  const delivery = await keyboard.type('abcdefghij'.repeat(20), { verify: 'require' })
  expect(delivery).toMatchObject({ outcome: 'delivered', lost: 0 })
  expect(delivery.durationMs).toBeLessThan(8000)
  expect(guest.overflowed).toBe(0)
})

it('learns nothing of the guest while it types at a pace that was asked for', async () => {
  const keyboard = keyboardOf({ device: 'virtio', queue: 64 })
  await keyboard.type('abcdefgh', { delayMs: 40 })
  const calls = guest.calls.length
  await keyboard.type('abcd')
  expect(guest.calls.slice(calls).every((events) => events.length <= 4)).toBe(true)
})

it('tells how far it is while a long text is typed', async () => {
  const keyboard = keyboardOf()
  const progress: [number, number][] = []
  await keyboard.type('ab'.repeat(30), { delayMs: 20, onProgress: (done, of) => progress.push([done, of]) })
  expect(progress.length).toBeGreaterThanOrEqual(1)
  for (const [done, of] of progress) {
    expect(done).toBeLessThanOrEqual(of)
    expect(of).toBe(60)
  }
})
