import { configError, Secret } from '../core/index.ts'
import { isMap } from './model/dialect.ts'
import type { JsonSchema, Step } from './model/index.ts'
import { paramFaults } from './model/params.ts'
import { revealed, type RunVariables } from './run-variables.ts'
import type { StepKind, StepParams } from './step-kind.ts'

/**
 * A step's parameters with expressions filled in, checked again now that all values are known.
 *
 * @throws `ATP_SCENARIO_UNDEFINED`, `ATP_SCENARIO_VALUE`.
 */
export function fillParams(kind: StepKind, step: Step, variables: RunVariables): StepParams {
  const filled = variables.fill(step.params) as Record<string, unknown>
  const schema = { type: 'object', properties: kind.params.properties }
  const clear = asTexts(schema, step.params, revealed(filled)) as Record<string, unknown>
  const [fault] = paramFaults(kind.params, clear)
  if (fault) throw configError('ATP_SCENARIO_VALUE', `${kind.action}: ${fault.message}`)
  for (const name of kind.opaque ?? []) if (filled[name] instanceof Secret) clear[name] = filled[name]
  return clear
}

/** Numbers and flags that an expression put where a text belongs, as texts. What was written as a number stays one. */
function asTexts(schema: JsonSchema | undefined, written: unknown, value: unknown): unknown {
  if (Array.isArray(written) && Array.isArray(value)) {
    return value.map((item, index) => asTexts(schema?.['items'] as JsonSchema, written[index], item))
  }
  if (isMap(written) && isMap(value)) {
    const known = (schema?.['properties'] ?? {}) as Record<string, JsonSchema>
    const others = schema?.['additionalProperties'] as JsonSchema | undefined
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, asTexts(known[key] ?? others, written[key], inner)]),
    )
  }
  const scalar = typeof value === 'number' || typeof value === 'boolean'
  return scalar && typeof written === 'string' && schema?.['type'] === 'string' ? String(value) : value
}
