import { KEYS } from '../../framework/keys/table.ts'

/** Linux `KEY_RESERVED`: a key that the table does not hold is nobody's, and never expected. */
const UNKNOWN = 0
const byCode = new Map<string, number>()
for (const { code, evdev } of KEYS) if (code !== undefined && !byCode.has(code)) byCode.set(code, evdev.code)

/** Linux evdev code of a `KeyboardEvent.code`. */
export function evdevCodeOf(code: string): number {
  return byCode.get(code) ?? UNKNOWN
}
