import { KEYS } from '../../../framework/keys/table.ts'
import type { SeenInput } from '../../core/index.ts'
import type { InputDevice } from '../../protocol/index.ts'

/** evdev codes by set-1 scan code; those with the e0 prefix are `0xe0XX`. */
const CODES = new Map<number, number>()
for (const { scancode, evdev } of KEYS) if (!CODES.has(scancode)) CODES.set(scancode, evdev.code)
/** Windows reports Pause and Num Lock with each other's prefix, and the right Shift with one that it does not have. */
CODES.set(0x45, 119)
CODES.set(0xe045, 69)
CODES.set(0xe036, 54)
/** The left Control that Windows adds to AltGr in layouts that have it: no key of the keyboard. */
const ADDED_CONTROL = 0x21d

const BUTTONS: Readonly<Record<string, number>> = { left: 0x110, right: 0x111, middle: 0x112, x1: 0x113, x2: 0x114 }
const TABLET_MAX = 32_767
const NOTCH = 120
/** How many fields a line has, its first word and the time not counted. */
const FIELDS: Readonly<Record<string, number>> = { key: 2, button: 2, move: 4, wheel: 1, hwheel: 1 }
const WHEELS: Readonly<Record<string, number>> = { wheel: 8, hwheel: 6 }

/**
 * Reads the lines of the hook program, each with the time in nanoseconds since the epoch at its end:
 *
 *     key <scan code, hex> <1|0> <ns>          button <left|right|middle|x1|x2> <1|0> <ns>
 *     move <x> <y> <width> <height> <ns>       wheel|hwheel <delta, 120 a notch> <ns>
 *
 * Windows repeats held keys as further presses; they become the autorepeat that evdev would report.
 */
export class HookLines {
  readonly #onInput: (device: InputDevice, input: SeenInput) => void
  readonly #down = new Set<number>()
  readonly #position = new Map<number, number>()
  readonly #turned = new Map<number, number>()

  constructor(onInput: (device: InputDevice, input: SeenInput) => void) {
    this.#onInput = onInput
  }

  /** Lines that it does not know are ignored. */
  push(line: string): void {
    const [what = '', ...fields] = line.trim().split(' ')
    const time = fields.pop()
    if (time === undefined || !/^\d{1,20}$/.test(time) || fields.length !== FIELDS[what]) return
    const guestNs = BigInt(time)
    if (what === 'key') return this.#key(Number.parseInt(fields[0] ?? '', 16), fields[1] === '1', guestNs)
    if (what === 'button') {
      const code = BUTTONS[fields[0] ?? '']
      if (code !== undefined) this.#onInput('mouse', { kind: 'key', code, value: fields[1] === '1' ? 1 : 0, guestNs })
      return
    }
    const numbers = fields.map(Number)
    if (!numbers.every(Number.isFinite)) return
    const [first = 0, second = 0, width = 0, height = 0] = numbers
    if (what === 'move' && width > 1 && height > 1) {
      this.#axis(0, first, width, guestNs)
      this.#axis(1, second, height, guestNs)
    }
    const wheel = WHEELS[what]
    if (wheel !== undefined) this.#turn(wheel, first, guestNs)
  }

  #key(scancode: number, down: boolean, guestNs: bigint): void {
    if (scancode === ADDED_CONTROL) return
    const code = CODES.get(scancode)
    // A key that the table does not have is still a key that came.
    const known = code ?? 0
    const value = down ? (this.#down.has(scancode) ? 2 : 1) : 0
    if (down) this.#down.add(scancode)
    else this.#down.delete(scancode)
    this.#onInput('keyboard', { kind: 'key', code: known, value, guestNs })
  }

  #axis(code: number, pixel: number, size: number, guestNs: bigint): void {
    const value = Math.round((Math.min(Math.max(pixel, 0), size - 1) * TABLET_MAX) / (size - 1))
    // As evdev does: what did not change is not reported.
    if (this.#position.get(code) === value) return
    this.#position.set(code, value)
    this.#onInput('mouse', { kind: 'abs', code, value, guestNs })
  }

  #turn(code: number, delta: number, guestNs: bigint): void {
    const total = (this.#turned.get(code) ?? 0) + delta
    const notches = Math.trunc(total / NOTCH)
    this.#turned.set(code, total - notches * NOTCH)
    if (notches !== 0) this.#onInput('mouse', { kind: 'rel', code, value: notches, guestNs })
  }
}
