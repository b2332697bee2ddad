import { keyOfQcode, type Key } from '../table.ts'
import type { Layout, Stroke } from './layout.ts'

const SHIFT = keyOfQcode('shift') as Key
const PLAIN: Readonly<Record<string, string>> = {
  ' ': 'spc',
  '\n': 'ret',
  '\t': 'tab',
  '-': 'minus',
  '=': 'equal',
  '[': 'bracket_left',
  ']': 'bracket_right',
  '\\': 'backslash',
  ';': 'semicolon',
  "'": 'apostrophe',
  '`': 'grave_accent',
  ',': 'comma',
  '.': 'dot',
  '/': 'slash',
}
const SHIFTED: Readonly<Record<string, string>> = {
  '!': '1',
  '@': '2',
  '#': '3',
  $: '4',
  '%': '5',
  '^': '6',
  '&': '7',
  '*': '8',
  '(': '9',
  ')': '0',
  _: 'minus',
  '+': 'equal',
  '{': 'bracket_left',
  '}': 'bracket_right',
  '|': 'backslash',
  ':': 'semicolon',
  '"': 'apostrophe',
  '~': 'grave_accent',
  '<': 'comma',
  '>': 'dot',
  '?': 'slash',
}

const strokes = new Map<string, Stroke>()
const put = (character: string, qcode: string, modifiers: readonly Key[]) =>
  strokes.set(character, { key: keyOfQcode(qcode) as Key, modifiers })
for (const character of 'abcdefghijklmnopqrstuvwxyz0123456789') {
  put(character, character, [])
  if (character >= 'a') put(character.toUpperCase(), character, [SHIFT])
}
for (const [character, qcode] of Object.entries(PLAIN)) put(character, qcode, [])
for (const [character, qcode] of Object.entries(SHIFTED)) put(character, qcode, [SHIFT])

/** The US layout: every printable ASCII character, newline as Enter, tab as Tab. */
export const us: Layout = { name: 'us', stroke: (character) => strokes.get(character) }
