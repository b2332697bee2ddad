import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Stroke } from '../../../framework/keys/index.ts'

const TYPE = resolve(import.meta.dirname, 'type.py')

/** Why libxkbcommon cannot be asked here; undefined where it can. */
export function xkbMissing(): string | undefined {
  const loads = spawnSync('python3', ['-c', 'import ctypes; ctypes.CDLL("libxkbcommon.so.0")']).status === 0
  if (!loads) return 'python3 or libxkbcommon.so.0 (libxkbcommon0) is not installed'
  if (!existsSync('/usr/share/X11/xkb/symbols')) return 'xkb-data is not installed'
  return existsSync('/usr/share/X11/locale/en_US.UTF-8/Compose') ? undefined : 'libx11-data is not installed'
}

export interface XkbAnswer {
  /** What each of the asked strokes types. */
  texts: string[]
  /** Every character that one key makes. */
  printed: string[]
  /** Evdev code, level from 0, and what it prints; for a dead key the code point of its combining mark. */
  keys: [code: number, level: number, codePoint: number][]
}

/** Asks libxkbcommon what strokes type on a layout, and what its keys print. */
export function askXkb(layout: string, strokes: readonly (readonly Stroke[])[]): XkbAnswer {
  const input = JSON.stringify({ layout, presses: strokes.map(pressesOf) })
  const { stdout, stderr, status } = spawnSync('python3', [TYPE], { input, encoding: 'utf8', maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`python3 ${TYPE}: ${stderr}`)
  return JSON.parse(stdout) as XkbAnswer
}

/** Presses and releases as a guest sees them. */
function pressesOf(strokes: readonly Stroke[]): [code: number, down: boolean][] {
  return strokes.flatMap(({ key, modifiers }) => {
    const codes = [...modifiers, key].map((each) => each.evdev.code)
    return [
      ...codes.map((code): [number, boolean] => [code, true]),
      ...codes.toReversed().map((code): [number, boolean] => [code, false]),
    ]
  })
}
