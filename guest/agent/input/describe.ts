import { KEYS } from '../../../framework/keys/table.ts'
import type { SeenInput } from '../../core/index.ts'

const NAMES = new Map(KEYS.map(({ evdev }) => [evdev.code, evdev.name]))
const BUTTONS: Readonly<Record<number, string>> = {
  0x110: 'BTN_LEFT',
  0x111: 'BTN_RIGHT',
  0x112: 'BTN_MIDDLE',
  0x113: 'BTN_SIDE',
  0x114: 'BTN_EXTRA',
}
const ABS = ['ABS_X', 'ABS_Y']
const REL: Readonly<Record<number, string>> = { 0: 'REL_X', 1: 'REL_Y', 6: 'REL_HWHEEL', 8: 'REL_WHEEL' }
const VALUES = ['release', 'press', 'repeat']

/** One input for a human at the guest's own terminal. */
export function describeInput({ kind, code, value }: SeenInput): string {
  if (kind === 'key') return `${NAMES.get(code) ?? BUTTONS[code] ?? `key ${code}`} ${VALUES[value] ?? value}`
  return `${(kind === 'abs' ? ABS[code] : REL[code]) ?? `${kind} ${code}`} ${value}`
}
