import { configError } from '../../core/errors.ts'

/** What stands inside `${…}` and in `when`: paths, literals, comparisons and `! && ||`. */
export type Expression =
  | { kind: 'literal'; value: string | number | boolean | null }
  /** `domains[0].id`: the first part is a variable's name. */
  | { kind: 'path'; root: string; parts: (string | number)[] }
  | { kind: 'not'; of: Expression }
  | { kind: 'binary'; operator: Operator; left: Expression; right: Expression }

type Operator = '||' | '&&' | '==' | '!=' | '<' | '<=' | '>' | '>='

/** Where expressions find values. */
export interface Scope {
  /** The value of a root name, `undefined` for a name nobody defined. `first` is the part of the path that follows. */
  get(root: string, first?: string | number): { value: unknown } | undefined
  /** Turns an opaque value into one that can be compared. */
  reveal?(value: unknown): unknown
}

const TOKEN =
  /\s*(?:(?<number>-?\d+(?:\.\d+)?)|(?<string>'[^']*'|"[^"]*")|(?<name>[\p{L}_][\p{L}\p{N}_-]*)|(?<sign>\|\||&&|[=!]=|[<>]=?|[!()[\].]|\$\{|\}))/uy
const LEVELS: Operator[][] = [['||'], ['&&'], ['==', '!='], ['<', '<=', '>', '>=']]

/** @throws `ATP_SCENARIO_EXPRESSION` naming the expression and where it stops making sense. */
export function parseExpression(text: string): Expression {
  const tokens: { kind: string; text: string }[] = []
  const fail = (cause: string): never => {
    throw configError('ATP_SCENARIO_EXPRESSION', `"${text}" is not an expression: ${cause}`, {
      remedy: "write a path such as matrix.via or domains[0].id, or a comparison such as matrix.via == 'qmp'",
    })
  }
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const start = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (!match) return fail(`unexpected "${text.slice(start).trim()}"`)
    const [kind, value] = Object.entries(match.groups ?? {}).find(([, part]) => part !== undefined) as [string, string]
    tokens.push({ kind, text: value })
  }
  let next = 0
  const accept = (sign: string): boolean => {
    const found = tokens[next]?.kind === 'sign' && tokens[next]?.text === sign
    if (found) next++
    return found
  }
  const expect = (sign: string) => accept(sign) || fail(`"${sign}" is missing`)

  const binary = (level: number): Expression => {
    if (level === LEVELS.length) return unary()
    let left = binary(level + 1)
    for (;;) {
      const operator = (LEVELS[level] as Operator[]).find(accept)
      if (!operator) return left
      left = { kind: 'binary', operator, left, right: binary(level + 1) }
    }
  }
  const unary = (): Expression => (accept('!') ? { kind: 'not', of: unary() } : primary())
  const primary = (): Expression => {
    for (const [open, close] of [
      ['(', ')'],
      ['${', '}'],
    ] as const) {
      if (!accept(open)) continue
      const inner = binary(0)
      expect(close)
      return inner
    }
    const token = tokens[next++]
    if (token?.kind === 'number') return { kind: 'literal', value: Number(token.text) }
    if (token?.kind === 'string') return { kind: 'literal', value: token.text.slice(1, -1) }
    if (token?.kind !== 'name') return fail(token ? `unexpected "${token.text}"` : 'it ends too early')
    if (token.text === 'true' || token.text === 'false') return { kind: 'literal', value: token.text === 'true' }
    if (token.text === 'null') return { kind: 'literal', value: null }
    return path(token.text)
  }
  const path = (root: string): Expression => {
    const parts: (string | number)[] = []
    for (;;) {
      if (accept('.')) {
        const part = tokens[next++]
        if (part?.kind !== 'name') return fail('a name is missing after "."')
        parts.push(part.text)
      } else if (accept('[')) {
        const part = tokens[next++]
        if (part?.kind === 'number' && /^\d+$/.test(part.text)) parts.push(Number(part.text))
        else if (part?.kind === 'string') parts.push(part.text.slice(1, -1))
        else return fail('an index is missing after "["')
        expect(']')
      } else return { kind: 'path', root, parts }
    }
  }
  const expression = binary(0)
  if (next < tokens.length) fail(`unexpected "${tokens[next]?.text}"`)
  return expression
}

/**
 * The value of an expression.
 *
 * @throws `ATP_SCENARIO_UNDEFINED` for a name or path that leads nowhere.
 */
export function evaluate(expression: Expression, scope: Scope): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value
    case 'not':
      return !truthy(evaluate(expression.of, scope), scope)
    case 'path':
      return follow(expression, scope)
    case 'binary': {
      const { operator } = expression
      const left = evaluate(expression.left, scope)
      if (operator === '&&') return truthy(left, scope) && truthy(evaluate(expression.right, scope), scope)
      if (operator === '||') return truthy(left, scope) || truthy(evaluate(expression.right, scope), scope)
      return compare(operator, revealed(left, scope), revealed(evaluate(expression.right, scope), scope))
    }
  }
}

/** `false`, `null`, `0` and the empty text are false, and so are the texts `"false"` and `"0"`. */
export function truthy(value: unknown, scope: Scope): boolean {
  const plain = revealed(value, scope)
  return Boolean(plain) && plain !== 'false' && plain !== '0'
}

function revealed(value: unknown, scope: Scope): unknown {
  return scope.reveal ? scope.reveal(value) : value
}

function compare(operator: Exclude<Operator, '&&' | '||'>, left: unknown, right: unknown): boolean {
  if (operator === '==' || operator === '!=') {
    const equal = left === right || (isPlain(left) && isPlain(right) && String(left) === String(right))
    return operator === '==' ? equal : !equal
  }
  const [a, b] = [Number(left), Number(right)]
  if (operator === '<') return a < b
  if (operator === '<=') return a <= b
  return operator === '>' ? a > b : a >= b
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function follow({ root, parts }: Extract<Expression, { kind: 'path' }>, scope: Scope): unknown {
  const found = scope.get(root, parts[0])
  const missing = (where: string) =>
    configError('ATP_SCENARIO_UNDEFINED', `\${${pathText(root, parts)}} is not defined: ${where}`, {
      remedy: 'define it under vars or matrix, capture it in an earlier step, or write $${ for a literal ${',
    })
  if (!found) throw missing(`there is no variable "${root}"`)
  let value = found.value
  let walked = root
  for (const part of parts) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      throw missing(`${walked} has no "${part}"`)
    value = (value as Record<string | number, unknown>)[part]
    walked = pathText(walked, [part])
  }
  return value
}

function pathText(root: string, parts: readonly (string | number)[]): string {
  return root + parts.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('')
}

/** Every path an expression reads. */
export function* pathsOf(expression: Expression): Generator<Extract<Expression, { kind: 'path' }>> {
  if (expression.kind === 'path') yield expression
  if (expression.kind === 'not') yield* pathsOf(expression.of)
  if (expression.kind === 'binary') {
    yield* pathsOf(expression.left)
    yield* pathsOf(expression.right)
  }
}
