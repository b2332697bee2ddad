import { type ErrorRecord, causeChain } from '../framework/evidence/index.ts'

/** `AssertionError [ATP_DELIVERY]: two keys were lost`. */
export function errorHeadline(error: ErrorRecord): string {
  const name = error.code ?? error.name
  return name && name !== 'Error' ? `${name}: ${error.message}` : error.message
}

/** `specs/a.spec.ts:3:7` */
export function placeText({ file, line, column }: { file: string; line: number; column: number }): string {
  return `${file}:${line}:${column}`
}

/** Everything a reader needs, plain: place, code frame, expected and actual, stack, causes. */
export function errorDetails(error: ErrorRecord): string {
  return causeChain(error)
    .map((link, depth) => {
      const lines = [depth === 0 ? errorHeadline(link) : `caused by ${errorHeadline(link)}`]
      if (link.location) lines.push(`at ${placeText(link.location)}`)
      if (link.codeFrame) lines.push('', link.codeFrame, '')
      if (link.expected !== undefined) lines.push(`expected: ${link.expected}`, `actual:   ${link.actual ?? ''}`)
      const frames = link.stack?.split('\n').filter((line) => /^\s+at /.test(line)) ?? []
      return [...lines, ...frames].join('\n')
    })
    .join('\n\n')
}
