import { configError } from '../core/errors.ts'
import { KEYS, keyOfQcode, type Key } from './table.ts'

/** Spellings people use, beside qcodes, evdev names and `KeyboardEvent.code`. */
const ALIASES: Readonly<Record<string, string>> = {
  enter: 'ret',
  return: 'ret',
  newline: 'ret',
  escape: 'esc',
  del: 'delete',
  ins: 'insert',
  win: 'meta_l',
  super: 'meta_l',
  meta: 'meta_l',
  cmd: 'meta_l',
  command: 'meta_l',
  windows: 'meta_l',
  rwin: 'meta_r',
  super_r: 'meta_r',
  win_r: 'meta_r',
  cmd_r: 'meta_r',
  control: 'ctrl',
  lctrl: 'ctrl',
  ctrl_l: 'ctrl',
  rctrl: 'ctrl_r',
  control_r: 'ctrl_r',
  option: 'alt',
  lalt: 'alt',
  alt_l: 'alt',
  ralt: 'alt_r',
  altgr: 'alt_r',
  option_r: 'alt_r',
  lshift: 'shift',
  shift_l: 'shift',
  rshift: 'shift_r',
  page_up: 'pgup',
  page_down: 'pgdn',
  space: 'spc',
  spacebar: 'spc',
  bksp: 'backspace',
  bs: 'backspace',
  caps: 'caps_lock',
  num: 'num_lock',
  scroll: 'scroll_lock',
  prtsc: 'print',
  print_screen: 'print',
  break: 'pause',
  apps: 'compose',
  context_menu: 'compose',
  dash: 'minus',
  hyphen: 'minus',
  equals: 'equal',
  period: 'dot',
  quote: 'apostrophe',
  backtick: 'grave_accent',
  grave: 'grave_accent',
  lbracket: 'bracket_left',
  rbracket: 'bracket_right',
  mute: 'audiomute',
}

const byName = new Map<string, Key>()
for (const key of KEYS) {
  // `sysrq` shares its evdev name and code with `print`, `asterisk` with `kp_multiply`: first come, first named.
  for (const name of [key.evdev.name.slice('KEY_'.length), key.code]) {
    if (name !== undefined && !byName.has(name.toLowerCase())) byName.set(name.toLowerCase(), key)
  }
}
// An evdev name such as `MENU` must never shadow the qcode of that name.
for (const [alias, qcode] of Object.entries(ALIASES)) byName.set(alias, keyOfQcode(qcode) as Key)
for (const key of KEYS) byName.set(key.qcode, key)

/** The key of a name: qcode, alias, evdev name (with or without `KEY_`) or `KeyboardEvent.code`, in any case. */
export function findKey(name: string): Key | undefined {
  const lower = name.toLowerCase()
  return byName.get(lower) ?? byName.get(lower.replace(/^key_/, ''))
}

/**
 * Like {@link findKey}, for names that must exist.
 *
 * @throws `ATP_KEY_UNKNOWN` with the nearest known name.
 */
export function keyNamed(name: string): Key {
  const key = findKey(name)
  if (key) return key
  const near = nearestKeyName(name)
  throw configError('ATP_KEY_UNKNOWN', `there is no key "${name}"`, {
    context: { key: name },
    remedy: near
      ? `did you mean "${near}"?`
      : 'use a QMP key name such as a, ret, ctrl, f5, or join several with "+": ctrl+alt+del',
  })
}

/** The known name with the fewest edits from `name`, if any is near enough to be meant. */
function nearestKeyName(name: string): string | undefined {
  const lower = name.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.min(3, Math.ceil(lower.length / 2)) + 1
  // The names QEMU uses come first: they win a tie.
  for (const known of [...KEYS.map((key) => key.qcode), ...byName.keys()]) {
    const distance = editDistance(lower, known, bestDistance)
    if (distance < bestDistance) {
      best = known
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, (previous[column] as number) + 1, (current[column - 1] as number) + 1))
    }
    previous = current
  }
  return previous[b.length] as number
}
