import { beforeAll, describe, expect, it } from 'vitest'
import { layoutNamed, textStrokes } from '../../../framework/keys/index.ts'
import { askXkb, xkbMissing } from '../../support/xkb/xkb.ts'

const MARKS = ['\u0300', '\u0301', '\u0302', '\u0303', '\u0308', '\u0327', '\u030A', '\u030C']
const SPACING = Array.from('`´^~¨°ˇ')
const missing = xkbMissing()

function xkb(layout: string, texts: readonly string[]) {
  return askXkb(
    layout,
    texts.map((text) => textStrokes(text, { layout }).strokes),
  )
}

/** Everything that the layout can type, of the blocks that hold what keyboards print. */
function charactersOf(name: string): string[] {
  const layout = layoutNamed(name)
  const all: string[] = []
  for (let code = 0x20; code < 0x2600; code++) {
    const character = String.fromCodePoint(code)
    if (layout.strokes(character)) all.push(character)
  }
  return all
}

describe.each(['us', 'gb', 'de', 'fr'])('the layout %s', (name) => {
  let characters: string[]
  beforeAll(() => {
    characters = charactersOf(name)
  })

  it('types what libxkbcommon reads, character by character, dead keys included', ({ skip }) => {
    skip(missing !== undefined, missing)
    // The compose table makes ASCII of these two where Windows makes the accent itself.
    const asciiOfDeadKey = new Map([
      ['´', "'"],
      ['¨', '"'],
    ])
    const { texts, printed } = xkb(name, characters)
    const single = (character: string) => layoutNamed(name).stroke(character) !== undefined
    const wanted = characters.map((each) => (single(each) ? each : (asciiOfDeadKey.get(each) ?? each)))
    expect(texts).toEqual(wanted)
    // 102nd key of the US layout: its characters have keys of their own.
    const untyped = printed.filter((each) => !characters.includes(each) && !(name === 'us' && '|¦'.includes(each)))
    expect(untyped).toEqual([])
  })

  it('types whole sentences', ({ skip }) => {
    skip(missing !== undefined, missing)
    const sentences: Record<string, string> = {
      us: 'The "quick" brown fox: 1 + 1 = {2}, <a> & ~b!\n',
      gb: 'It costs £3 or €4 @ home ¬ "yes" #~ \\| café\n',
      de: 'Größe: «Ä» ß@ÄÖÜ {[]} €~|\\ ²³µ Café à la crème, naïve ^ `\n',
      fr: "L'été où ça gêne: ÉCOLE Noël, 5 € {[|`\\^@]} ~# à Â Î ü «x» § °\n",
    }
    const text = sentences[name] as string
    expect(xkb(name, [text]).texts).toEqual([text.replace('\n', '\r')])
  })

  it('has printable ASCII, each accent of its dead keys alone, and no mark as a character', () => {
    for (let code = 0x20; code < 0x7f; code++) expect(characters).toContain(String.fromCharCode(code))
    for (const mark of MARKS) expect(layoutNamed(name).strokes(mark)).toBeUndefined()
    if (name === 'us') return
    for (const accent of SPACING) expect(layoutNamed(name).strokes(accent)).toBeDefined()
  })
})

it('makes the letters of each country', () => {
  const typed = (layout: string, text: string) =>
    textStrokes(text, { layout })
      .strokes.map(({ key, modifiers }) => [...modifiers, key].map((each) => each.qcode).join('+'))
      .join(' ')
  expect(typed('de', 'zyß@ä')).toBe('y z minus alt_r+q apostrophe')
  expect(typed('de', '<é')).toBe('less equal e')
  expect(typed('de', '^ À')).toBe('grave_accent spc spc shift+equal shift+a')
  expect(typed('fr', 'aé1ê§')).toBe('q 2 shift+1 bracket_left e shift+slash')
  expect(typed('gb', '£"@\\é')).toBe('shift+3 shift+2 shift+apostrophe less alt_r+semicolon e')
})
