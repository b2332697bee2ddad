import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml'
import type { Position } from './position.ts'
import type { Problems } from './problem.ts'

/** A parsed scenario file: plain data, and where each part of it was written. */
export interface Source {
  /** Path as the caller names it, or `<text>`. */
  readonly file: string
  readonly text: string
  readonly data: unknown
  /** Where the value at a JSON pointer starts (`/steps/0/text`); the nearest known ancestor when it has none. */
  value(pointer: string): Position
  /** Where the key at a JSON pointer starts; the value's place for list items. */
  key(pointer: string): Position
}

const MAX_CHARACTERS = 1_048_576
const MAX_NODES = 100_000
const MAX_DEPTH = 64

/** One step of a JSON pointer, escaped. */
export function pointerPart(name: string | number): string {
  return `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/**
 * Reads YAML 1.2 (core schema: `on`, `off`, `yes`, `no` stay strings) or JSON, which is YAML.
 * Syntax errors go to `problems`; `data` is undefined then.
 */
export function parseSource(text: string, file: string, problems: Problems): Source {
  const keys = new Map<string, Position>()
  const values = new Map<string, Position>()
  const lines = new LineCounter()
  const find = (first: Map<string, Position>, second: Map<string, Position>) => (pointer: string) => {
    for (let path = pointer; ; path = path.slice(0, path.lastIndexOf('/'))) {
      const at = first.get(path) ?? second.get(path)
      if (at) return at
      if (path === '') return { line: 1, column: 1 }
    }
  }
  const source = { file, text, data: undefined as unknown, value: find(values, keys), key: find(keys, values) }

  if (text.length > MAX_CHARACTERS) {
    problems.error(
      'ATP_SCENARIO_SYNTAX',
      { line: 1, column: 1 },
      `the file is longer than ${MAX_CHARACTERS} characters`,
    )
    return source
  }
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', schema: 'core', prettyErrors: false })
  const place = (offset: number | undefined): Position => {
    const { line, col } = lines.linePos(offset ?? 0)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  for (const error of document.errors) {
    const message =
      error.code === 'MULTIPLE_DOCS' ? 'a scenario file holds one document; this one starts a second' : error.message
    problems.error('ATP_SCENARIO_SYNTAX', place(error.pos[0]), message)
  }
  if (document.errors.length > 0) return source
  try {
    source.data = plain(document, place, keys, values, problems)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    problems.error('ATP_SCENARIO_SYNTAX', { line: 1, column: 1 }, error.message)
  }
  return source
}

function plain(
  document: Document.Parsed,
  place: (offset: number | undefined) => Position,
  keys: Map<string, Position>,
  values: Map<string, Position>,
  problems: Problems,
): unknown {
  let nodes = 0
  const visit = (node: unknown, pointer: string, depth: number): unknown => {
    // Aliases may multiply a small file into a huge tree, or contain themselves.
    if (++nodes > MAX_NODES) throw new RangeError(`the file unfolds to more than ${MAX_NODES} values`)
    if (depth > MAX_DEPTH) throw new RangeError(`the file nests deeper than ${MAX_DEPTH} levels`)
    const range = (node as { range?: [number, number, number] } | null)?.range
    if (range && !values.has(pointer)) values.set(pointer, place(range[0]))
    if (isAlias(node)) return visit(node.resolve(document), pointer, depth + 1)
    if (isScalar(node)) return node.value
    if (isSeq(node)) return node.items.map((item, index) => visit(item, pointer + pointerPart(index), depth + 1))
    if (!isMap(node)) return null
    return Object.fromEntries(
      node.items.map((pair) => {
        const key = isAlias(pair.key) ? pair.key.resolve(document) : pair.key
        if (!isScalar(key)) {
          problems.error(
            'ATP_SCENARIO_SYNTAX',
            place((pair.key as { range?: number[] })?.range?.[0]),
            'a key must be plain text',
          )
          return ['', null]
        }
        const name = String(key.value)
        const inner = pointer + pointerPart(name)
        keys.set(inner, place(key.range?.[0]))
        return [name, visit(pair.value, inner, depth + 1)]
      }),
    )
  }
  return visit(document.contents, '', 0)
}
