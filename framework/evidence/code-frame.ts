import { stripVTControlCharacters } from 'node:util'
import { cells } from './text-width.ts'

const LINES_AROUND = 2
const WIDEST = 200

/**
 * The source lines around a place, numbered, with a caret under the column. Plain text, no colour.
 *
 * @param line 1-based; outside the source gives `undefined`.
 * @param column 1-based, counted in UTF-16 units as stack traces do.
 */
export function codeFrame(source: string, line: number, column: number): string | undefined {
  const lines = source.split(/\r?\n/)
  if (line < 1 || line > lines.length) return undefined
  const first = Math.max(1, line - LINES_AROUND)
  const last = Math.min(lines.length, line + LINES_AROUND)
  const gutter = String(last).length
  const frame: string[] = []
  for (let number = first; number <= last; number++) {
    const text = stripVTControlCharacters(lines[number - 1] ?? '').slice(0, WIDEST)
    frame.push(`${number === line ? '>' : ' '} ${String(number).padStart(gutter)} | ${text}`.trimEnd())
    if (number === line && column <= WIDEST) {
      frame.push(`  ${' '.repeat(gutter)} | ${caretIndent(text, column)}^`)
    }
  }
  return frame.join('\n')
}

/** Spaces as wide as the text before the column: tabs stay tabs, Chinese characters take two cells. */
function caretIndent(text: string, column: number): string {
  let indent = ''
  for (const char of text.slice(0, Math.max(0, column - 1))) indent += char === '\t' ? '\t' : ' '.repeat(cells(char))
  return indent
}
