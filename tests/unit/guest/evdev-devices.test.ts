import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { SeenInput } from '../../../guest/core/index.ts'
import { EvdevDevices } from '../../../guest/agent/input/evdev-devices.ts'

// What a lab guest's /proc/bus/input/devices says of a PS/2 keyboard, a virtio keyboard, a tablet, a mouse, a button.
const KEYBOARD_KEYS = 'B: KEY=402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe'
const BLOCKS: Record<string, string> = {
  event0: `I: Bus=0011 Vendor=0001 Product=0001 Version=ab41\nN: Name="AT Translated Set 2 keyboard"\nH: Handlers=sysrq kbd event0 \n${KEYBOARD_KEYS}`,
  event1: `I: Bus=0006 Vendor=0627 Product=0001 Version=0001\nN: Name="QEMU Virtio Keyboard"\nH: Handlers=sysrq kbd event1 \n${KEYBOARD_KEYS}`,
  event2: `I: Bus=0006 Vendor=0627 Product=0003 Version=0002\nN: Name="QEMU Virtio Tablet"\nH: Handlers=mouse0 event2 \nB: KEY=1f0000 0 0 0 0\nB: ABS=3`,
  event3: `I: Bus=0011 Vendor=0002 Product=0006 Version=0000\nN: Name="ImExPS/2 Generic Explorer Mouse"\nH: Handlers=mouse1 event3 \nB: KEY=1f0000 0 0 0 0\nB: REL=143`,
  event4: `I: Bus=0019 Vendor=0000 Product=0001 Version=0000\nN: Name="Power Button"\nH: Handlers=kbd event4 \nB: KEY=10000000000000 0`,
}

let folder: string
let devices: EvdevDevices | undefined
/** Our ends of the devices: held open both ways, so that nobody has to wait for the other. */
let ends: Map<string, number>
let seen: SeenInput[]
let gaps: string[]
const sink = { onInput: (input: SeenInput) => void seen.push(input), onGap: (reason: string) => void gaps.push(reason) }

/** A named pipe in place of `/dev/input/eventN`, which the devices' list names. */
function plug(...names: string[]): void {
  for (const name of names) {
    execFileSync('mkfifo', [join(folder, 'input', name)])
    ends.set(name, openSync(join(folder, 'input', name), constants.O_RDWR | constants.O_NONBLOCK))
  }
  list()
}
function list(): void {
  writeFileSync(join(folder, 'devices'), [...ends.keys()].map((name) => BLOCKS[name]).join('\n\n'))
}
const record = (type: number, code: number, value: number) => {
  const bytes = Buffer.alloc(24)
  bytes.writeBigInt64LE(1_700_000_000n, 0)
  bytes.writeBigInt64LE(123_456n, 8)
  bytes.writeUInt16LE(type, 16)
  bytes.writeUInt16LE(code, 18)
  bytes.writeInt32LE(value, 20)
  return bytes
}
const write = (name: string, ...records: Buffer[]) => writeSync(ends.get(name) as number, Buffer.concat(records))
const guestNs = 1_700_000_000_123_456_000n

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'atp-evdev-'))
  mkdirSync(join(folder, 'input'))
  ends = new Map()
  seen = []
  gaps = []
})
afterEach(() => {
  devices?.close()
  devices = undefined
  for (const end of ends.values()) closeSync(end)
  rmSync(folder, { recursive: true, force: true })
})
const open = (device: 'keyboard' | 'mouse') => {
  devices = new EvdevDevices(device, { list: join(folder, 'devices'), folder: join(folder, 'input') })
  return devices.start(sink)
}

it('reads all keyboards, and nothing else', async () => {
  plug('event0', 'event1', 'event2', 'event4')
  await open('keyboard')
  write('event0', record(4, 4, 30), record(1, 30, 1), record(0, 0, 0))
  await expect.poll(() => seen).toEqual([{ kind: 'key', code: 30, value: 1, guestNs }])
  write('event1', record(1, 30, 0), record(17, 0, 1))
  await expect.poll(() => seen.length).toBe(2)
  write('event2', record(3, 0, 9))
  write('event0', record(1, 48, 1))
  await expect.poll(() => seen.map(({ code }) => code)).toEqual([30, 30, 48])
  expect(gaps).toEqual([])
})

it('reads tablets and mice; the second report of a wheel is none', async () => {
  plug('event0', 'event2', 'event3')
  await open('mouse')
  write('event2', record(3, 0, 32_767), record(3, 1, 0), record(1, 0x110, 1))
  await expect.poll(() => seen.length).toBe(3)
  write('event3', record(2, 8, -1), record(2, 11, -120), record(2, 0, 5))
  await expect.poll(() => seen.length).toBe(5)
  expect(seen.map(({ kind, code, value }) => [kind, code, value])).toEqual([
    ['abs', 0, 32_767],
    ['abs', 1, 0],
    ['key', 0x110, 1],
    ['rel', 8, -1],
    ['rel', 0, 5],
  ])
})

it('tells what the kernel dropped, wherever the stream is cut', async () => {
  plug('event0')
  await open('keyboard')
  const bytes = Buffer.concat([record(1, 30, 1), record(0, 3, 0), record(1, 30, 0)])
  writeSync(ends.get('event0') as number, bytes.subarray(0, 40))
  await expect.poll(() => seen.length).toBe(1)
  expect(gaps).toEqual([])
  writeSync(ends.get('event0') as number, bytes.subarray(40))
  await expect.poll(() => seen.length).toBe(2)
  expect(gaps).toEqual([expect.stringContaining('SYN_DROPPED')])
})

it('reads a keyboard that is plugged in later, and tells of one that is pulled out', async () => {
  plug('event0')
  await open('keyboard')
  plug('event1')
  // The folder changed before the list did; another change makes sure that both are seen.
  writeFileSync(join(folder, 'input', 'by-path'), '')
  await expect
    .poll(() => {
      write('event1', record(1, 30, 1))
      return seen.length
    })
    .toBeGreaterThan(0)
  closeSync(ends.get('event0') as number)
  ends.delete('event0')
  list()
  rmSync(join(folder, 'input', 'event0'))
  await expect.poll(() => gaps).toEqual([expect.stringMatching(/AT Translated.*no longer observed/)])
})

it('gives up a device that brings what no kernel writes, and reads it again for who watches later', async () => {
  plug('event0')
  await open('keyboard')
  write('event0', record(1, 30, 1), record(99, 0, 0), record(1, 30, 0))
  await expect.poll(() => gaps).toEqual([expect.stringMatching(/AT Translated.*no longer observed/)])
  seen = []
  await devices?.start(sink)
  write('event0', record(1, 48, 1))
  await expect.poll(() => seen.map(({ code }) => code)).toEqual([48])
})

it('goes on to read the others when one cannot be read', async () => {
  plug('event0')
  await open('keyboard')
  writeFileSync(join(folder, 'devices'), `${BLOCKS['event0']}\n\n${BLOCKS['event1']}`)
  await expect(devices?.start(sink)).rejects.toMatchObject({ code: 'ATP_VERIFIER_DEVICE' })
  write('event0', record(1, 30, 1))
  await expect.poll(() => seen.map(({ code }) => code)).toEqual([30])
})

it('a guest without the device is told', async () => {
  plug('event4')
  await expect(open('keyboard')).rejects.toMatchObject({ code: 'ATP_VERIFIER_DEVICE' })
  devices?.close()
  rmSync(join(folder, 'devices'))
  await expect(open('mouse')).rejects.toMatchObject({ code: 'ATP_VERIFIER_DEVICE' })
})
