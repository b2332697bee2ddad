import { inspect } from 'node:util'
import { configure, getLogger, type Logger, type LogLevel, type LogRecord } from '@logtape/logtape'
import { configError, messageOf } from './errors.ts'
import { nearest } from './nearest.ts'
import { redact } from './secret.ts'

const LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'fatal'] as const

/** Rooms that log, with those inside them: a room's level is that of the rooms in it, unless they have their own. */
const ROOMS = {
  cli: [],
  desktop: [],
  hosts: [],
  input: [],
  lab: [],
  leases: [],
  metrics: [],
  protocols: ['libvirt', 'qga', 'qmp', 'sasl', 'spice', 'virtio-serial'],
  runner: [],
  transport: [],
  verify: [],
} as const
type Outer = keyof typeof ROOMS
/** Name of a room that logs, as `ATP_LOG` takes it. */
export type LogRoom = Outer | (typeof ROOMS)[Outer][number]

type Category = readonly [string, ...string[]]
const CATEGORIES = new Map(
  Object.entries<readonly string[]>(ROOMS).flatMap(([outer, inner]): [string, Category][] => [
    [outer, ['atp', outer]],
    ...inner.map((name): [string, Category] => [name, ['atp', outer, name]]),
  ]),
)

/** The logger of one room: `logger('leases')`. Silent until the program calls {@link configureLogging}. */
export function logger(room: LogRoom): Logger {
  return getLogger(CATEGORIES.get(room) as Category)
}

/**
 * Turns on logging to stderr as `ATP_LOG` says: a level for all (`debug`) or per room
 * (`hosts=debug,protocols=info`). Nothing is logged below `warning` elsewhere.
 *
 * @throws `ATP_LOG` for an unknown level or room.
 */
export async function configureLogging(spec = process.env['ATP_LOG'] ?? 'warning'): Promise<void> {
  const { base, rooms } = parseSpec(spec)
  await configure({
    reset: true,
    // Not the console: Vitest takes that of its workers for the output of tests.
    sinks: { stderr: (record) => void process.stderr.write(`${formatLogRecord(record)}\n`) },
    loggers: [
      { category: ['atp'], lowestLevel: base, sinks: ['stderr'] },
      ...[...rooms].map(([room, lowestLevel]) => ({
        category: [...(CATEGORIES.get(room) as Category)],
        lowestLevel,
        sinks: ['stderr'],
        // A room's own level replaces the outer one instead of adding a second line.
        parentSinks: 'override' as const,
      })),
      { category: ['logtape', 'meta'], lowestLevel: 'error', sinks: ['stderr'] },
    ],
  })
}

function parseSpec(spec: string): { base: LogLevel; rooms: Map<string, LogLevel> } {
  let base: LogLevel = 'warning'
  const rooms = new Map<string, LogLevel>()
  for (const part of spec.split(',').filter((text) => text.trim() !== '')) {
    const [left = '', right] = part.split('=', 2).map((text) => text.trim())
    const level = LEVELS.find((one) => one === (right ?? left))
    if (!level) {
      throw configError('ATP_LOG', `ATP_LOG names no level: "${part}"`, {
        remedy: `use one of ${LEVELS.join(', ')}, alone or as room=level`,
      })
    }
    if (right === undefined) base = level
    else if (CATEGORIES.has(left)) rooms.set(left, level)
    else {
      const guess = nearest(left, CATEGORIES.keys())
      throw configError(
        'ATP_LOG',
        `ATP_LOG names no room: "${left}"${guess === undefined ? '' : `; did you mean "${guess}"?`}`,
        { remedy: `use one of ${[...CATEGORIES.keys()].join(', ')}` },
      )
    }
  }
  return { base, rooms }
}

/**
 * One record as every process prints it: `<ISO time> <level> <pid> <room>: <text>`, without secrets; the lines of
 * a longer text are indented.
 */
export function formatLogRecord(record: LogRecord): string {
  const text = record.message.map((part) => (typeof part === 'string' ? part : valueText(part))).join('')
  const time = new Date(record.timestamp).toISOString()
  const line = `${time} ${record.level.padEnd(7)} ${process.pid} ${record.category.at(-1)}: ${text}`
  return redact(line).replaceAll(/\r?\n/g, '\n    ')
}

function valueText(value: unknown): string {
  return value instanceof Error ? messageOf(value) : inspect(value, { breakLength: Infinity, depth: 4 })
}
