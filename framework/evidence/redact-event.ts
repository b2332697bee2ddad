import { redact } from '../core/index.ts'

const DEEPEST = 12

/**
 * A copy of `value` that survives JSON and holds no known secret: texts pass through {@link redact}, bytes show
 * as their size, what JSON cannot express (functions, cycles, depth beyond 12) shows as a short word.
 *
 * Apply it in the process that knows the secrets, before an event leaves it.
 */
export function redactDeep<T>(value: T): T {
  return clean(value, [], undefined) as T
}

function clean(value: unknown, above: readonly object[], key: string | undefined): unknown {
  if (typeof value === 'string') return redact(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null) return value
  if (above.includes(value)) return '[circular]'
  if (above.length >= DEEPEST) return '[deeper]'
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  const path = [...above, value]
  const toJson = (value as { toJSON?: unknown }).toJSON
  if (typeof toJson === 'function') return clean(toJson.call(value, key ?? ''), path, key)
  if (value instanceof Error) return redact(`${value.name}: ${value.message}`)
  if (Array.isArray(value)) return value.map((item, index) => clean(item, path, String(index)))
  if (value instanceof Map) return clean(Object.fromEntries(value), path, key)
  if (value instanceof Set) return clean([...value], path, key)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [redact(name), clean(item, path, name)]))
}
