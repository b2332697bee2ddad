/** A JSON Schema (draft 7) fragment. */
export type JsonSchema = { [keyword: string]: unknown }

/** The parameters of a step kind, written flat beside `action`. Keys that are not listed are errors. */
export interface ParamsSchema {
  properties: Record<string, JsonSchema>
  required?: readonly string[]
  /** At least one of these parameters must be present. */
  requireOne?: readonly string[]
}

/**
 * What must be there before a step can run. `vm` is leased by the runner, `platform` is the VDI platform that the
 * configuration names. `apps` marks names that are known but cannot run here: a plug-in replaces such a step kind by one
 * of its own.
 */
export type StepNeed = 'vm' | 'platform' | 'apps'

/** The part of a step kind that reading a file needs: no code that runs. */
export interface StepSpec {
  /** Canonical name, `keyboard.type`. */
  readonly action: string
  /** Other spellings, with or without a dot. */
  readonly aliases: readonly string[]
  /** One line for documentation and editor completion. */
  readonly summary: string
  readonly params: ParamsSchema
  /** Older spelling → canonical parameter. */
  readonly paramAliases?: Readonly<Record<string, string>>
  readonly needs: readonly StepNeed[]
  /** The step holds steps of its own under `steps`. */
  readonly nested?: boolean
  /** `verify: true` means something for it. */
  readonly verifiable?: boolean
  /** Checks beyond the schema. Gets only the parameters that are known before the run. */
  check?(params: Readonly<Record<string, unknown>>, checks: TextChecks): CheckFinding[]
}

/** A framework error, or a remark that forbids nothing, about one parameter. */
export interface CheckFinding {
  param: string
  error?: unknown
  note?: string
}

/** Key-table checks, injected so that the model stays independent of layouts. Both throw what is wrong. */
export interface TextChecks {
  /** @throws `ATP_KEY_UNMAPPED` for a character the layout cannot make. */
  text(text: string, layout: string): void
  /** @throws `ATP_KEY_UNKNOWN` for a key or chord nobody knows. */
  chord(chord: string, layout: string): void
  /** `input.layout` of the scenario, or `us`. */
  layout: string
  /** A custom handler of this name is registered. */
  handler(name: string): boolean
}

/** All step kinds a reader may meet. */
export interface StepCatalog {
  /** By canonical name or alias. */
  find(name: string): StepSpec | undefined
  /** Canonical names. */
  readonly actions: readonly string[]
  hasHandler(name: string): boolean
}

/** Marks a duration in a parameter schema: normalised to text with a unit. */
export const DURATION: JsonSchema = {
  type: ['string', 'number'],
  format: 'atp-duration',
  description: 'Duration with unit: 500ms, 2s, 1m30s, 1h',
}
export const TEXT: JsonSchema = { type: 'string' }
export const NAME: JsonSchema = { type: 'string', minLength: 1 }
export const FLAG: JsonSchema = { type: 'boolean' }
export const COUNT: JsonSchema = { type: 'integer', minimum: 1 }

/** An expected text: contained in the actual one, or one of equals, contains, matches. */
export const TEXT_EXPECTATION: JsonSchema = {
  description: 'Text that must be contained, or a map with equals, contains or matches (a regular expression)',
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: { equals: TEXT, contains: TEXT, matches: { type: 'string', format: 'regex' } },
      additionalProperties: false,
      minProperties: 1,
    },
  ],
}

/** True for a schema made from {@link DURATION}. */
export function isDuration(schema: JsonSchema | undefined): boolean {
  return schema?.['format'] === 'atp-duration'
}
