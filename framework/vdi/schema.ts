/**
 * Schemas of the platform's requests and answers: one value is both the JSON schema that is checked at run time and
 * the TypeScript type, so that the two cannot differ.
 */

declare const TYPE: unique symbol

/** The JSON schema words in use here. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly items?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: false
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
}

/** A JSON schema with the type of the values that it accepts. */
export interface Schema<T> {
  readonly json: JsonSchema
  /** Exists for the compiler only. */
  readonly [TYPE]?: T
}

/** Schemas of an object's fields. */
export type Fields = Readonly<Record<string, Schema<unknown>>>

/** The type of a schema's values. */
export type Infer<S> = S extends Schema<infer T> ? T : never

type Flat<T> = { [K in keyof T]: T[K] }
type Both<R extends Fields, O extends Fields, Absent> = Flat<
  { -readonly [K in keyof R]: Infer<R[K]> } & { -readonly [K in keyof O]?: Infer<O[K]> | Absent }
>

const schema = <T>(json: JsonSchema): Schema<T> => ({ json })

/** A text. */
export const text = schema<string>({ type: 'string' })
/** A whole number of 32 bits on the wire. */
export const int = schema<number>({ type: 'integer' })
/** A whole number of 64 bits on the wire; what JavaScript cannot hold exactly is refused instead of rounded. */
export const long = schema<number>({
  type: 'integer',
  minimum: Number.MIN_SAFE_INTEGER,
  maximum: Number.MAX_SAFE_INTEGER,
})
/** A number with decimals. */
export const decimal = schema<number>({ type: 'number' })
/** A truth value. */
export const bool = schema<boolean>({ type: 'boolean' })
/** Any JSON value: the documents name no shape. */
export const anything = schema<unknown>({})

/** A Java `Timestamp` as an object; `time` is in milliseconds since 1970. */
interface TimestampFields {
  time: number
}

/** A time as the wire carries it: a text, milliseconds since 1970, or an object; see `timestampMs`. */
export type WireTime = string | number | TimestampFields

/** A {@link WireTime}, in any of its forms. */
export const wireTime = schema<WireTime>({
  type: ['string', 'integer', 'object'],
  required: ['time'],
  properties: Object.fromEntries([
    ['time', long.json],
    ...['date', 'day', 'hours', 'minutes', 'month', 'nanos', 'seconds', 'timezoneOffset', 'year'].map((name) => [
      name,
      int.json,
    ]),
  ]),
  additionalProperties: false,
})

/** A list of values of one kind. */
export function listOf<T>(item: Schema<T>): Schema<T[]> {
  return schema({ type: 'array', items: item.json })
}

/** A list that must not be empty. */
export function someOf<T>(item: Schema<T>): Schema<T[]> {
  return schema({ type: 'array', items: item.json, minItems: 1 })
}

/** One of the given values. */
export function oneOf<const T extends string | number>(...values: T[]): Schema<T> {
  return schema({ type: typeof values[0] === 'number' ? 'integer' : 'string', enum: values })
}

/** Several fields of the same kind. */
export function each<T, const K extends string>(kind: Schema<T>, ...names: K[]): Record<K, Schema<T>> {
  return Object.fromEntries(names.map((name) => [name, kind])) as Record<K, Schema<T>>
}

/** An object of an answer. Optional fields may be missing or null: the platform writes either for "none". */
export function record<R extends Fields, O extends Fields = Record<never, never>>(
  required: R,
  optional?: O,
): Schema<Both<R, O, null>> {
  return object(required, optional ?? {}, orNull)
}

/** An object of a request. Optional fields may be missing. */
export function body<R extends Fields, O extends Fields = Record<never, never>>(
  required: R,
  optional?: O,
): Schema<Both<R, O, never>> {
  return object(required, optional ?? {}, (json) => json)
}

function object<T>(required: Fields, optional: Fields, change: (json: JsonSchema) => JsonSchema): Schema<T> {
  return schema({
    type: 'object',
    properties: Object.fromEntries([
      ...Object.entries(required).map(([name, { json }]) => [name, json]),
      ...Object.entries(optional).map(([name, { json }]) => [name, change(json)]),
    ]),
    required: Object.keys(required),
    additionalProperties: false,
  })
}

/** The same schema, which accepts null as well. */
export function orNull(json: JsonSchema): JsonSchema {
  return json.type === undefined ? json : { ...json, type: [json.type, 'null'].flat() }
}

/** One page of a list. */
export function pageOf<T>(item: Schema<T>): Schema<Page<T>> {
  return record({ list: listOf(item), total: long }, each(long, 'pageNum', 'pageSize', 'pages'))
}

/** One page of a list, as the platform answers it. Pages count from 1. */
export interface Page<T> {
  list: T[]
  /** Rows of all pages together. */
  total: number
  pageNum?: number | null
  pageSize?: number | null
  pages?: number | null
}
