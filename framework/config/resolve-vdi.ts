import { dirname, resolve } from 'node:path'
import { configError, messageOf, nearest, parseDuration } from '../core/index.ts'
import type { SecretSource, VdiAssumptionSettings, VdiSettings } from './define.ts'

/** The settings of the VDI platform with their defaults filled in: milliseconds, absolute paths. Plain JSON. */
export interface ResolvedVdi {
  url: string
  username: string
  /** Still to be read; see `readSecret`. */
  password: SecretSource
  tls: { ca?: string; verify: boolean }
  timeoutMs: number
  retries: number
  validation: 'strict' | 'tolerant'
  assumptions: VdiAssumptionSettings
  /** Of pools that name none; undefined: the platform's only one. */
  template: string | undefined
  hostUri: string
  hosts: Record<string, string>
}

const HOST_URI = 'qemu+ssh://{ip}/system'
const PLACEHOLDERS = ['{ip}', '{name}', '{id}']

/**
 * Fills in the defaults of settings that have passed their schema.
 *
 * @param file the file that relative paths start at
 * @param where for messages
 * @param hostIds ids that `hosts` may lead to; undefined where a lab adds others
 * @throws `ATP_CONFIG_INVALID`
 */
export function resolveVdi(
  vdi: VdiSettings,
  file: string,
  where: string,
  secrets: Readonly<Record<string, SecretSource>>,
  hostIds: readonly string[] | undefined,
): ResolvedVdi {
  const wrong = (name: string, what: string, remedy?: string) =>
    configError('ATP_CONFIG_INVALID', `${where}: vdi.${name}: ${what}`, remedy ? { remedy } : {})
  const path = (name: string) => resolve(dirname(file), name)
  const url = URL.parse(vdi.url)
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    // Not shown: it may hold a password.
    throw wrong('url', 'it is no plain http or https address', 'write scheme, host and port: https://vdi.example:8088')
  }
  const { hostUri = HOST_URI, hosts = {}, tls = {} } = vdi
  for (const [name] of hostUri.matchAll(/\{[^}]*\}?/g)) {
    if (!PLACEHOLDERS.includes(name)) throw wrong('hostUri', `it has ${name}`, `use ${PLACEHOLDERS.join(', ')}`)
  }
  for (const [from, id] of Object.entries(hosts)) {
    if (!hostIds || hostIds.includes(id)) continue
    const guess = nearest(id, hostIds)
    throw wrong(`hosts.${from}`, `there is no host "${id}"`, guess ? `did you mean "${guess}"?` : 'add it to "hosts"')
  }
  return {
    url: vdi.url,
    username: vdi.username,
    password: passwordSource(),
    tls: { ...(tls.ca === undefined ? {} : { ca: path(tls.ca) }), verify: tls.verify ?? true },
    timeoutMs: timeoutMs(),
    retries: vdi.retries ?? 3,
    validation: vdi.validation ?? 'tolerant',
    assumptions: vdi.assumptions ?? {},
    template: vdi.template,
    hostUri,
    hosts,
  }

  function timeoutMs(): number {
    if (vdi.timeout === undefined) return 30_000
    let ms: number
    try {
      ms = parseDuration(vdi.timeout)
    } catch (error) {
      throw wrong('timeout', messageOf(error))
    }
    if (ms > 0 && ms <= 2_147_483_647) return ms
    throw wrong('timeout', `${JSON.stringify(vdi.timeout)} is no usable time`, 'write at most 24 days, and more than 0')
  }

  function passwordSource(): SecretSource {
    const source = vdi.password
    if ('file' in source) return { file: path(source.file) }
    if ('env' in source) return source
    const named = secrets[source.secret]
    if (named) return named
    const guess = nearest(source.secret, Object.keys(secrets))
    throw wrong(
      'password',
      `there is no secret "${source.secret}"`,
      guess ? `did you mean "${guess}"?` : 'add it to "secrets" of the configuration, or use env or file',
    )
  }
}
