import { configError } from '../../core/errors.ts'
import { evaluate, parseExpression, type Expression, type Scope } from './expression.ts'

/** A text with `${…}` in it, cut into literal texts and expressions. `$${` is a literal `${`. */
export type Template = (string | Expression)[]

/** Whether a text holds an expression. */
export function isTemplate(value: unknown): value is string {
  return typeof value === 'string' && /(?<!\$)\$\{/.test(value)
}

/** @throws `ATP_SCENARIO_EXPRESSION` for an expression without end or meaning. */
export function parseTemplate(text: string): Template {
  const parts: Template = []
  let literal = ''
  for (let at = 0; at < text.length;) {
    if (text.startsWith('$${', at)) {
      literal += '${'
      at += 3
    } else if (text.startsWith('${', at)) {
      const end = closing(text, at + 2)
      if (end < 0) {
        throw configError('ATP_SCENARIO_EXPRESSION', `"${text}" opens \${ and never closes it`, {
          remedy: 'close it with }, or write $${ for a literal ${',
        })
      }
      if (literal) parts.push(literal)
      literal = ''
      parts.push(parseExpression(text.slice(at + 2, end)))
      at = end + 1
    } else literal += text[at++]
  }
  if (literal) parts.push(literal)
  return parts
}

/** The brace that ends an expression; braces inside its quoted texts do not count. */
function closing(text: string, from: number): number {
  let quote = ''
  for (let at = from; at < text.length; at++) {
    const character = text[at] as string
    if (quote) quote = character === quote ? '' : quote
    else if (character === "'" || character === '"') quote = character
    else if (character === '}') return at
  }
  return -1
}

/**
 * A value with its expressions filled in, deeply. A text that is one single expression takes the value's own
 * type; otherwise `join` makes a text of the parts.
 *
 * @throws `ATP_SCENARIO_UNDEFINED`, `ATP_SCENARIO_EXPRESSION`.
 */
export function fill(value: unknown, scope: Scope, join: (parts: unknown[]) => unknown = joinTexts): unknown {
  if (typeof value === 'string') {
    if (!value.includes('${')) return value
    const parts = parseTemplate(value)
    const values = parts.map((part) => (typeof part === 'string' ? part : evaluate(part, scope)))
    return parts.length === 1 ? values[0] : join(values)
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, scope, join))
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fill(inner, scope, join)]))
  }
  return value
}

/** Objects inside a text are written as JSON. */
export function joinTexts(parts: unknown[]): string {
  return parts.map((part) => (typeof part === 'object' ? JSON.stringify(part) : String(part))).join('')
}

/** All texts inside a value, each with its JSON pointer below `pointer`. */
export function* textsOf(value: unknown, pointer = ''): Generator<{ text: string; pointer: string }> {
  if (typeof value === 'string') yield { text: value, pointer }
  else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      yield* textsOf(inner, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    }
  }
}
