import { padWidth, textWidth } from '../evidence/text-width.ts'

/** Rows under a heading, columns aligned by what a terminal shows. */
export function textTable(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows]
  const widths = heading.map((_, at) => Math.max(...all.map((row) => textWidth(row[at] ?? ''))))
  const line = (row: readonly string[]) => row.map((cell, at) => padWidth(cell, widths[at] ?? 0)).join('  ')
  return all.map((row) => `${line(row).trimEnd()}\n`).join('')
}
