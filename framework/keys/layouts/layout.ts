import type { Key } from '../table.ts'

/** One key press with the modifiers that must be down for it. */
export interface Stroke {
  readonly key: Key
  /** In the order they go down. */
  readonly modifiers: readonly Key[]
}

/** How a guest's keyboard layout makes characters. */
export interface Layout {
  readonly name: string
  /** The stroke that makes the character (one code point), or undefined. */
  stroke(character: string): Stroke | undefined
}
