import type { Stroke } from './layouts/layout.ts'
import { keyOfQcode, type Key } from './table.ts'

/** How characters that no key prints can be typed all the same, in one kind of guest. */
export interface UnicodeRoute {
  /** `linux-console` */
  readonly name: string
  /** The strokes that make the character, or undefined. */
  strokes(character: string): readonly Stroke[] | undefined
  /** Keys that must be free for it. */
  readonly keys: readonly Key[]
}

const ALT = keyOfQcode('alt') as Key
/** A control character would act instead of being written; half a surrogate pair is no character. */
const UNWRITABLE = /^[\p{Cc}\p{Cs}]$/u

/**
 * The text console of Linux: Alt is held while the keypad types the code point in decimal, and makes the character
 * when it is let go (`k_ascii` and `k_shift` of drivers/tty/vt/keyboard.c, where the keyboard is in Unicode mode).
 */
export const linuxConsole: UnicodeRoute = {
  name: 'linux-console',
  keys: [ALT],
  strokes(character) {
    const codePoint = character.codePointAt(0)
    if (codePoint === undefined || UNWRITABLE.test(character)) return undefined
    const digits = String(codePoint).padStart(2, '0')
    return Array.from(digits, (digit, index) => ({
      key: keyOfQcode(`kp_${digit}`) as Key,
      modifiers: [ALT],
      part: index === 0 ? 'first' : index === digits.length - 1 ? 'last' : 'middle',
    }))
  },
}
