import type { FuncKeywordDefinition } from 'ajv'
import type { JsonSchema } from './schema.ts'

type Validate = ReturnType<NonNullable<FuncKeywordDefinition['compile']>>

/**
 * `additionalProperties: false` for ajv. Its own asks a dictionary for each field, which takes a multiple of all other
 * checks of an answer; rows of one list have the same fields in the same order, so they are compared with those of the
 * row before.
 */
export const KNOWN_FIELDS: FuncKeywordDefinition = {
  keyword: 'additionalProperties',
  type: 'object',
  errors: true,
  compile(_, parentSchema) {
    const known = new Set(Object.keys((parentSchema as JsonSchema).properties ?? {}))
    let before: readonly string[] = []
    const validate: Validate = (value) => {
      let place = 0
      for (const name in value) {
        if (name === before[place++]) continue
        const names = Object.keys(value)
        const unknown = names.find((one) => !known.has(one))
        if (unknown === undefined) {
          before = names
          return true
        }
        validate.errors = [{ keyword: 'additionalProperties', params: { additionalProperty: unknown }, parentSchema }]
        return false
      }
      return true
    }
    return validate
  },
}
