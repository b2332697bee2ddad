import { internalError } from '../../framework/core/index.ts'
import type { PlatformBehaviour } from './options.ts'
import type { Fields, Shape } from './schema.ts'

type Form = Pick<PlatformBehaviour, 'timestamps' | 'timeZone' | 'emptyFields'>

/**
 * The JSON value of an answer: times in their wire form, fields without a value left out or null.
 *
 * @throws `ATP_LAB_PLATFORM_ANSWER` for a field that the shape does not have.
 */
export function present(shape: Shape, value: unknown, form: Form): unknown {
  if (value === undefined || value === null) return null
  switch (shape.type) {
    case 'datetime':
      return timeText(value as number, form.timestamps === 'iso' ? 'T' : ' ', form.timeZone)
    case 'timestamp':
      return timestamp(value as number, form)
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

function timestamp(ms: number, { timestamps, timeZone }: Form): unknown {
  if (timestamps === 'number') return ms
  if (timestamps !== 'object') return timeText(ms, timestamps === 'iso' ? 'T' : ' ', timeZone)
  const date = inZone(ms, timeZone)
  return {
    date: date.getUTCDate(),
    day: date.getUTCDay(),
    hours: date.getUTCHours(),
    minutes: date.getUTCMinutes(),
    month: date.getUTCMonth(),
    nanos: date.getUTCMilliseconds() * 1_000_000,
    seconds: date.getUTCSeconds(),
    time: ms,
    timezoneOffset: -offsetMinutes(timeZone),
    // As Java counts them.
    year: date.getUTCFullYear() - 1900,
  }
}

function timeText(ms: number, between: ' ' | 'T', timeZone: string): string {
  return inZone(ms, timeZone).toISOString().slice(0, 19).replace('T', between)
}

/** A date whose fields in UTC are those of a clock in this zone. */
function inZone(ms: number, timeZone: string): Date {
  return new Date(ms + offsetMinutes(timeZone) * 60_000)
}

function offsetMinutes(timeZone: string): number {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)$/.exec(timeZone) ?? []
  if (sign === undefined) throw new RangeError(`"${timeZone}" is no UTC offset`)
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}

const TIME = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,3})?(Z|[+-]\d\d:?\d\d)?$/

/**
 * Milliseconds of a time in a query: `2026-01-31 12:00:00` or ISO 8601; undefined when it is neither.
 *
 * @param timeZone UTC offset of times without one
 */
export function parseTime(text: string, timeZone: string): number | undefined {
  const match = TIME.exec(text)
  if (!match) return undefined
  const ms = Date.parse(text.replace(' ', 'T') + (match[1] === undefined ? timeZone : ''))
  return Number.isNaN(ms) ? undefined : ms
}
