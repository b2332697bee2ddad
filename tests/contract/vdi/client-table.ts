import type { JsonSchema } from '../../../framework/vdi/schema.ts'
import type { Operation } from '../../../framework/vdi/operation.ts'
import type { TableEntry, Wire, WireField } from './conformance.ts'

/** The client's operations in the form of the comparison. */
export function clientTable(operations: readonly Operation[]): TableEntry[] {
  return operations.map(({ method, path, envelope, query, body, answer }) => ({
    operation: `${method} ${path}`,
    envelope,
    query: query ? fieldsOf(query.json) : {},
    body: body && wireOf(body.json),
    answer: answer && wireOf(answer.json),
  }))
}

const known = new WeakMap<JsonSchema, Wire>()

function wireOf(json: JsonSchema): Wire {
  let wire = known.get(json)
  if (!wire) known.set(json, (wire = makeWire(json)))
  return wire
}

function makeWire(json: JsonSchema): Wire {
  const types = [json.type ?? []].flat().filter((type) => type !== 'null')
  const kind = types.length === 0 ? 'any' : types.join(' or ')
  if (kind === 'string or integer or object') return { kind: 'time' }
  if (kind === 'array' && json.items) return { kind, items: wireOf(json.items) }
  if (kind === 'object') return json.properties ? { kind, fields: fieldsOf(json) } : { kind: 'map' }
  return { kind }
}

function fieldsOf({ properties = {}, required = [] }: JsonSchema): Record<string, WireField> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, json]) => [name, { wire: wireOf(json), required: required.includes(name) }]),
  )
}
