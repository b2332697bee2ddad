import { dirname, resolve } from 'node:path'
import { configError, messageOf, nearest, parseDuration } from '../core/index.ts'
import type { ListenerSettings, SecretSource, VerificationSettings } from './define.ts'

/** The settings of verification with their defaults filled in: milliseconds, absolute paths. Plain JSON. */
export interface ResolvedVerification {
  listeners: ResolvedListener[]
  /** Undefined: each VM has a token of its own, made for the run. */
  token: SecretSource | undefined
  /** By the VM id that an agent gives. */
  agents: Record<string, { vm?: string; token?: SecretSource }>
  connectionTimeoutMs: number
}

export type ResolvedListener =
  | {
      transport: 'websocket' | 'tcp'
      host: string
      port: number
      /** PEM files. */
      tls: { cert: string; key: string } | undefined
      allowPlain: boolean
    }
  | { transport: 'unix'; path: string }

const DEFAULT_PORTS = { websocket: 8765, tcp: 8766 } as const
const LOOPBACK = '127.0.0.1'

/**
 * Fills in the defaults of settings that have passed their schema.
 *
 * @param file the file that relative paths start at
 * @param where for messages
 * @throws `ATP_CONFIG_INVALID`
 */
export function resolveVerification(
  { websocket, tcp, unix, token, agents = {}, connectionTimeout = '10s' }: VerificationSettings,
  file: string,
  where: string,
  secrets: Readonly<Record<string, SecretSource>>,
): ResolvedVerification {
  const wrong = (name: string, what: string, remedy?: string) =>
    configError('ATP_CONFIG_INVALID', `${where}: verification.${name}: ${what}`, remedy ? { remedy } : {})
  const path = (name: string) => resolve(dirname(file), name)
  return {
    listeners: [
      ...listenerOf('websocket', websocket),
      ...listenerOf('tcp', tcp),
      ...(unix === undefined ? [] : [{ transport: 'unix' as const, path: path(unix) }]),
    ],
    token: token && sourceOf('token', token),
    agents: Object.fromEntries(
      Object.entries(agents).map(([vmId, { vm, token: own }]) => [
        vmId,
        { ...(vm !== undefined && { vm }), ...(own && { token: sourceOf(`agents.${vmId}.token`, own) }) },
      ]),
    ),
    connectionTimeoutMs: timeoutMs(),
  }

  function listenerOf(transport: 'websocket' | 'tcp', given: boolean | ListenerSettings | undefined) {
    if (given === undefined || given === false) return []
    const { host = LOOPBACK, port = DEFAULT_PORTS[transport], tls, allow = [] } = given === true ? {} : given
    return [
      {
        transport,
        host,
        port,
        tls: tls && { cert: path(tls.cert), key: path(tls.key) },
        allowPlain: allow.includes('plain'),
      },
    ]
  }

  function timeoutMs(): number {
    let ms: number
    try {
      ms = parseDuration(connectionTimeout)
    } catch (error) {
      throw wrong('connectionTimeout', messageOf(error))
    }
    if (ms > 0 && ms <= 2_147_483_647) return ms
    throw wrong('connectionTimeout', `${JSON.stringify(connectionTimeout)} is no usable time`)
  }

  function sourceOf(name: string, source: { secret: string } | SecretSource): SecretSource {
    if ('file' in source) return { file: path(source.file) }
    if ('env' in source) return source
    const named = secrets[source.secret]
    if (named) return named
    const guess = nearest(source.secret, Object.keys(secrets))
    throw wrong(
      name,
      `there is no secret "${source.secret}"`,
      guess ? `did you mean "${guess}"?` : 'add it to "secrets" of the configuration, or use env or file',
    )
  }
}
