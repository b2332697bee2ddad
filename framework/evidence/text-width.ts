const ZERO_WIDTH = /^[\p{Mark}\p{Cf}]$/u
const EMOJI = /^\p{Emoji_Presentation}$/u
/** East Asian Wide and Fullwidth blocks, Unicode Standard Annex #11. */
const WIDE: readonly (readonly [first: number, last: number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1b000, 0x1b2ff],
  [0x20000, 0x3fffd],
]

/** Terminal cells one character takes: 0, 1 or 2. */
export function cells(char: string): 0 | 1 | 2 {
  const code = char.codePointAt(0) ?? 0
  if (code < 0x300) return code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0xad ? 0 : 1
  if (ZERO_WIDTH.test(char)) return 0
  if (EMOJI.test(char) || WIDE.some(([first, last]) => code >= first && code <= last)) return 2
  return 1
}

/** Terminal cells a text without control sequences takes. */
export function textWidth(text: string): number {
  let width = 0
  for (const char of text) width += cells(char)
  return width
}

/** `text` cut to at most `width` cells, with `…` where something was cut. */
export function fitWidth(text: string, width: number): string {
  if (textWidth(text) <= width) return text
  let fitted = ''
  let used = 0
  for (const char of text) {
    used += cells(char)
    if (used > width - 1) break
    fitted += char
  }
  return width > 0 ? `${fitted}…` : ''
}

/** `text` cut or filled with spaces to exactly `width` cells. */
export function padWidth(text: string, width: number): string {
  const fitted = fitWidth(text, width)
  return fitted + ' '.repeat(Math.max(0, width - textWidth(fitted)))
}
