import type { ErrorObject } from 'ajv'
import { nearest } from '../core/index.ts'

/** One thing that is wrong in a document, by the words of its schema. */
export interface SchemaProblem {
  /** JSON pointer of the value: `/hosts/0/uri`. */
  pointer: string
  /** An unknown key inside that value, where the problem is one. */
  key?: string
  message: string
}

/** Ajv's findings as a reader wants them: each once, unknown keys with the one that was probably meant. */
export function schemaProblems(errors: ErrorObject[], schema: object): SchemaProblem[] {
  const problems = ofMeantKinds(errors).flatMap((error): SchemaProblem[] => {
    const pointer = error.instancePath
    switch (error.keyword) {
      case 'oneOf':
        // It only repeats what its branches said.
        return errors.length === 1 ? [{ pointer, message: error.message ?? error.keyword }] : []
      case 'anyOf':
        return [{ pointer, message: `must have ${wantedKeys(error, schema)}` }]
      case 'additionalProperties': {
        const key = (error.params as { additionalProperty: string }).additionalProperty
        const guess = nearest(key, knownKeys(error, schema))
        return [{ pointer, key, message: `unknown setting "${key}"${guess ? `; did you mean "${guess}"?` : ''}` }]
      }
      case 'enum': {
        const allowed = (error.params as { allowedValues: unknown[] }).allowedValues
        return [{ pointer, message: `must be one of ${allowed.join(', ')}` }]
      }
      case 'const':
        return [
          { pointer, message: `must be ${JSON.stringify((error.params as { allowedValue: unknown }).allowedValue)}` },
        ]
      default:
        // Said by "anyOf" as a whole.
        return error.schemaPath.includes('/anyOf/') ? [] : [{ pointer, message: error.message ?? error.keyword }]
    }
  })
  return [...new Map(problems.map((problem) => [`${problem.pointer} ${problem.message}`, problem])).values()]
}

/** Without what alternatives of another kind say (a text, a map), as long as one is of the kind that is written. */
function ofMeantKinds(errors: ErrorObject[]): ErrorObject[] {
  const alternatives = new Map<string, { of: string; otherKind: boolean }>()
  for (const { schemaPath } of errors) {
    const [, branch, of, kind] = /^((.*\/oneOf)\/\d+)\/(type$|const$)?/.exec(schemaPath) ?? []
    if (branch === undefined || of === undefined) continue
    const otherKind = (alternatives.get(branch)?.otherKind ?? false) || kind !== undefined
    alternatives.set(branch, { of, otherKind })
  }
  const all = [...alternatives.values()]
  const left = [...alternatives].filter(
    ([, { of, otherKind }]) => otherKind && all.some((one) => one.of === of && !one.otherKind),
  )
  return errors.filter(({ schemaPath }) => !left.some(([branch]) => schemaPath.startsWith(`${branch}/`)))
}

/** `anyOf` stands in our schemas for alternatives of required keys only. */
function wantedKeys(error: ErrorObject, schema: object): string {
  const branches = schemaAt(schema, schemaSteps(error)) as { required: string[] }[]
  return branches.map(({ required }) => `"${required.join('" and "')}"`).join(' or ')
}

/** The settings allowed at the place an error points to. */
function knownKeys(error: ErrorObject, schema: object): string[] {
  const parent = schemaAt(schema, schemaSteps(error).slice(0, -1)) as { properties?: object }
  return Object.keys(parent.properties ?? {})
}

function schemaSteps({ schemaPath }: ErrorObject): string[] {
  return schemaPath.replace(/^#\//, '').split('/')
}

function schemaAt(schema: unknown, steps: string[]): unknown {
  return steps.reduce((at, step) => (at as Record<string, unknown>)[step], schema)
}

/** `hosts[0].uri` of `/hosts/0/uri`; "top level" of the empty pointer. */
export function settingName(pointer: string): string {
  const name = pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join('.')
    .replaceAll(/\.(\d+)(?=\.|$)/g, '[$1]')
  return name || 'top level'
}
