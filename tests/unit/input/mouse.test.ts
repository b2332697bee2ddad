import { afterEach, describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import {
  deliveringBus,
  MouseDevice,
  pixelToAbs,
  QmpInputPath,
  type VmInputDevice,
} from '../../../framework/input/index.ts'
import { SimulatedGuest, type SimulatedGuestOptions } from './simulated-guest.ts'

let guest = new SimulatedGuest()
const mouseOf = (options: SimulatedGuestOptions = {}) => {
  guest = new SimulatedGuest({ device: 'virtio', ...options })
  return new MouseDevice(guest.host(), async () => ({ width: 1280, height: 800 }))
}
afterEach(() => guest.close())
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'resolved',
    (error: unknown) => (isAtpError(error) ? error.code : String(error)),
  )

describe('the account of a place', () => {
  it('says what was asked, what the guest has, and how far that is off', async () => {
    const mouse = mouseOf()
    const { pointer } = await mouse.move(640, 400, { verify: 'require' })
    expect(pointer).toMatchObject({ unit: 'pixel', asked: { x: 640, y: 400 } })
    expect(pointer?.error).toBeGreaterThan(0)
    // Half a unit of each axis.
    expect(pointer?.error).toBeLessThanOrEqual(Math.hypot(1280, 800) / 65_534)
    const { pointer: fraction } = await mouse.move(0.25, 1, { unit: 'fraction' })
    expect(fraction?.reached.x).toBeCloseTo(0.25, 4)
    expect(fraction).toMatchObject({ unit: 'fraction', reached: { y: 1 } })
    const { pointer: again } = await mouse.click({ x: 640, y: 400 })
    expect(again).toEqual(pointer)
    const { pointer: moved } = await mouse.moveBy(300, -40)
    expect(moved).toEqual({ unit: 'count', asked: { x: 300, y: -40 }, reached: { x: 300, y: -40 }, error: 0 })
  })

  it('says how far off a pointer is that did not get there', async () => {
    const mouse = mouseOf({ fault: (event) => (event.type === 'abs' && event.axis === 'x' ? 'drop' : 'pass') })
    const lost = await mouse.move(10, 10)
    expect(lost).toMatchObject({ outcome: 'damaged', lost: 1 })
    expect(lost.pointer).toBeUndefined()
  })

  it('says nothing of what nobody saw', async () => {
    const mouse = mouseOf({ unobservable: 'no port' })
    expect((await mouse.move(10, 10)).pointer).toBeUndefined()
  })
})

describe('dragging', () => {
  const buttons = () => guest.received.flatMap((event) => (event.type === 'button' ? [event.down] : []))

  it('presses at one place, takes a way, and releases at the other', async () => {
    const mouse = mouseOf()
    const delivery = await mouse.drag({ x: 100, y: 50 }, { x: 500, y: 50 }, { verify: 'require' })
    expect(delivery).toMatchObject({
      action: 'mouse.drag',
      input: 'left from 100, 50 to 500, 50',
      outcome: 'delivered',
      // Two axes, the press, five places on one axis, the release.
      sent: 9,
      stuck: [],
      pointer: { asked: { x: 500, y: 50 } },
    })
    // Getting to the first place may take more.
    expect(
      guest.received.map(({ type }) => type).slice(guest.received.findIndex(({ type }) => type === 'button')),
    ).toEqual(['button', ...Array.from({ length: 5 }, () => 'abs'), 'button'])
    expect(buttons()).toEqual([true, false])
    expect(await mouse.drag({ x: 9, y: 9 }, { x: 9, y: 9 }, { verify: 'require' })).toMatchObject({ sent: 4 })
  })

  it('lets go of the button when it fails on its way', async () => {
    const mouse = mouseOf({ pollMs: 5, perPoll: 1 })
    expect(await codeOf(mouse.drag({ x: 0, y: 0 }, { x: 900, y: 700 }, { timeoutMs: 60 }))).toBe('ATP_TIMEOUT')
    await expect.poll(() => buttons().at(-1)).toBe(false)
  })

  it('refuses a button that is down, and places off the screen', async () => {
    const mouse = mouseOf()
    expect(await codeOf(mouse.drag({ x: 0, y: 0 }, { x: 1280, y: 0 }))).toBe('ATP_MOUSE_RANGE')
    await mouse.down('right')
    expect(await codeOf(mouse.drag({ x: 0, y: 0 }, { x: 1, y: 0 }, { button: 'right' }))).toBe('ATP_MOUSE_HELD')
  })

  it('clicks twice', async () => {
    const mouse = mouseOf()
    expect(await mouse.dblclick({ x: 5, y: 6, verify: 'require' })).toMatchObject({
      input: 'left × 2 at 5, 6',
      sent: 6,
    })
    expect(buttons()).toEqual([true, false, true, false])
  })
})

