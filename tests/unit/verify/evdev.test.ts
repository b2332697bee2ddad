import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EvdevDecoder, type EvdevRecord, RECORD_SIZE_BYTES } from '../../../framework/verify/evdev.ts'
import { parseInputDevices } from '../../../framework/verify/input-devices.ts'

function encode(records: readonly EvdevRecord[]): Uint8Array {
  const bytes = new Uint8Array(records.length * RECORD_SIZE_BYTES)
  const view = new DataView(bytes.buffer)
  records.forEach(({ guestNs, type, code, value }, index) => {
    const at = index * RECORD_SIZE_BYTES
    view.setBigInt64(at, guestNs / 1_000_000_000n, true)
    view.setBigInt64(at + 8, (guestNs % 1_000_000_000n) / 1000n, true)
    view.setUint16(at + 16, type, true)
    view.setUint16(at + 18, code, true)
    view.setInt32(at + 20, value, true)
  })
  return bytes
}

const guestNs = fc.bigInt({ min: 0n, max: 4n * 10n ** 15n }).map((microseconds) => microseconds * 1000n)
const anyValue = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
/** What a kernel may write. */
const record = fc.oneof(
  fc.record({ guestNs, type: fc.constant(0), code: fc.integer({ min: 0, max: 3 }), value: fc.constant(0) }),
  fc.record({ guestNs, type: fc.constant(1), code: fc.integer({ min: 0, max: 0x2ff }), value: fc.nat({ max: 2 }) }),
  fc.record({ guestNs, type: fc.constantFrom(2, 3, 4), code: fc.integer({ min: 0, max: 7 }), value: anyValue }),
)

it('decodes the same records however the stream is split', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 60 })), (records, cuts) => {
      const bytes = encode(records)
      const decoder = new EvdevDecoder()
      const found: EvdevRecord[] = []
      let from = 0
      for (const length of [...cuts, bytes.length]) {
        found.push(...decoder.push(bytes.slice(from, from + length)))
        from += length
      }
      expect(found).toEqual(records)
    }),
  )
})

it('notices that bytes are missing or too many before the second key that follows', () => {
  // A key's report as drivers make it, at a time of this century.
  const report = (code: number, value: number, second: number): EvdevRecord[] => {
    const at = 1_760_000_000_000_000_000n + BigInt(second) * 1_000_000_000n
    return [
      { guestNs: at, type: 1, code, value },
      { guestNs: at, type: 0, code: 0, value: 0 },
    ]
  }
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 0x2ff }),
      fc.integer({ min: 1, max: RECORD_SIZE_BYTES - 1 }),
      fc.boolean(),
      fc.uint8Array({ minLength: RECORD_SIZE_BYTES, maxLength: RECORD_SIZE_BYTES }),
      (code, count, cut, noise) => {
        const bytes = encode([1, 2, 3, 4].flatMap((second) => report(code, second % 2, second)))
        const damaged = cut ? bytes.slice(count) : Buffer.concat([noise.slice(0, count), bytes])
        expect(() => new EvdevDecoder().push(damaged)).toThrow('no kernel wrote')
      },
    ),
  )
})

it('refuses what no kernel writes', () => {
  const good = { guestNs: 1n, type: 1, code: 30, value: 1 }
  for (const bad of [{ type: 6 }, { code: 0x300 }, { value: 3 }, { value: -1 }, { guestNs: 2n ** 62n * 4n }]) {
    expect(() => new EvdevDecoder().push(encode([{ ...good, ...bad }]))).toThrow('no kernel wrote')
  }
  expect(new EvdevDecoder().push(encode([good]))).toHaveLength(1)
})

describe('the list of input devices', () => {
  // As a Debian 12 guest under QEMU 7.2 prints it, shortened to the lines that matter.
  const text = `I: Bus=0011 Vendor=0001 Product=0001 Version=ab41
N: Name="AT Translated Set 2 keyboard"
P: Phys=isa0060/serio0/input0
H: Handlers=sysrq kbd leds event0 
B: EV=120013
B: KEY=402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe

I: Bus=0011 Vendor=0002 Product=0013 Version=0006
N: Name="VirtualPS/2 VMware VMMouse"
H: Handlers=mouse0 event2 
B: EV=7
B: KEY=70000 0 0 0 0
B: REL=103

I: Bus=0003 Vendor=0627 Product=0001 Version=0001
N: Name="QEMU QEMU USB Tablet"
H: Handlers=mouse1 event3 
B: EV=1f
B: KEY=70000 0 0 0 0
B: REL=100
B: ABS=3

I: Bus=0006 Vendor=0627 Product=0001 Version=0001
N: Name="QEMU Virtio Keyboard"
H: Handlers=sysrq kbd leds event4 
B: EV=120003
B: KEY=2000000 3803078f800d001 feffffdfffefffff fffffffffffffffe

I: Bus=0019 Vendor=0000 Product=0001 Version=0000
N: Name="Power Button"
H: Handlers=kbd event1 
B: EV=3
B: KEY=10000000000000 0

I: Bus=0000 Vendor=0000 Product=0000 Version=0000
N: Name="no event device"
H: Handlers=js0
`
  it('tells kinds and buses apart', () => {
    expect(parseInputDevices(text)).toEqual([
      { path: '/dev/input/event0', name: 'AT Translated Set 2 keyboard', bus: 'ps2', kind: 'keyboard' },
      { path: '/dev/input/event2', name: 'VirtualPS/2 VMware VMMouse', bus: 'ps2', kind: 'mouse' },
      { path: '/dev/input/event3', name: 'QEMU QEMU USB Tablet', bus: 'usb', kind: 'tablet' },
      { path: '/dev/input/event4', name: 'QEMU Virtio Keyboard', bus: 'virtio', kind: 'keyboard' },
      { path: '/dev/input/event1', name: 'Power Button', bus: 'other', kind: 'other' },
    ])
  })

  it('knows a keyboard that lacks a key', () => {
    const words = /^B: KEY=(.+)$/m.exec(text)?.[1]?.split(' ') as string[]
    const withoutA = (BigInt(`0x${words.at(-1)}`) & ~(1n << 30n)).toString(16)
    const broken = text.replace(words.join(' '), [...words.slice(0, -1), withoutA].join(' '))
    expect(broken).not.toBe(text)
    expect(parseInputDevices(broken)[0]).toMatchObject({ bus: 'ps2', kind: 'keyboard' })
  })

  it('survives anything', () => {
    fc.assert(
      fc.property(fc.string(), (any) => {
        expect(parseInputDevices(`${any}\n\n${text}`).length).toBeGreaterThanOrEqual(5)
      }),
    )
    expect(parseInputDevices('')).toEqual([])
  })
})
