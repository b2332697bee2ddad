import { configError, protocolError } from '../core/index.ts'
import type { WireTime } from './schema.ts'

const WIRE_TEXT = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[+-]\d\d:?\d\d)?$/
const ZONE = /^(?:Z|([+-])(\d\d):(\d\d))$/

/**
 * Milliseconds since 1970 of a time in any of its wire forms: an object with `time`, a number of milliseconds, a
 * text with `T` or a blank between date and time. Undefined for undefined and null.
 *
 * @param zone UTC offset of texts without one
 * @throws `ATP_VDI_ANSWER` for any other text
 */
export function timestampMs(value: WireTime | null | undefined, zone: string): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number') return value
  if (typeof value === 'object') return value.time
  const [, date, time, offset = zone] = WIRE_TEXT.exec(value.trim()) ?? []
  const ms = date === undefined ? Number.NaN : Date.parse(`${date}T${time}${withColon(offset)}`)
  if (Number.isNaN(ms))
    throw protocolError('ATP_VDI_ANSWER', `${JSON.stringify(value.slice(0, 40))} is no time of the platform`)
  return ms
}

/** JavaScript reads `+0800` in no ISO text. */
function withColon(offset: string): string {
  return offset.replace(/^([+-]\d\d)(\d\d)$/, '$1:$2')
}

/**
 * A time as range queries take it.
 *
 * @param zone UTC offset of the platform's clock
 * @throws `ATP_VDI_OPTIONS` for a zone that is none
 */
export function rangeTime(time: Date, zone: string, form: 'blank' | 'iso'): string {
  if (form === 'iso') return time.toISOString()
  return new Date(time.getTime() + zoneMs(zone)).toISOString().slice(0, 19).replace('T', ' ')
}

/**
 * Milliseconds that a UTC offset such as `+08:00` or `Z` adds.
 *
 * @throws `ATP_VDI_OPTIONS` for anything else
 */
export function zoneMs(zone: string): number {
  const [whole, sign, hours, minutes] = ZONE.exec(zone) ?? []
  if (whole === undefined) {
    throw configError('ATP_VDI_OPTIONS', `"${zone}" is no UTC offset`, { remedy: 'write timestampZone as +08:00 or Z' })
  }
  return sign === undefined ? 0 : (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000
}
