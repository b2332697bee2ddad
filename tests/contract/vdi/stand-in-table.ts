import type { Fields, Shape } from '../../../lab/platform/schema.ts'
import type { Wire, WireField } from './conformance.ts'

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

const known = new WeakMap<Shape, Wire>()

/** A shape of the stand-in in the form of the comparison. */
export function wireOf(shape: Shape): Wire {
  let wire = known.get(shape)
  if (wire) return wire
  wire = { kind: KINDS[shape.type] }
  known.set(shape, wire)
  if (shape.items) wire.items = wireOf(shape.items)
  if (shape.fields) wire.fields = fieldsOf(shape.fields)
  return wire
}

/** Fields of the stand-in in the form of the comparison. */
export function fieldsOf(fields: Fields): Record<string, WireField> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, shape]) => [name, { wire: wireOf(shape), required: shape.required ?? false }]),
  )
}
