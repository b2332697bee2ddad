import type { Operation } from '../../../lab/platform/operation.ts'
import type { Fields, Shape } from '../../../lab/platform/schema.ts'
import type { TableEntry, Wire, WireField } from './conformance.ts'

const KINDS: Record<Shape['type'], string> = {
  string: 'string',
  int: 'integer',
  long: 'integer',
  decimal: 'number',
  bool: 'boolean',
  datetime: 'string',
  timestamp: 'time',
  any: 'any',
  array: 'array',
  object: 'object',
  map: 'map',
}

/** The stand-in's operations in the form of the comparison. */
export function standInTable(operations: readonly Operation[]): TableEntry[] {
  return operations.map(({ method, path, envelope, query, body, answer }) => ({
    operation: `${method} ${path}`,
    envelope,
    query: fieldsOf(query),
    body: body && wireOf(body),
    answer: answer && wireOf(answer),
  }))
}

const known = new WeakMap<Shape, Wire>()

function wireOf(shape: Shape): Wire {
  let wire = known.get(shape)
  if (wire) return wire
  wire = { kind: KINDS[shape.type] }
  known.set(shape, wire)
  if (shape.items) wire.items = wireOf(shape.items)
  if (shape.fields) wire.fields = fieldsOf(shape.fields)
  return wire
}

function fieldsOf(fields: Fields): Record<string, WireField> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, shape]) => [name, { wire: wireOf(shape), required: shape.required ?? false }]),
  )
}
