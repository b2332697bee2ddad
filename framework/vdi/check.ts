import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { nearest } from '../core/index.ts'
import { excerpt } from './excerpt.ts'
import { KNOWN_FIELDS } from './known-fields.ts'
import type { JsonSchema } from './schema.ts'

/**
 * How exactly answers must fit. Strict: as the schema says, no unknown fields. Tolerant: unknown fields are kept, and
 * a scalar in another spelling (`"5"` for 5) is converted; missing required fields, null for them and other types are
 * errors.
 */
export type Validation = 'strict' | 'tolerant'

/** The first place where a value does not fit its schema. */
export interface Mismatch {
  /** `data.list[3].status` */
  path: string
  /** `integer` */
  expected: string
  /** `a text, "abc"`; of fields that may hold secrets the kind only. */
  found: string
}

const SECRET_FIELD = /token|password|passwd|pwd|key|secret|smsCode|managePwd/i
const NUMBER = /^-?\d+(\.\d+)?$/
const SHOWN = 60
const LONGEST_PATH = 200

// Without the schema of schemas, which uses the keyword otherwise.
const strict = new Ajv({ strict: false, verbose: true, meta: false, validateSchema: false })
strict.removeKeyword('additionalProperties')
strict.addKeyword(KNOWN_FIELDS)
// Ajv's own conversion reads null as 0 and as an empty text: a VM of unknown status would be one that is off.
const tolerant = new Ajv({ strict: false, verbose: true, allErrors: true })
tolerant.removeKeyword('additionalProperties')

const compiled = {
  strict: new WeakMap<JsonSchema, ValidateFunction>(),
  tolerant: new WeakMap<JsonSchema, ValidateFunction>(),
}

/**
 * Checks a value against a schema, which is compiled on first use. Tolerant checks convert inside the value.
 *
 * @returns undefined if it fits
 */
export function check(schema: JsonSchema, value: unknown, validation: Validation): Mismatch | undefined {
  const cache = compiled[validation]
  let validate = cache.get(schema)
  if (!validate) cache.set(schema, (validate = (validation === 'strict' ? strict : tolerant).compile(schema)))
  if (validate(value)) return undefined
  if (validation === 'tolerant' && respell(value, validate.errors as ErrorObject[]) && validate(value)) return undefined
  return mismatch((validate.errors as ErrorObject[])[0] as ErrorObject)
}

/** Converts scalars of the wrong type where they mean the right one. False where none does. */
function respell(value: unknown, errors: readonly ErrorObject[]): boolean {
  let found = false
  for (const { keyword, instancePath, params, data } of errors) {
    if (keyword !== 'type' || instancePath === '') continue
    const converted = respelled(data, [params['type']].flat() as string[])
    if (converted === undefined) continue
    const keys = instancePath.slice(1).split('/').map(unescaped)
    const last = keys.pop() as string
    const parent = keys.reduce((inner, key) => (inner as Record<string, unknown>)[key], value)
    ;(parent as Record<string, unknown>)[last] = converted
    found = true
  }
  return found
}

function respelled(data: unknown, types: readonly string[]): string | number | boolean | undefined {
  const text = typeof data === 'string' ? data.trim() : undefined
  if (types.includes('integer') || types.includes('number')) {
    if (text !== undefined && NUMBER.test(text)) return Number(text)
    if (typeof data === 'boolean') return Number(data)
  }
  if (types.includes('boolean')) {
    if (text === 'true' || data === 1) return true
    if (text === 'false' || data === 0) return false
  }
  return types.includes('string') && (typeof data === 'number' || typeof data === 'boolean') ? String(data) : undefined
}

/** A part of a JSON pointer (RFC 6901 §4). */
function unescaped(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~')
}

function mismatch({ keyword, instancePath, params, data, parentSchema }: ErrorObject): Mismatch {
  const at = readable(instancePath)
  const inside = (name: string) => (at === '' ? name : `${at}.${name}`)
  switch (keyword) {
    case 'required':
      return { path: inside(params['missingProperty']), expected: 'a value', found: 'nothing' }
    case 'additionalProperties': {
      const name = excerpt(params['additionalProperty'] as string, LONGEST_PATH)
      const guess = nearest(name, Object.keys((parentSchema as JsonSchema).properties ?? {}))
      return {
        path: inside(name),
        expected: `no such field${guess === undefined ? '' : `; is "${guess}" meant?`}`,
        found: kindAndValue((data as Record<string, unknown>)[params['additionalProperty']], name),
      }
    }
    default:
      return { path: at || 'the whole', expected: expectation(keyword, params), found: kindAndValue(data, at) }
  }
}

function expectation(keyword: string, params: Record<string, unknown>): string {
  switch (keyword) {
    case 'type':
      return [params['type']].flat().join(' or ')
    case 'enum':
      return `one of ${(params['allowedValues'] as unknown[]).join(', ')}`
    case 'minItems':
      return `at least ${params['limit']} entry`
    default:
      return `a value ${params['comparison']} ${params['limit']}`
  }
}

function kindAndValue(value: unknown, path: string): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object') return 'an object'
  const kind = typeof value === 'string' ? 'a text' : `a ${typeof value}`
  if (SECRET_FIELD.test(path.slice(path.lastIndexOf('.') + 1))) return kind
  return `${kind}, ${excerpt(JSON.stringify(value) ?? '', SHOWN)}`
}

function readable(pointer: string): string {
  return excerpt(pointer, LONGEST_PATH)
    .slice(1)
    .replaceAll(/\/(\d+)(?=\/|$)/g, '[$1]')
    .replaceAll('/', '.')
}
