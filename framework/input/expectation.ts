import { BUTTONS, keyOfQcode } from '../keys/index.ts'
import type { Expectation, InputEvent } from './api.ts'

/** Linux `REL_WHEEL`. */
const REL_WHEEL = 8

/**
 * The evdev event that follows from an injected one. Undefined for the release half of a wheel notch, which
 * has none, and for a qcode outside the key table.
 */
export function expectationOf(event: InputEvent): Expectation | undefined {
  switch (event.type) {
    case 'key': {
      const key = keyOfQcode(event.qcode)
      return key && { type: 'key', code: key.evdev.code, value: event.down ? 1 : 0 }
    }
    case 'button':
      if (event.button === 'wheel-up' || event.button === 'wheel-down') {
        return event.down ? { type: 'rel', code: REL_WHEEL, value: event.button === 'wheel-up' ? 1 : -1 } : undefined
      }
      return { type: 'key', code: BUTTONS[event.button], value: event.down ? 1 : 0 }
    case 'abs':
    case 'rel':
      return { type: event.type, code: event.axis === 'x' ? 0 : 1, value: event.value }
  }
}