describe('moving', () => {
  it('scales pixels to the whole axis, to within half a unit', () => {
    expect(pixelToAbs(0, 1280)).toBe(0)
    expect(pixelToAbs(1279, 1280)).toBe(32_767)
    for (const size of [1, 720, 1920, 3840]) {
      for (let pixel = 0; pixel < size; pixel += 7) {
        const back = (pixelToAbs(pixel, size) * Math.max(1, size - 1)) / 32_767
        expect(Math.abs(back - pixel)).toBeLessThanOrEqual(size / 65_534)
      }
    }
  })

  it('is seen even where the pointer is already', async () => {
    const mouse = mouseOf()
    for (let times = 0; times < 3; times++) {
      expect(await mouse.move(640, 400, { verify: 'require' })).toMatchObject({
        outcome: 'delivered',
        sent: 2,
        seen: 2,
      })
    }
    expect(await mouse.move(1, 1, { unit: 'fraction', verify: 'require' })).toMatchObject({ outcome: 'delivered' })
    expect(guest.received.slice(-2)).toEqual([
      { type: 'abs', axis: 'x', value: 32_767 },
      { type: 'abs', axis: 'y', value: 32_767 },
    ])
  })

  it('refuses positions off the screen before anything is sent', async () => {
    const mouse = mouseOf()
    expect(await codeOf(mouse.move(1280, 0))).toBe('ATP_MOUSE_RANGE')
    expect(await codeOf(mouse.move(0, -1))).toBe('ATP_MOUSE_RANGE')
    expect(await codeOf(mouse.move(Number.NaN, 0))).toBe('ATP_MOUSE_RANGE')
    expect(await codeOf(mouse.move(1.1, 0, { unit: 'fraction' }))).toBe('ATP_MOUSE_RANGE')
    expect(await codeOf(mouse.moveBy(0.5, 0))).toBe('ATP_MOUSE_RANGE')
    expect(await codeOf(mouse.click({ x: 3 }))).toBe('ATP_MOUSE_RANGE')
    expect(guest.calls).toEqual([])
  })

  it('moves far in steps a PS/2 packet can carry', async () => {
    const mouse = mouseOf({ device: 'ps2' })
    const delivery = await mouse.moveBy(300, -20, { verify: 'require' })
    expect(delivery).toMatchObject({ outcome: 'delivered', sent: 4, lost: 0 })
    expect(guest.received.filter((event) => event.type === 'rel' && Math.abs(event.value) > 127)).toEqual([])
  })

  it('says when motion got lost', async () => {
    const mouse = mouseOf({ fault: (event) => (event.type === 'rel' && event.axis === 'y' ? 'drop' : 'pass') })
    expect(await mouse.moveBy(5, 7)).toMatchObject({
      outcome: 'damaged',
      lost: 1,
      differences: ['REL_Y 7 sent, 0 seen'],
    })
  })
})

describe('buttons and wheel', () => {
  it('clicks where it is told, press and release in reports of their own', async () => {
    const mouse = mouseOf()
    const delivery = await mouse.click({ x: 10, y: 20, button: 'right', count: 2, verify: 'require' })
    expect(delivery).toMatchObject({ action: 'mouse.click', input: 'right × 2 at 10, 20', sent: 6, seen: 6 })
    expect(guest.calls.slice(-4)).toEqual([
      [{ type: 'button', button: 'right', down: true }],
      [{ type: 'button', button: 'right', down: false }],
      [{ type: 'button', button: 'right', down: true }],
      [{ type: 'button', button: 'right', down: false }],
    ])
    expect(await codeOf(mouse.click({ count: 0 }))).toBe('ATP_MOUSE_COUNT')
  })

  it('scrolls down for positive notches', async () => {
    const mouse = mouseOf()
    expect(await mouse.scroll(2, { verify: 'require' })).toMatchObject({ sent: 2, seen: 2 })
    expect(
      guest.received.filter((event) => 'button' in event && event.button === 'wheel-down' && event.down),
    ).toHaveLength(2)
    expect(await mouse.scroll(-1, { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
    expect(await codeOf(mouse.scroll(0))).toBe('ATP_MOUSE_COUNT')
  })

  it('holds a button over a move', async () => {
    const mouse = mouseOf()
    await mouse.down('left', { verify: 'require' })
    expect(await codeOf(mouse.click())).toBe('ATP_MOUSE_HELD')
    expect(await mouse.move(1, 1, { verify: 'require' })).toMatchObject({ stuck: [] })
    await mouse.up()
    expect(await codeOf(mouse.up())).toBe('ATP_MOUSE_NOT_HELD')
    await mouse.down('middle')
    await mouse.releaseAll()
    expect(guest.received.at(-1)).toEqual({ type: 'button', button: 'middle', down: false })
  })
})

describe('the device that gets the input', () => {
  const devices: VmInputDevice[] = [
    { type: 'keyboard', bus: 'ps2' },
    { type: 'keyboard', bus: 'virtio' },
    { type: 'mouse', bus: 'ps2' },
  ]
  it('is the one QEMU prefers', () => {
    expect(deliveringBus('vm', devices, 'keyboard')).toBe('virtio')
    expect(deliveringBus('vm', devices, 'keyboard', 'virtio')).toBe('virtio')
    expect(deliveringBus('vm', devices, 'pointer')).toBe('ps2')
    expect(() => deliveringBus('vm', devices, 'keyboard', 'ps2')).toThrow('QEMU hands it to the virtio keyboard')
    expect(() => deliveringBus('vm', devices, 'tablet')).toThrow('vm has no tablet')
  })
})

it('speaks input-send-event', async () => {
  const sent: unknown[] = []
  const path = new QmpInputPath(async (command, args) => void sent.push([command, args]), 'virtio')
  const before = process.hrtime.bigint()
  const { atNs } = await path.inject([
    { type: 'key', qcode: 'a', down: true },
    { type: 'button', button: 'wheel-up', down: true },
    { type: 'abs', axis: 'x', value: 7 },
    { type: 'rel', axis: 'y', value: -3 },
  ])
  expect(atNs >= before && atNs <= process.hrtime.bigint()).toBe(true)
  expect(sent).toEqual([
    [
      'input-send-event',
      {
        events: [
          { type: 'key', data: { down: true, key: { type: 'qcode', data: 'a' } } },
          { type: 'btn', data: { down: true, button: 'wheel-up' } },
          { type: 'abs', data: { axis: 'x', value: 7 } },
          { type: 'rel', data: { axis: 'y', value: -3 } },
        ],
      },
    ],
  ])
})
