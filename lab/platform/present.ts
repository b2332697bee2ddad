import { internalError } from '../../framework/core/index.ts'
import type { PlatformBehaviour } from './options.ts'
import type { Fields, Shape } from './schema.ts'

type Form = Pick<PlatformBehaviour, 'timestamps' | 'emptyFields'>

/**
 * The JSON value of an answer: times in their wire form, fields without a value left out or null.
 *
 * @throws `ATP_LAB_PLATFORM_ANSWER` for a field that the shape does not have.
 */
export function present(shape: Shape, value: unknown, form: Form): unknown {
  if (value === undefined || value === null) return null
  switch (shape.type) {
    case 'datetime':
      return timeText(value as number, form.timestamps === 'iso' ? 'T' : ' ')
    case 'timestamp':
      return timestamp(value as number, form.timestamps)
    case 'array':
      return (value as unknown[]).map((item) => present(shape.items as Shape, item, form))
    case 'object':
      return presentObject(shape, value as Record<string, unknown>, form)
    default:
      return value
  }
}

function presentObject(shape: Shape, value: Record<string, unknown>, form: Form): object {
  const fields = shape.fields as Fields
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(fields, name)) continue
    throw internalError('ATP_LAB_PLATFORM_ANSWER', `${shape.name} has no field "${name}", but an answer does`)
  }
  const shown: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) {
    const inner = present(field, value[name], form)
    if (inner !== null || form.emptyFields === 'null') shown[name] = inner
  }
  return shown
}

function timestamp(ms: number, form: Form['timestamps']): unknown {
  if (form === 'number') return ms
  if (form !== 'object') return timeText(ms, form === 'iso' ? 'T' : ' ')
  const date = new Date(ms)
  return {
    date: date.getDate(),
    day: date.getDay(),
    hours: date.getHours(),
    minutes: date.getMinutes(),
    month: date.getMonth(),
    nanos: date.getMilliseconds() * 1_000_000,
    seconds: date.getSeconds(),
    time: ms,
    timezoneOffset: date.getTimezoneOffset(),
    // As Java counts them.
    year: date.getFullYear() - 1900,
  }
}

function timeText(ms: number, between: ' ' | 'T'): string {
  const date = new Date(ms)
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day}${between}${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** Milliseconds of a time in a query: `2026-01-31 12:00:00` or ISO 8601; undefined when it is neither. */
export function parseTime(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:?\d\d)?$/.test(text)) return undefined
  const ms = Date.parse(text.replace(' ', 'T'))
  return Number.isNaN(ms) ? undefined : ms
}
