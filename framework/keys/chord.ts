import { configError } from '../core/errors.ts'
import { findKey, keyNamed } from './names.ts'
import type { Key } from './table.ts'
import { layoutNamed } from './text.ts'

/**
 * The keys of a chord, in the order they go down.
 *
 * Names are joined by `+` (`ctrl+alt+del`); `-` joins too when every part is a name and the whole is not
 * (`ctrl-d`). A printed character stands for its key on the layout, with Shift where needed: `+` alone and as the
 * last part (`ctrl++`) is the plus key, and Ctrl+Z of a German keyboard is at the Y of the US one.
 *
 * @param layout default `us`.
 * @throws `ATP_KEY_LAYOUT`, `ATP_KEY_UNKNOWN` for a name that is no key, `ATP_KEY_CHORD` for an empty part or a key named twice.
 */
export function parseChord(chord: string, layout?: string): Key[] {
  const { stroke: strokeOf } = layoutNamed(layout)
  // A lone space, tab or newline is a key too.
  const text = strokeOf(chord) ? chord : chord.trim()
  const parts = findKey(text) || strokeOf(text) ? [text] : split(text)
  const keys: Key[] = []
  for (const part of parts) {
    if (part === '') {
      throw configError('ATP_KEY_CHORD', `the chord "${chord}" has an empty part`, {
        remedy: 'join key names with "+", such as ctrl+alt+del',
      })
    }
    const stroke = Array.from(part).length === 1 ? strokeOf(part.toLowerCase()) : undefined
    for (const modifier of stroke?.modifiers ?? []) {
      if (!keys.includes(modifier)) keys.push(modifier)
    }
    const key = stroke?.key ?? keyNamed(part)
    if (keys.includes(key)) {
      throw configError('ATP_KEY_CHORD', `the chord "${chord}" names ${key.qcode} twice`, {
        remedy: 'each key of a chord goes down once; use two presses for two strokes',
      })
    }
    keys.push(key)
  }
  return keys
}

function split(text: string): string[] {
  const parts = text.endsWith('++') ? [...text.slice(0, -2).split('+'), '+'] : text.split('+')
  const trimmed = parts.map((part) => part.trim())
  if (trimmed.length > 1 || !text.includes('-')) return trimmed
  const dashed = text.split('-').map((part) => part.trim())
  return dashed.every((part) => findKey(part) !== undefined) ? dashed : trimmed
}
