/** Types of JSON values as the platform's documents name them, as data: checked, shown and compared from one source. */

/** What a value may be. `required` counts for fields of an object only. */
export interface Shape<T = unknown> {
  readonly type:
    | 'string'
    | 'int'
    | 'long'
    | 'decimal'
    | 'bool'
    | 'datetime'
    | 'timestamp'
    | 'any'
    | 'array'
    | 'object'
    | 'map'
  /** Name of the schema in the platform's documents, for objects. */
  readonly name?: string
  readonly required?: boolean
  readonly items?: Shape
  readonly fields?: Fields
  readonly oneOf?: readonly (string | number)[]
  /** Never there: carries the TypeScript type. */
  readonly of?: T
}
export type Fields = Readonly<Record<string, Shape>>
type RequiredKeys<F> = { [K in keyof F]: F[K] extends { required: true } ? K : never }[keyof F]
export type ValueOf<S> = S extends Shape<infer T> ? T : never
export type ObjectOf<F> = { [K in RequiredKeys<F>]: ValueOf<F[K]> } & {
  [K in Exclude<keyof F, RequiredKeys<F>>]?: ValueOf<F[K]>
}

export const string: Shape<string> = { type: 'string' }
/** 32 bit. */
export const int: Shape<number> = { type: 'int' }
export const long: Shape<number> = { type: 'long' }
export const decimal: Shape<number> = { type: 'decimal' }
export const bool: Shape<boolean> = { type: 'bool' }
/** Milliseconds since the epoch inside the stand-in; text on the wire. */
export const datetime: Shape<number> = { type: 'datetime' }
/** Milliseconds since the epoch inside the stand-in; on the wire in one of the forms of `PlatformOptions.timestamps`. */
export const timestamp: Shape<number> = { type: 'timestamp' }
export const any: Shape<unknown> = { type: 'any' }
export const map: Shape<Record<string, string>> = { type: 'map' }

export function required<T>(shape: Shape<T>): Shape<T> & { required: true } {
  return { ...shape, required: true }
}
export function array<T>(items: Shape<T>): Shape<T[]> {
  return { type: 'array', items }
}
export function oneOf<const V extends string | number>(...values: V[]): Shape<V> {
  return { type: typeof values[0] === 'number' ? 'int' : 'string', oneOf: values }
}
export function object<F extends Fields>(name: string, fields: F): Shape<ObjectOf<F>> & { fields: F } {
  return { type: 'object', name, fields }
}
/** One page of a list. */
export function page<T>(items: Shape<T>) {
  return object('PageResult', { list: array(items), pageNum: long, pageSize: long, pages: long, total: long })
}

/** The query of paged operations. */
export const PAGE = { pageNum: int, pageSize: int } as const

/** Why a value was refused. */
export interface Misfit {
  kind: 'unknown' | 'missing' | 'type' | 'value'
  /** `volumeList[0].busType`; empty for the whole value. */
  path: string
  expected: string
}

const MOST_ITEMS = 10_000
const LONGEST_TEXT = 65_536

/** The first thing wrong with a request's value, undefined when nothing is. `null` is no value of any type. */
export function misfitOf(shape: Shape, value: unknown, path = ''): Misfit | undefined {
  const wrong = (expected: string): Misfit => ({ kind: 'type', path, expected })
  switch (shape.type) {
    case 'string':
    case 'datetime':
      if (typeof value !== 'string') return wrong('string')
      if (value.length > LONGEST_TEXT) return { kind: 'value', path, expected: `at most ${LONGEST_TEXT} characters` }
      break
    case 'int':
    case 'long':
    case 'timestamp':
      if (!Number.isSafeInteger(value)) return wrong('integer')
      if (shape.type === 'int' && (value as number) !== ((value as number) | 0)) return wrong('32-bit integer')
      break
    case 'decimal':
      if (typeof value !== 'number') return wrong('number')
      break
    case 'bool':
      if (typeof value !== 'boolean') return wrong('boolean')
      break
    case 'array':
      if (!Array.isArray(value)) return wrong('array')
      if (value.length > MOST_ITEMS) return { kind: 'value', path, expected: `at most ${MOST_ITEMS} entries` }
      for (const [index, item] of value.entries()) {
        const misfit = misfitOf(shape.items as Shape, item, `${path}[${index}]`)
        if (misfit) return misfit
      }
      break
    case 'object':
      return misfitOfObject(shape, value, path)
    case 'map':
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : wrong('object')
    case 'any':
      return undefined
  }
  if (shape.oneOf && !shape.oneOf.includes(value as string)) {
    return { kind: 'value', path, expected: `one of ${shape.oneOf.join(', ')}` }
  }
  return undefined
}

function misfitOfObject(shape: Shape, value: unknown, path: string): Misfit | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { kind: 'type', path, expected: 'object' }
  const fields = shape.fields as Fields
  const at = (name: string) => (path ? `${path}.${name}` : name)
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(fields, name))
      return { kind: 'unknown', path: at(name), expected: Object.keys(fields).join(', ') }
  }
  for (const [name, field] of Object.entries(fields)) {
    const inner = (value as Record<string, unknown>)[name]
    if (inner === undefined) {
      if (field.required) return { kind: 'missing', path: at(name), expected: field.type }
      continue
    }
    const misfit = misfitOf(field, inner, at(name))
    if (misfit) return misfit
  }
  return undefined
}
