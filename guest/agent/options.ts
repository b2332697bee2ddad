import { readFileSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parse as parseYaml } from 'yaml'
import { configError, messageOf, type AtpError } from '../../framework/core/errors.ts'
import { parseDuration } from '../../framework/core/duration.ts'
import { nearest } from '../../framework/core/nearest.ts'
import type { LogLevel } from '../core/index.ts'
import { TRANSPORTS, type TransportName } from './transports/endpoint.ts'

/** What an agent is started with, from flags, environment and file. */
export interface AgentOptions {
  server?: string
  transport?: TransportName
  vmId?: string
  token?: string
  verifiers: string[]
  plugins: string[]
  /** Path of PEM certificates to trust. */
  ca?: string
  logLevel: LogLevel
  autoReconnect: boolean
  reconnectIntervalMs: number
  trace: boolean
  testInput: boolean
  testDurationMs: number
}

/** How a setting is written; its name in a file is that of the flag with `_`, in the environment in capitals. */
interface Setting {
  flag: string
  kind: 'text' | 'list' | 'switch'
}

const SETTINGS: readonly Setting[] = [
  { flag: 'server', kind: 'text' },
  { flag: 'transport', kind: 'text' },
  { flag: 'vm-id', kind: 'text' },
  { flag: 'token-file', kind: 'text' },
  { flag: 'verifiers', kind: 'list' },
  { flag: 'plugin', kind: 'list' },
  { flag: 'ca', kind: 'text' },
  { flag: 'log-level', kind: 'text' },
  { flag: 'auto-reconnect', kind: 'switch' },
  { flag: 'reconnect-interval', kind: 'text' },
  { flag: 'trace', kind: 'switch' },
]
const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug']
const SHORTEST_INTERVAL_MS = 10
const PREFIX = 'ATP_VERIFIER_'
/** The token itself; there is no flag for it, since everybody can read those. */
export const TOKEN_VARIABLE = `${PREFIX}TOKEN`

/** Names of all environment variables. */
export const VARIABLES: readonly string[] = [
  ...SETTINGS.map(({ flag }) => variableOf(flag)),
  TOKEN_VARIABLE,
  `${PREFIX}CONFIG`,
]

/** Texts by flag name, from one place. */
type Values = Map<string, string[]>

/** What the command line asks for instead of running. */
export type CommandLine = { show: 'help' | 'version' } | { options: AgentOptions; warnings: string[] }

/**
 * Settings of the command line, else of the environment, else of the file named by `--config`, else the defaults.
 *
 * @throws `ATP_VERIFIER_OPTIONS`
 */
export function readOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>>): CommandLine {
  const flags = parseFlags(args)
  if (flags.values['help']) return { show: 'help' }
  if (flags.values['version']) return { show: 'version' }
  const configPath = (flags.values['config'] as string | undefined) ?? env[`${PREFIX}CONFIG`]
  const places = [
    flagValues(flags.values),
    environmentValues(env),
    configPath === undefined ? new Map() : fileValues(configPath),
  ]
  const all = (flag: string) => places.find((values) => values.has(flag))?.get(flag)
  const one = (flag: string) => all(flag)?.at(-1)
  const warnings: string[] = []
  const vmId = one('vm-id')
  const server = one('server')
  const ca = one('ca')
  const transport = one('transport')
  const token = readToken(one('token-file'), env, warnings)
  return {
    warnings,
    options: {
      ...(server !== undefined && { server }),
      ...(transport !== undefined && { transport: choice('transport', transport, TRANSPORTS) }),
      ...(vmId !== undefined && { vmId }),
      ...(token !== undefined && { token }),
      ...(ca !== undefined && { ca }),
      verifiers: all('verifiers') ?? [],
      plugins: all('plugin') ?? [],
      logLevel: choice('log-level', one('log-level') ?? 'info', LEVELS),
      autoReconnect: switchOf('auto-reconnect', one('auto-reconnect') ?? 'true'),
      reconnectIntervalMs: Math.max(
        SHORTEST_INTERVAL_MS,
        duration('reconnect-interval', one('reconnect-interval') ?? '1s'),
      ),
      trace: switchOf('trace', one('trace') ?? 'false'),
      testInput: flags.values['test-input'] === true,
      testDurationMs: duration('test-duration', (flags.values['test-duration'] as string | undefined) ?? '10s'),
    },
  }
}

