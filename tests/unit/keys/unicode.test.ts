import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import { exceedsLayout, linuxConsole, textStrokes } from '../../../framework/keys/index.ts'

/** What the console makes of the strokes: decimal digits while Alt is down, the character when it is let go. */
function read(character: string): string {
  let value = 0
  let made = ''
  for (const { key, modifiers, part } of linuxConsole.strokes(character) ?? []) {
    expect(modifiers.map((each) => each.qcode)).toEqual(['alt'])
    value = (part === 'first' ? 0 : value * 10) + Number(key.qcode.slice(3))
    if (part === 'last') made += String.fromCodePoint(value)
  }
  return made
}

describe('characters by their code on the Linux console', () => {
  it('are made one by one', () => {
    for (const character of '中文！😀é漢\u{20000}') expect(read(character)).toBe(character)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), (character) => {
        const made = linuxConsole.strokes(character)
        if (/^[\p{Cc}\p{Cs}]$/u.test(character)) expect(made).toBeUndefined()
        else expect(read(character)).toBe(character)
      }),
    )
  })

  it('are used only for what the layout cannot make', () => {
    expect(exceedsLayout('Größe', 'de')).toBe(false)
    expect(exceedsLayout('Größe\r\n')).toBe(true)
    const { strokes, characters, skipped } = textStrokes('a中\u0007', { unicode: linuxConsole, onUnmapped: 'skip' })
    expect(strokes.map(({ key }) => key.qcode)).toEqual(['a', 'kp_2', 'kp_0', 'kp_0', 'kp_1', 'kp_3'])
    expect({ characters, skipped }).toEqual({ characters: 2, skipped: 1 })
  })

  it('do not include control characters, which would act', () => {
    try {
      textStrokes('a\u0003', { unicode: linuxConsole })
      expect.unreachable()
    } catch (error) {
      expect(isAtpError(error) && error.code).toBe('ATP_KEY_UNMAPPED')
    }
  })
})
