import { configError } from '../core/errors.ts'
import { de } from './layouts/de.ts'
import { fr } from './layouts/fr.ts'
import { gb } from './layouts/gb.ts'
import type { Layout, Stroke } from './layouts/layout.ts'
import { us } from './layouts/us.ts'
import type { UnicodeRoute } from './unicode.ts'

const LAYOUTS = new Map<string, Layout>([us, gb, de, fr].map((layout) => [layout.name, layout]))

/**
 * The layout of this name, by default `us`.
 *
 * @throws `ATP_KEY_LAYOUT` with the known layouts.
 */
export function layoutNamed(name: string = us.name): Layout {
  const layout = LAYOUTS.get(name)
  if (layout) return layout
  throw configError('ATP_KEY_LAYOUT', `there is no keyboard layout "${name}"`, {
    context: { layout: name },
    remedy: `use one of: ${[...LAYOUTS.keys()].join(', ')}`,
  })
}

/** Whether a key of the layout is missing for some character of the text. @throws `ATP_KEY_LAYOUT` */
export function exceedsLayout(text: string, layout?: string): boolean {
  const { strokes } = layoutNamed(layout)
  return Array.from(text.replaceAll('\r\n', '\n')).some((character) => strokes(character) === undefined)
}

export interface TextStrokesOptions {
  /** Default `us`. */
  layout?: string
  /** Default `error`. `skip` leaves the character out. */
  onUnmapped?: 'error' | 'skip'
  /** Types what the layout cannot. Default: nothing does. */
  unicode?: UnicodeRoute
  /** The text is a secret: messages name positions only. */
  secret?: boolean
}

/**
 * The strokes that type `text`: one a character, two where a dead key makes it, more on a {@link UnicodeRoute}. A CRLF line end is one Enter.
 *
 * @throws `ATP_KEY_UNMAPPED` for the first character the layout cannot make; `ATP_KEY_LAYOUT`.
 */
export function textStrokes(
  text: string,
  options: TextStrokesOptions = {},
): { strokes: Stroke[]; characters: number; skipped: number } {
  const layout = layoutNamed(options.layout)
  const strokes: Stroke[] = []
  let skipped = 0
  let position = 0
  for (const character of text.replaceAll('\r\n', '\n')) {
    position++
    const made = layout.strokes(character) ?? options.unicode?.strokes(character)
    if (made) strokes.push(...made)
    else if (options.onUnmapped === 'skip') skipped++
    else throw unmapped(options.secret ? undefined : character, position, layout.name)
  }
  return { strokes, characters: position - skipped, skipped }
}

function unmapped(character: string | undefined, position: number, layout: string): Error {
  const codePoint = character?.codePointAt(0)
  const shown =
    codePoint === undefined
      ? 'a character of the secret'
      : `${JSON.stringify(character)} (U+${codePoint.toString(16).toUpperCase().padStart(4, '0')})`
  return configError('ATP_KEY_UNMAPPED', `layout "${layout}" has no key for ${shown} at character ${position}`, {
    context: { position, layout, ...(character === undefined ? {} : { character }) },
    remedy:
      "type it with unicode: 'guest', write it with guest.file(…).write(…), or leave such characters out with onUnmapped: 'skip'",
  })
}
