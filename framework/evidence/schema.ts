import { type ErrorObject, Ajv } from 'ajv'
import schema from '../../schemas/run-events.schema.json' with { type: 'json' }
import { protocolError } from '../core/index.ts'
import type { RunEvent } from './events.ts'

/** JSON Schema of one run event, as published in `schemas/run-events.schema.json`. */
export const runEventSchema: object = schema

const ajv = new Ajv({ discriminator: true, allErrors: true })
const validate = ajv.compile<RunEvent>(schema)

/**
 * Checks that a value is a run event of this version.
 *
 * @throws `ATP_EVIDENCE_EVENT` naming every place that does not fit.
 */
export function assertRunEvent(value: unknown): asserts value is RunEvent {
  if (validate(value)) return
  const { type, v } = (value ?? {}) as { type?: unknown; v?: unknown }
  const places = (validate.errors ?? []).map(describe)
  throw protocolError(
    'ATP_EVIDENCE_EVENT',
    `not a run event (type ${JSON.stringify(type)}, version ${JSON.stringify(v)}): ${places.join('; ')}`,
    { verdict: 'framework', context: { places } },
  )
}

/**
 * Reads one stored line.
 *
 * @throws `ATP_EVIDENCE_EVENT` when it is not JSON or no run event.
 */
export function parseRunEvent(line: string): RunEvent {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw protocolError('ATP_EVIDENCE_EVENT', `not a run event: the line is not JSON`, { cause, verdict: 'framework' })
  }
  assertRunEvent(value)
  return value
}

function describe({ instancePath, message }: ErrorObject): string {
  return `${instancePath || 'the event'} ${message ?? 'does not fit'}`
}
