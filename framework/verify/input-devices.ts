import type { InputPathName } from '../evidence/events.ts'

/** One input device of a Linux guest. */
export interface GuestInputDevice {
  /** `/dev/input/event0` */
  path: string
  /** As its driver calls it: `AT Translated Set 2 keyboard`. */
  name: string
  bus: InputPathName['device'] | 'other'
  kind: 'keyboard' | 'mouse' | 'tablet' | 'other'
}

// Linux BUS_* (input.h).
const BUSES: Readonly<Record<number, GuestInputDevice['bus']>> = { 0x11: 'ps2', 0x03: 'usb', 0x06: 'virtio' }
/** Q to P, A to L, Z to M. A broken or remapped keyboard may lack some of them. */
const LETTERS = [
  [16, 25],
  [30, 38],
  [44, 50],
] as const
const FEWEST_LETTERS = 13
const BTN_LEFT = 0x110
const X = 0

/** The devices of `/proc/bus/input/devices`; blocks without an event handler are left out. */
export function parseInputDevices(text: string): GuestInputDevice[] {
  const devices: GuestInputDevice[] = []
  for (const block of text.split(/\n\s*\n/)) {
    const event = /^H: Handlers=.*?\b(event\d+)\b/m.exec(block)?.[1]
    if (!event) continue
    const busHex = /^I: Bus=([0-9a-f]+)/m.exec(block)?.[1] ?? ''
    devices.push({
      path: `/dev/input/${event}`,
      name: /^N: Name="(.*)"$/m.exec(block)?.[1] ?? event,
      bus: BUSES[Number.parseInt(busHex, 16)] ?? 'other',
      kind: kindOf(block),
    })
  }
  return devices
}

function kindOf(block: string): GuestInputDevice['kind'] {
  const letters = LETTERS.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, index) => from + index))
  if (letters.filter((code) => hasBit(block, 'KEY', code)).length >= FEWEST_LETTERS) return 'keyboard'
  if (!hasBit(block, 'KEY', BTN_LEFT)) return 'other'
  if (hasBit(block, 'ABS', X)) return 'tablet'
  return hasBit(block, 'REL', X) ? 'mouse' : 'other'
}

/** Bitmaps are printed as 64-bit words in hex, the highest word first. */
function hasBit(block: string, bitmap: string, bit: number): boolean {
  const words = new RegExp(`^B: ${bitmap}=([0-9a-f ]+)$`, 'm').exec(block)?.[1]?.trim().split(' ') ?? []
  const word = words.at(-1 - Math.floor(bit / 64))
  return word !== undefined && ((BigInt(`0x${word}`) >> BigInt(bit % 64)) & 1n) === 1n
}
