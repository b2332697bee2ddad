import { dirname, resolve } from 'node:path'
import { configError, messageOf, nearest, parseDuration } from '../core/index.ts'
import type { DurationSetting, HostConfig, HostRisk, SecretSource } from './define.ts'

/** A configured host with its defaults filled in: durations in milliseconds, paths absolute. Plain JSON. */
export interface ResolvedHost {
  id: string
  /** At least one of `host` and `uri` is there. */
  host: string | undefined
  uri: string | undefined
  capacity: number
  labels: string[]
  tls: { ca?: string; cert?: string; key?: string } | undefined
  /** The password is still to be read; see `readSecret`. */
  sasl: { user: string; password: SecretSource } | undefined
  allow: HostRisk[]
  connection: {
    connections: 'separate' | 'shared'
    connectTimeoutMs: number
    /** 0: none. */
    heartbeatIntervalMs: number
    /** 0: none. */
    keepaliveIntervalMs: number
    autoReconnect: boolean
    maxAttempts: number | undefined
    pool: {
      min: number
      max: number
      strategy: 'round-robin' | 'least-connections' | 'random'
      idleTimeoutMs: number
    }
  }
  /** Where it was written, for messages: `/project/hosts.yaml:4:5`. */
  place: string
}

/** Where a host was written. */
export interface HostPlace {
  /** The file that relative paths start at. */
  file: string
  /** For messages: file with line and column, or with the setting. */
  text: string
}

/** Longest pause a timer can wait for. */
const LONGEST_MS = 2_147_483_647

/**
 * Fills in the defaults of a host that has passed its schema.
 *
 * @throws `ATP_CONFIG_INVALID` for a bad duration, an unknown secret, a pool whose `min` exceeds its `max`.
 */
export function resolveHost(
  host: HostConfig,
  place: HostPlace,
  secrets: Readonly<Record<string, SecretSource>>,
): ResolvedHost {
  const wrong = (what: string, remedy?: string) =>
    configError('ATP_CONFIG_INVALID', `${place.text}: host "${host.id}": ${what}`, remedy ? { remedy } : {})
  const path = (file: string) => resolve(dirname(place.file), file)
  const ms = (name: string, value: DurationSetting | undefined, fallback: number): number => {
    if (value === undefined) return fallback
    try {
      const parsed = parseDuration(value)
      if (parsed <= LONGEST_MS) return parsed
    } catch (error) {
      throw wrong(`connection.${name}: ${messageOf(error)}`)
    }
    throw wrong(`connection.${name}: ${JSON.stringify(value)} is too long`, 'write at most 24 days')
  }
  const { tls, sasl, connection = {} } = host
  const connectTimeoutMs = ms('connectTimeout', connection.connectTimeout, 30_000)
  if (connectTimeoutMs === 0) throw wrong('connection.connectTimeout: within no time nothing connects')
  const { min = 1, max = Math.max(10, min), strategy = 'least-connections', idleTimeout } = connection.pool ?? {}
  if (min > max) throw wrong(`connection.pool: min ${min} is more than max ${max}`)
  return {
    id: host.id,
    host: host.host,
    uri: host.uri,
    capacity: host.capacity ?? 4,
    labels: host.labels ?? [],
    tls: tls && Object.fromEntries(Object.entries(tls).map(([part, file]) => [part, path(file)])),
    sasl: sasl && { user: sasl.user, password: passwordSource(sasl.password) },
    allow: host.allow ?? [],
    connection: {
      connections: connection.connections ?? 'separate',
      connectTimeoutMs,
      heartbeatIntervalMs: ms('heartbeat', connection.heartbeat, 30_000),
      keepaliveIntervalMs: ms('keepalive', connection.keepalive, 5_000),
      autoReconnect: connection.autoReconnect ?? true,
      maxAttempts: connection.maxAttempts,
      pool: { min, max, strategy, idleTimeoutMs: ms('pool.idleTimeout', idleTimeout, 300_000) },
    },
    place: place.text,
  }

  function passwordSource(source: { secret: string } | SecretSource): SecretSource {
    if ('file' in source) return { file: path(source.file) }
    if ('env' in source) return source
    const named = secrets[source.secret]
    if (named) return named
    const guess = nearest(source.secret, Object.keys(secrets))
    throw wrong(
      `sasl.password: there is no secret "${source.secret}"`,
      guess ? `did you mean "${guess}"?` : 'add it to "secrets" of the configuration, or use env or file',
    )
  }
}
