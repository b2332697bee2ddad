import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { pointerPart } from './source.ts'
import type { JsonSchema, ParamsSchema } from './step-spec.ts'
import { isTemplate } from './template.ts'

const ajv = new Ajv({ allErrors: true, strict: false })
ajv.addFormat('atp-duration', true)
ajv.addFormat('regex', (text: string) => {
  try {
    new RegExp(text, 'u')
    return true
  } catch {
    return false
  }
})
const compiled = new WeakMap<ParamsSchema, ValidateFunction>()

/** The schema of a step's parameters as one JSON Schema object. */
export function objectSchema(params: ParamsSchema): JsonSchema {
  return {
    type: 'object',
    properties: params.properties,
    additionalProperties: false,
    ...(params.required ? { required: [...params.required] } : {}),
    ...(params.requireOne ? { anyOf: params.requireOne.map((name) => ({ required: [name] })) } : {}),
  }
}

/** What is wrong with a value: a JSON pointer into the parameters and a sentence. */
export interface ParamFault {
  pointer: string
  message: string
}

/**
 * Checks parameters against their schema. Values that hold `${…}` are left for run time, when they are known.
 */
export function paramFaults(schema: ParamsSchema, params: Readonly<Record<string, unknown>>): ParamFault[] {
  let validate = compiled.get(schema)
  if (!validate) compiled.set(schema, (validate = ajv.compile(objectSchema(schema))))
  if (validate(params)) return []
  const faults: ParamFault[] = []
  const missing = (schema.requireOne ?? []).every((name) => params[name] === undefined)
  if (schema.requireOne && missing) faults.push({ pointer: '', message: `needs ${listed(schema.requireOne)}` })
  for (const error of validate.errors ?? []) {
    if (error.instancePath === '' && (error.keyword === 'anyOf' || error.schemaPath.startsWith('#/anyOf'))) continue
    if (holdsTemplate(valueAt(params, error.instancePath))) continue
    // The branches of an alternative say less than the alternative as a whole.
    if (/\/anyOf\/\d+\//.test(error.schemaPath)) continue
    const pointer =
      error.instancePath +
      (error.keyword === 'additionalProperties' ? pointerPart(error.params['additionalProperty'] as string) : '')
    faults.push({ pointer, message: sentence(error, valueAt(params, error.instancePath)) })
  }
  return faults
}

function listed(names: readonly string[]): string {
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${names.at(-1)}` : (names[0] as string)
}

function holdsTemplate(value: unknown): boolean {
  if (isTemplate(value)) return true
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsTemplate)
}

function valueAt(params: unknown, pointer: string): unknown {
  let value = params
  for (const part of pointer.split('/').slice(1)) {
    value = (value as Record<string, unknown>)[part.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return pointer === '' ? undefined : value
}

function sentence(error: ErrorObject, value: unknown): string {
  const name = error.instancePath.slice(1).replaceAll('/', '.')
  switch (error.keyword) {
    case 'required':
      return `${name ? `${name} ` : ''}needs "${error.params['missingProperty']}"`
    case 'additionalProperties':
      return `${name ? `${name} has an` : 'has an'} unknown key "${error.params['additionalProperty']}"`
    case 'enum':
      return `${name} is ${JSON.stringify(value)}; it must be one of ${(error.params['allowedValues'] as unknown[]).join(', ')}`
    case 'type': {
      const wanted = [error.params['type']].flat().join(' or ')
      const quote = wanted.includes('string') && typeof value !== 'object' ? '; put it in quotes' : ''
      return `${name} must be a ${wanted}, not ${JSON.stringify(value)}${quote}`
    }
    case 'anyOf':
      return `${name} is ${JSON.stringify(value)}, which is none of the forms it may have`
    default:
      return `${name} ${error.message ?? 'is not allowed'}`
  }
}
