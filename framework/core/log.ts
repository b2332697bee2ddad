import { configure, getConsoleSink, getLogger, type Logger, type LogLevel } from '@logtape/logtape'
import { configError } from './errors.ts'
import { redact } from './secret.ts'

const LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'fatal'] as const

/** The logger of one room: `logger('leases')`. Silent until the program calls {@link configureLogging}. */
export function logger(room: string): Logger {
  return getLogger(['atp', room])
}

/**
 * Turns on logging to stderr as `ATP_LOG` says: a level for all (`debug`) or per room
 * (`hosts=debug,protocols=info`). Nothing is logged below `warning` elsewhere.
 *
 * @throws `ATP_LOG` for an unknown level.
 */
export async function configureLogging(spec = process.env['ATP_LOG'] ?? 'warning'): Promise<void> {
  const rooms: { category: string[]; lowestLevel: LogLevel; sinks: string[] }[] = []
  let base: LogLevel = 'warning'
  for (const part of spec.split(',').filter(Boolean)) {
    const [left, right] = part.split('=') as [string, string | undefined]
    const level = (right ?? left).trim() as (typeof LEVELS)[number]
    if (!LEVELS.includes(level)) {
      throw configError('ATP_LOG', `ATP_LOG names no level: "${part}"`, {
        remedy: `use one of ${LEVELS.join(', ')}, alone or as room=level`,
      })
    }
    if (right === undefined) base = level
    else rooms.push({ category: ['atp', left.trim()], lowestLevel: level, sinks: ['stderr'] })
  }
  // A room's own level replaces the base instead of adding a second line.
  const own = rooms.map((room) => ({ ...room, parentSinks: 'override' as const }))
  await configure({
    reset: true,
    sinks: {
      stderr: getConsoleSink({
        formatter: (record) =>
          redact(
            `${new Date(record.timestamp).toISOString()} ${record.level.padEnd(7)} ${record.category.join('.')}: ` +
              record.message.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(''),
          ),
        levelMap: { trace: 'error', debug: 'error', info: 'error', warning: 'error', error: 'error', fatal: 'error' },
      }),
    },
    loggers: [
      { category: ['atp'], lowestLevel: base, sinks: ['stderr'] },
      ...own,
      { category: ['logtape', 'meta'], lowestLevel: 'error', sinks: ['stderr'] },
    ],
  })
}
