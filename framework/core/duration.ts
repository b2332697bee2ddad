import { configError } from './errors.ts'

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/gy

/**
 * Milliseconds of a duration text such as `500ms`, `2s`, `1m30s`.
 *
 * A bare number, or a string that holds only one, is counted in `bareUnit`: milliseconds in TypeScript,
 * seconds in YAML (the older files' habit, reported by the scenario linter).
 *
 * @throws `ATP_DURATION` for anything else, negative and non-finite numbers included.
 */
export function parseDuration(value: unknown, bareUnit: 'ms' | 's' = 'ms'): number {
  const bare = UNIT_MS[bareUnit] as number
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value * bare
  if (typeof value === 'string') {
    const text = value.trim()
    if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * bare
    let total = 0
    let end = 0
    PART.lastIndex = 0
    for (let match = PART.exec(text); match; match = PART.exec(text)) {
      total += Number(match[1]) * (UNIT_MS[match[2] as string] as number)
      end = PART.lastIndex
    }
    if (end === text.length && end > 0) return total
  }
  throw configError('ATP_DURATION', `${JSON.stringify(value)} is not a duration`, {
    remedy: 'write a number with a unit: 500ms, 2s, 1m30s, 1h',
  })
}
