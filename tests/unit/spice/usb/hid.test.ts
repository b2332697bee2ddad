import { describe, expect, it } from 'vitest'
import { HidKeyboard, HidMouse } from '../../../../framework/protocols/spice/usb/index.ts'
import { usageOf, USAGE_CODES } from '../../../../framework/protocols/spice/usb/hid-usages.ts'
import { GuestSide } from './guest-side.ts'

/** A device whose reports the guest asks for. */
async function read<D extends HidKeyboard | HidMouse>(device: D): Promise<{ device: D; guest: GuestSide }> {
  await device.open()
  const guest = new GuestSide(device).begin()
  guest.say({ kind: 'start_interrupt_receiving', id: 50n, endpoint: 0x81 })
  expect(await guest.next('interrupt_receiving_status')).toMatchObject({ id: 50n, status: 0, endpoint: 0x81 })
  return { device, guest }
}

function reports(guest: GuestSide): number[][] {
  return guest.heard.flatMap((packet) => (packet.kind === 'interrupt_packet' ? [[...packet.data]] : []))
}

describe('a USB keyboard', () => {
  it('reports what is down, modifiers apart', async () => {
    const { device, guest } = await read(new HidKeyboard())
    for (const code of ['ShiftLeft', 'KeyA', 'Digit1', 'MetaRight']) await device.down(code)
    for (const code of ['KeyA', 'ShiftLeft']) await device.up(code)
    expect(reports(guest)).toEqual([
      [0x02, 0, 0, 0, 0, 0, 0, 0],
      [0x02, 0, 4, 0, 0, 0, 0, 0],
      [0x02, 0, 4, 30, 0, 0, 0, 0],
      [0x82, 0, 4, 30, 0, 0, 0, 0],
      [0x82, 0, 30, 0, 0, 0, 0, 0],
      [0x80, 0, 30, 0, 0, 0, 0, 0],
    ])
    const ids = guest.heard.flatMap((packet) => (packet.kind === 'interrupt_packet' ? [packet.id] : []))
    expect(ids).toEqual([0n, 1n, 2n, 3n, 4n, 5n])
  })

  it('refuses a seventh key, and one it does not have', async () => {
    const { device, guest } = await read(new HidKeyboard())
    for (const code of ['KeyA', 'KeyB', 'KeyC', 'KeyD', 'KeyE', 'KeyF', 'AltLeft', 'KeyF']) await device.down(code)
    await expect(device.down('KeyG')).rejects.toMatchObject({ code: 'ATP_SPICE_USB_KEYS' })
    await expect(device.down('KeyÄ')).rejects.toMatchObject({ code: 'ATP_SPICE_USB_KEY' })
    await expect(device.up('toString')).rejects.toMatchObject({ code: 'ATP_SPICE_USB_KEY' })
    expect(reports(guest)).toHaveLength(8)
  })

  it('keeps its reports until the guest asks, and says so when it never does', async () => {
    const device = new HidKeyboard()
    await expect(device.down('KeyA')).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
    await device.open()
    const guest = new GuestSide(device).begin()
    const unread = expect.objectContaining({ code: 'ATP_SPICE_USB_UNREAD' })
    await expect(device.down('KeyA', { timeoutMs: 30 })).rejects.toEqual(unread)
    const later = device.down('KeyB')
    guest.say({ kind: 'start_interrupt_receiving', id: 1n, endpoint: 0x81 })
    await later
    expect(reports(guest)).toEqual([[0, 0, 5, 0, 0, 0, 0, 0]])
    guest.say({ kind: 'stop_interrupt_receiving', id: 2n, endpoint: 0x81 })
    const never = device.up('KeyB')
    await device.close()
    await expect(never).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
  })

  it('has lights, a report on request, and none of that after a reset', async () => {
    const { device, guest } = await read(new HidKeyboard())
    await device.down('KeyC')
    expect([...(await guest.control(0xa1, 1, { value: 0x100, length: 8 })).data]).toEqual([0, 0, 6, 0, 0, 0, 0, 0])
    expect(await guest.control(0x21, 9, { value: 0x200, data: Uint8Array.of(0b10) })).toMatchObject({
      status: 0,
      length: 1,
    })
    expect(device.lights).toEqual(['capsLock'])
    guest.say({ kind: 'reset', id: 0n })
    expect(device.lights).toEqual([])
    expect([...(await guest.control(0xa1, 1, { value: 0x100, length: 8 })).data]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    await expect(device.up('KeyC', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNREAD' })
  })

  it('answers the requests of its class', async () => {
    const { guest } = await read(new HidKeyboard())
    const data = async (type: number, request: number, more: object) => [
      ...(await guest.control(type, request, more)).data,
    ]
    expect(await data(0x81, 6, { value: 0x2100, length: 9 })).toEqual([9, 0x21, 0x11, 1, 0, 1, 0x22, 64, 0])
    expect(await data(0x81, 6, { value: 0x2200, length: 200 })).toHaveLength(64)
    expect(await guest.control(0x81, 6, { value: 0x2300, length: 9 })).toMatchObject({ status: 4 })
    expect(await guest.control(0x21, 10, { value: 0x0700 })).toMatchObject({ status: 0 })
    expect(await data(0xa1, 2, { length: 1 })).toEqual([7])
    expect(await data(0xa1, 3, { length: 1 })).toEqual([1])
    expect(await guest.control(0x21, 11, { value: 0 })).toMatchObject({ status: 0 })
    expect(await data(0xa1, 3, { length: 1 })).toEqual([0])
    for (const type of [0xa1, 0x21, 0xc0])
      expect(await guest.control(type, 99, { length: 1 })).toMatchObject({ status: 4 })
  })

  it('has the usages of the tables', () => {
    expect(
      ['KeyA', 'KeyZ', 'Digit0', 'Enter', 'Slash', 'F12', 'ArrowUp', 'NumpadDecimal', 'MetaRight'].map(usageOf),
    ).toEqual([4, 29, 39, 40, 56, 69, 82, 99, 231])
    expect(new Set(USAGE_CODES.map(usageOf)).size).toBe(USAGE_CODES.length)
  })
})

describe('a USB mouse', () => {
  it('moves, clicks and turns its wheel', async () => {
    const { device, guest } = await read(new HidMouse())
    await device.moveBy(-5, 200)
    await device.down('right')
    await device.moveBy(0, 0)
    await device.up('right')
    await device.click('middle')
    await device.scroll(2)
    const sum = (reports(guest).slice(0, 2) as number[][]).map(([, x, y]) => [((x as number) << 24) >> 24, y])
    expect(sum.reduce(([x, y], [dx, dy]) => [(x as number) + (dx as number), (y as number) + (dy as number)])).toEqual([
      -5, 200,
    ])
    expect(reports(guest).slice(2)).toEqual([
      [2, 0, 0, 0],
      [2, 0, 0, 0],
      [0, 0, 0, 0],
      [4, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0xfe],
    ])
    expect([...(await guest.control(0xa1, 1, { value: 0x100, length: 4 })).data]).toEqual([0, 0, 0, 0])
  })
})
