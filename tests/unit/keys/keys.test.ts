import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/errors.ts'
import {
  evdevKeyName,
  findKey,
  KEYS,
  keyNamed,
  keyOfQcode,
  layoutNamed,
  parseChord,
  textStrokes,
  us,
} from '../../../framework/keys/index.ts'

const errorOf = (work: () => unknown) => {
  try {
    work()
  } catch (error) {
    if (isAtpError(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the key table', () => {
  it('holds every QKeyCode of QEMU 7.2 once, but for `unmapped`', () => {
    expect(KEYS).toHaveLength(149)
    expect(new Set(KEYS.map((key) => key.qcode)).size).toBe(149)
  })

  it('gives one identity in all four vocabularies', () => {
    expect(keyOfQcode('ret')).toEqual({
      qcode: 'ret',
      evdev: { name: 'KEY_ENTER', code: 28 },
      scancode: 0x1c,
      code: 'Enter',
      ps2: true,
      usb: true,
    })
    expect(keyOfQcode('delete')).toMatchObject({ evdev: { code: 111 }, scancode: 0xe053, code: 'Delete' })
    expect(evdevKeyName(30)).toBe('KEY_A')
    expect(evdevKeyName(0x110)).toBe('BTN_LEFT')
    expect(evdevKeyName(700)).toBe('KEY_#700')
  })

  it('finds every key by each of its own names', () => {
    for (const key of KEYS) {
      expect(findKey(key.qcode)).toBe(key)
      expect(findKey(key.evdev.name)?.evdev.code).toBe(key.evdev.code)
      if (key.code) expect(findKey(key.code)?.evdev.code).toBe(key.evdev.code)
    }
  })

  it.each([
    ['enter', 'ret'],
    ['Return', 'ret'],
    ['ESCAPE', 'esc'],
    ['del', 'delete'],
    ['ins', 'insert'],
    ['win', 'meta_l'],
    ['super', 'meta_l'],
    ['cmd', 'meta_l'],
    ['control', 'ctrl'],
    ['pageup', 'pgup'],
    ['space', 'spc'],
    ['bksp', 'backspace'],
    ['F12', 'f12'],
    ['KP_7', 'kp_7'],
    ['ArrowLeft', 'left'],
    ['KEY_LEFTALT', 'alt'],
    ['altgr', 'alt_r'],
  ])('knows %s as %s', (name, qcode) => {
    expect(keyNamed(name).qcode).toBe(qcode)
  })

  it('suggests the nearest name for an unknown one', () => {
    expect(errorOf(() => keyNamed('entre'))).toMatchObject({ code: 'ATP_KEY_UNKNOWN', remedy: 'did you mean "enter"?' })
    expect(errorOf(() => keyNamed('backspase')).remedy).toContain('"backspace"')
    expect(errorOf(() => keyNamed('ctlr')).remedy).toContain('"ctrl"')
    expect(errorOf(() => keyNamed('xyzzyplugh')).remedy).toContain('ctrl+alt+del')
  })
})

describe('chords', () => {
  const qcodes = (chord: string) => parseChord(chord).map((key) => key.qcode)

  it.each([
    ['ctrl+alt+del', ['ctrl', 'alt', 'delete']],
    ['Ctrl + Alt + Delete', ['ctrl', 'alt', 'delete']],
    ['ctrl-d', ['ctrl', 'd']],
    ['ctrl-alt-f1', ['ctrl', 'alt', 'f1']],
    ['minus', ['minus']],
    ['-', ['minus']],
    ['ctrl+-', ['ctrl', 'minus']],
    ['+', ['shift', 'equal']],
    ['ctrl++', ['ctrl', 'shift', 'equal']],
    ['shift++', ['shift', 'equal']],
    ['kp_add', ['kp_add']],
    ['A', ['a']],
    ['?', ['shift', 'slash']],
    [' ', ['spc']],
    ['\n', ['ret']],
  ])('%j is %j', (chord, keys) => {
    expect(qcodes(chord)).toEqual(keys)
  })

  it.each([
    ['ctrl+z', 'de', ['ctrl', 'y']],
    ['ctrl++', 'de', ['ctrl', 'bracket_right']],
    ['Ctrl+A', 'fr', ['ctrl', 'q']],
    ['ctrl+1', 'fr', ['ctrl', 'shift', '1']],
    ['ctrl+@', 'de', ['ctrl', 'alt_r', 'q']],
    ['ctrl+alt+del', 'fr', ['ctrl', 'alt', 'delete']],
  ])('%j on the layout %s is %j', (chord, layout, keys) => {
    expect(parseChord(chord, layout).map((key) => key.qcode)).toEqual(keys)
    expect(errorOf(() => parseChord(chord, 'none')).code).toBe('ATP_KEY_LAYOUT')
  })

  it('refuses empty parts, unknown names and keys named twice', () => {
    expect(errorOf(() => parseChord('ctrl+')).code).toBe('ATP_KEY_CHORD')
    expect(errorOf(() => parseChord('')).code).toBe('ATP_KEY_CHORD')
    expect(errorOf(() => parseChord('ctrl+ctrl')).code).toBe('ATP_KEY_CHORD')
    expect(errorOf(() => parseChord('ctrl-dd'))).toMatchObject({ code: 'ATP_KEY_UNKNOWN', context: { key: 'ctrl-dd' } })
    expect(errorOf(() => parseChord('ctrl+alt+dell')).remedy).toContain('del')
  })
})

describe('text', () => {
  it('has a stroke for every printable ASCII character, newline and tab', () => {
    for (let code = 0x20; code < 0x7f; code++) expect(us.stroke(String.fromCharCode(code))).toBeDefined()
    const { strokes } = textStrokes('aA\n\t~\r\n')
    expect(strokes.map(({ key, modifiers }) => [...modifiers, key].map((each) => each.qcode).join('+'))).toEqual([
      'a',
      'shift+a',
      'ret',
      'tab',
      'shift+grave_accent',
      'ret',
    ])
  })

  it('gives different characters different strokes', () => {
    const made = new Set<string>()
    for (let code = 0x20; code < 0x7f; code++) {
      const stroke = us.stroke(String.fromCharCode(code))
      made.add(`${stroke?.modifiers.length}${stroke?.key.qcode}`)
    }
    expect(made.size).toBe(95)
  })

  it('names character, position and layout of what it cannot type', () => {
    const error = errorOf(() => textStrokes('ab😀'))
    expect(error.code).toBe('ATP_KEY_UNMAPPED')
    expect(error.message).toContain('layout "us" has no key for "😀" (U+1F600) at character 3')
    expect(error.remedy).toContain('onUnmapped')
    expect(errorOf(() => textStrokes('中文')).message).toContain('"中" (U+4E2D) at character 1')
  })

  it('does not give a secret away', () => {
    const error = errorOf(() => textStrokes('päss', { secret: true }))
    expect(error.message).not.toContain('ä')
    expect(error.context).toEqual({ position: 2, layout: 'us' })
  })

  it('skips on request and counts what it skipped', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const { strokes, skipped } = textStrokes(text, { onUnmapped: 'skip' })
        expect(strokes.length + skipped).toBe(Array.from(text.replaceAll('\r\n', '\n')).length)
      }),
    )
  })

  it('refuses an unknown layout', () => {
    expect(errorOf(() => layoutNamed('dvorak'))).toMatchObject({
      code: 'ATP_KEY_LAYOUT',
      remedy: 'use one of: us, gb, de, fr',
    })
  })
})
