import { parseDuration } from '../../core/duration.ts'
import type { Problems } from './problem.ts'
import { suggestion } from './problem.ts'
import type { Source } from './source.ts'
import type { StepCatalog, TextChecks } from './step-spec.ts'
import { isTemplate } from './template.ts'

/** What reading a file is done with. */
export interface Reading {
  source: Source
  problems: Problems
  catalog: StepCatalog
  /** Unknown keys become notes. */
  lenient: boolean
  /** Needs nobody provides are errors. Off for printing only. */
  checkNeeds: boolean
  checks: TextChecks | undefined
}

// Timers count to 2^31 - 1 milliseconds.
const LONGEST_MS = 2_147_000_000

/**
 * A duration as text with a unit; `undefined` after reporting what is wrong. Bare numbers are seconds.
 *
 * @param late the value is needed only when the step runs, so that it may hold expressions.
 */
export function readDuration(
  reading: Reading,
  value: unknown,
  pointer: string,
  { bareUnit = 's', late = false }: { bareUnit?: 's' | 'ms'; late?: boolean } = {},
): string | undefined {
  const at = reading.source.value(pointer)
  if (isTemplate(value)) {
    if (late) return value
    badValue(reading, pointer, 'this duration must be known before the run', 'write it without ${…}')
    return undefined
  }
  const text = String(value).trim()
  const bare = /^[\d.]+$/.test(text)
  try {
    if (parseDuration(value, bareUnit) > LONGEST_MS) {
      reading.problems.error('ATP_DURATION', at, `${text} is longer than the 24 days a timer can count`)
      return undefined
    }
  } catch (error) {
    reading.problems.thrown(error, at)
    return undefined
  }
  if (!bare) return text
  if (bareUnit === 's') {
    reading.problems.note('ATP_SCENARIO_BARE_SECONDS', at, `${text} is read as ${text} seconds`, `write ${text}s`)
  }
  return text + bareUnit
}

/** Reports a key nobody knows: an error, or a note when reading leniently. */
export function unknownKey(
  reading: Reading,
  key: string,
  pointer: string,
  known: readonly string[],
  where: string,
): void {
  const report = reading.lenient ? 'note' : 'error'
  reading.problems[report](
    'ATP_SCENARIO_UNKNOWN_KEY',
    reading.source.key(pointer),
    `${where} has no key "${key}"`,
    suggestion(key, known),
  )
}

/** A value of the wrong shape. */
export function badValue(reading: Reading, pointer: string, message: string, remedy?: string): void {
  reading.problems.error('ATP_SCENARIO_VALUE', reading.source.value(pointer), message, remedy)
}

/** A non-empty text, or `undefined` after reporting. */
export function readText(reading: Reading, value: unknown, pointer: string, what: string): string | undefined {
  if (typeof value === 'string' && value !== '') return value
  const quote = typeof value === 'number' || typeof value === 'boolean' ? 'put it in quotes' : undefined
  badValue(reading, pointer, `${what} must be text, not ${JSON.stringify(value)}`, quote)
  return undefined
}

/** A list of non-empty texts; one text counts as a list of one. */
export function readTexts(reading: Reading, value: unknown, pointer: string, what: string): string[] | undefined {
  if (!Array.isArray(value)) {
    const one = readText(reading, value, pointer, what)
    return one === undefined ? undefined : [one]
  }
  return value.flatMap((item, index) => readText(reading, item, `${pointer}/${index}`, what) ?? [])
}
