import { readFileSync } from 'node:fs'
import type { ResolvedHost, ResolvedVdi } from '../config/index.ts'
import { readSecret } from '../config/secrets.ts'
import { configError, messageOf } from '../core/index.ts'
import type { CleanUpData, ConfiguredHost, MadeOnPlatform } from '../provision/api.ts'
import type { VdiAssumptions, VdiClientOptions } from '../vdi/index.ts'
import { hostSettingsOf, uriOf } from './configured-hosts.ts'

/** The settings of the platform, or the error of whoever needs it without. @throws `ATP_VDI_UNCONFIGURED` */
export function neededVdi<T extends ResolvedVdi | 'lab'>(vdi: T | undefined, configFile: string | undefined): T {
  if (vdi) return vdi
  throw configError('ATP_VDI_UNCONFIGURED', `no VDI platform is configured in ${configFile ?? 'this project'}`, {
    remedy:
      "add it to atp.config.ts: vdi: { url: 'https://…', username: '…', password: { env: 'VDI_PASSWORD' } }, " +
      "or vdi: 'lab' for a stand-in on this machine",
  })
}

/**
 * The platform for its client. Password and certificates are read now, so call this where they are used.
 *
 * @throws `ATP_SECRET_MISSING`, `ATP_CONFIG_INVALID` for a certificate file that cannot be read
 */
export function vdiOptionsOf(vdi: ResolvedVdi): VdiClientOptions {
  const { url, username, password, tls, timeoutMs, retries, validation, assumptions } = vdi
  const { loginClient } = assumptions
  return {
    baseUrl: url,
    username,
    password: readSecret('the password of the VDI platform', password),
    tls: { ...(tls.ca === undefined ? {} : { ca: certificates(tls.ca) }), verify: tls.verify },
    timeoutMs,
    retries,
    validation,
    assumptions: {
      ...(assumptions as Partial<VdiAssumptions>),
      ...(loginClient === null ? { loginClient: undefined } : {}),
    },
  }
}

/** What a last will needs to destroy what was made on the platform. @throws as {@link vdiOptionsOf} */
export function cleanUpDataOf(vdi: ResolvedVdi, made: MadeOnPlatform): CleanUpData {
  const { baseUrl, username, password, tls } = vdiOptionsOf(vdi)
  return {
    url: baseUrl,
    username,
    password: password.reveal(),
    tls: tls as CleanUpData['tls'],
    assumptions: { ...vdi.assumptions },
    ...made,
  }
}

/** Configured hosts, as those among which the platform's are found. */
export function hostsForVdi(hosts: readonly ResolvedHost[]): ConfiguredHost[] {
  return hosts.map((host) => ({ id: host.id, uri: uriOf(host), settings: () => hostSettingsOf(host) }))
}

function certificates(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw configError('ATP_CONFIG_INVALID', `vdi.tls.ca cannot be read: ${messageOf(error)}`, { cause: error })
  }
}