function parseFlags(args: readonly string[]) {
  const options = {
    ...Object.fromEntries(
      SETTINGS.map(({ flag, kind }) => [
        flag,
        kind === 'switch' ? { type: 'boolean' as const } : { type: 'string' as const, multiple: kind === 'list' },
      ]),
    ),
    'no-auto-reconnect': { type: 'boolean' as const },
    config: { type: 'string' as const },
    'test-input': { type: 'boolean' as const },
    'test-duration': { type: 'string' as const },
    help: { type: 'boolean' as const, short: 'h' },
    version: { type: 'boolean' as const, short: 'V' },
  }
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (name !== undefined && !(name in options)) throw unknown('option', `--${name}`, Object.keys(options), '--')
  }
  try {
    return parseArgs({ args: [...args], options, strict: true })
  } catch (error) {
    throw invalid(messageOf(error), 'atp-verifier --help lists the options')
  }
}

function flagValues(flags: Readonly<Record<string, unknown>>): Values {
  const values: Values = new Map()
  for (const { flag } of SETTINGS) {
    const value = flags[flag]
    if (value !== undefined) values.set(flag, Array.isArray(value) ? value.flatMap(split) : [String(value)])
  }
  if (flags['no-auto-reconnect'] === true) values.set('auto-reconnect', ['false'])
  return values
}

function environmentValues(env: Readonly<Record<string, string | undefined>>): Values {
  return new Map(
    SETTINGS.flatMap(({ flag, kind }): [string, string[]][] => {
      const value = env[variableOf(flag)]
      return value === undefined || value === '' ? [] : [[flag, kind === 'list' ? split(value) : [value]]]
    }),
  )
}

function fileValues(path: string): Values {
  let content: unknown
  try {
    content = parseYaml(readFileSync(path, 'utf8')) ?? {}
  } catch (error) {
    throw invalid(`the configuration file ${path} cannot be read: ${messageOf(error)}`)
  }
  if (typeof content !== 'object' || Array.isArray(content))
    throw invalid(`the configuration file ${path} holds no settings`)
  const names = new Map(SETTINGS.map((setting) => [setting.flag.replaceAll('-', '_'), setting]))
  const values: Values = new Map()
  for (const [name, value] of Object.entries(content as object)) {
    const setting = names.get(name)
    if (!setting) throw unknown(`setting in ${path}`, name, names.keys())
    const texts = (setting.kind === 'list' && Array.isArray(value) ? value : [value]) as unknown[]
    if (!texts.every((text) => ['string', 'number', 'boolean'].includes(typeof text))) {
      throw invalid(`"${name}" in ${path} has a wrong kind of value`)
    }
    values.set(setting.flag, texts.map(String))
  }
  return values
}

function readToken(
  path: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  warnings: string[],
): string | undefined {
  if (path === undefined) return env[TOKEN_VARIABLE] || undefined
  try {
    // A Windows file has no such mode.
    if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) {
      warnings.push(`the token file ${path} can be read by others: chmod 600 ${path}`)
    }
    const token = readFileSync(path, 'utf8').trim()
    if (token === '') throw new Error('it is empty')
    return token
  } catch (error) {
    throw invalid(`the token file ${path} cannot be read: ${messageOf(error)}`)
  }
}

function split(text: string): string[] {
  return text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]))
}

function variableOf(flag: string): string {
  return PREFIX + flag.replaceAll('-', '_').toUpperCase()
}

function choice<T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value)
  if (found !== undefined) return found
  throw invalid(`--${flag} cannot be "${value}"`, `use one of ${allowed.join(', ')}`)
}

function switchOf(flag: string, value: string): boolean {
  return choice(flag, value.toLowerCase(), ['true', 'false']) === 'true'
}

function duration(flag: string, value: string): number {
  try {
    return parseDuration(value, 's')
  } catch {
    throw invalid(`--${flag} is no duration: "${value}"`, 'write a number with a unit: 500ms, 5s, 1m')
  }
}

function unknown(what: string, name: string, known: Iterable<string>, prefix = ''): AtpError {
  const guess = nearest(name.replace(/^--/, ''), known)
  return invalid(`there is no ${what} "${name}"`, guess === undefined ? undefined : `did you mean "${prefix}${guess}"?`)
}

function invalid(problem: string, remedy?: string): AtpError {
  return configError('ATP_VERIFIER_OPTIONS', problem, { remedy })
}
