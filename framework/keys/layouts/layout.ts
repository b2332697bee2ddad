import { keyOfQcode, type Key } from '../table.ts'

/** One key press with the modifiers that must be down for it. */
export interface Stroke {
  readonly key: Key
  /** In the order they go down. */
  readonly modifiers: readonly Key[]
  /** One of several strokes for one character: the modifiers stay down from the first to the last. */
  readonly part?: 'first' | 'middle' | 'last'
}

/** How a guest's keyboard layout makes characters. */
export interface Layout {
  readonly name: string
  /** The one stroke that makes the character (one code point), or undefined. */
  stroke(character: string): Stroke | undefined
  /** The strokes that make it: one, or a dead key and what it goes with. */
  strokes(character: string): readonly Stroke[] | undefined
}

/** What the rows of keys print at one level, a character a key; a space prints nothing, a combining mark is a dead key. */
type Level = readonly [digits: string, upper: string, home: string, lower: string]

/** The printing keys of a 105-key keyboard by their place, with the names they have in the key table. */
const ROWS = [
  'grave_accent 1 2 3 4 5 6 7 8 9 0 minus equal',
  'q w e r t y u i o p bracket_left bracket_right',
  'a s d f g h j k l semicolon apostrophe backslash',
  'less z x c v b n m comma dot slash',
].map((row) => row.split(' ').map(named))

const [SHIFT, ALT_GR] = [named('shift'), named('alt_r')]
/** Plain, Shift, AltGr, Shift and AltGr. */
const MODIFIERS: readonly (readonly Key[])[] = [[], [SHIFT], [ALT_GR], [SHIFT, ALT_GR]]
const SPACE: Stroke = { key: named('spc'), modifiers: [] }

/** What a dead key makes with the space bar, by its combining mark. */
const SPACING: Readonly<Record<string, string>> = {
  '\u0300': '`',
  '\u0301': '´',
  '\u0302': '^',
  '\u0303': '~',
  '\u0304': '¯',
  '\u0306': '˘',
  '\u0307': '˙',
  '\u0308': '¨',
  '\u030A': '°',
  '\u030B': '˝',
  '\u030C': 'ˇ',
  '\u0327': '¸',
  '\u0328': '˛',
}

/**
 * A layout from what is printed at its levels. A character that several keys make is typed with the fewest modifiers;
 * one that none makes with a dead key, where its canonical decomposition is a letter and that key's mark.
 */
export function layoutOf(name: string, levels: readonly Level[]): Layout {
  const single = new Map<string, Stroke>([
    [' ', SPACE],
    ['\n', { key: named('ret'), modifiers: [] }],
    ['\t', { key: named('tab'), modifiers: [] }],
  ])
  for (const [level, rows] of levels.entries()) {
    for (const [row, keys] of ROWS.entries()) {
      for (const [at, character] of Array.from(rows[row] as string).entries()) {
        if (single.has(character)) continue
        single.set(character, { key: keys[at] as Key, modifiers: MODIFIERS[level] as readonly Key[] })
      }
    }
  }
  const composed = new Map<string, readonly Stroke[]>()
  for (const [mark, spacing] of Object.entries(SPACING)) {
    const dead = single.get(mark)
    if (dead && !single.has(spacing)) composed.set(spacing, [dead, SPACE])
  }
  const compose = (character: string): readonly Stroke[] | undefined => {
    const [letter = '', mark = '', more] = character.normalize('NFD')
    // Signs such as that of the angstrom decompose to a letter's parts, but no dead key makes them.
    if (more !== undefined || !LETTER.test(letter) || character.normalize('NFC') !== character) return undefined
    const [dead, base] = [MARK.test(mark) ? single.get(mark) : undefined, single.get(letter)]
    return dead && base ? [dead, base] : undefined
  }
  const stroke = (character: string) => (MARK.test(character) ? undefined : single.get(character))
  return {
    name,
    stroke,
    strokes(character) {
      const one = stroke(character)
      return one ? [one] : (composed.get(character) ?? compose(character))
    },
  }
}

const MARK = /^\p{M}$/u
const LETTER = /^[A-Za-z]$/

function named(qcode: string): Key {
  return keyOfQcode(qcode) as Key
}
