import type { ResolvedConfig, ResolvedHost } from '../config/index.ts'
import { readSecret } from '../config/secrets.ts'
import { configError, messageOf, type AtpError } from '../core/index.ts'
import type { HostInfo } from '../hosts/access.ts'
import { hostInfo } from '../hosts/host-info.ts'
import type { HostSettings } from '../hosts/host-settings.ts'
import type { HostDescription } from '../leases/index.ts'
import { parseLibvirtUri } from '../protocols/libvirt/uri.ts'

/** The URI of a configured host; where only its address is known, the one over ssh. */
export function uriOf({ id, host, uri }: ResolvedHost): string {
  return hostInfo({ id, ...(host && { host }), ...(uri && { uri }) }).uri
}

/**
 * What it takes to reach a configured host. Its SASL password is read now, so call this where it is used.
 *
 * @throws `ATP_SECRET_MISSING`
 */
export function hostInfoOf(configured: ResolvedHost): HostInfo {
  const { id, labels, tls, sasl, allow } = configured
  return hostInfo({
    id,
    uri: uriOf(configured),
    labels,
    access: {
      allow,
      ...(tls && { tls }),
      ...(sasl && {
        sasl: { user: sasl.user, password: readSecret(`SASL password of host ${id}`, sasl.password) },
      }),
    },
  })
}

/**
 * A configured host for the transport manager: how it is reached and how its connections are kept.
 *
 * @throws `ATP_SECRET_MISSING`
 */
export function hostSettingsOf(configured: ResolvedHost): HostSettings {
  const { pool, ...connection } = configured.connection
  return { ...hostInfoOf(configured), connection, pool }
}

/** Configured hosts as the reports show them. */
export function describeHosts(config: ResolvedConfig): HostDescription[] {
  return config.hosts.map((host) => ({
    id: host.id,
    uri: uriOf(host),
    capacity: host.capacity,
    labels: host.labels,
  }))
}

/**
 * Checks the URI of every configured host.
 *
 * @throws `ATP_CONFIG_INVALID` naming the place of the first that cannot be used, and why.
 */
export function checkHosts(config: ResolvedConfig): void {
  for (const host of config.hosts) {
    try {
      parseLibvirtUri(uriOf(host), { allow: host.allow })
    } catch (error) {
      const { remedy } = error as AtpError
      const cause = messageOf(error).replace(/\n\s*→.*/s, '')
      throw configError('ATP_CONFIG_INVALID', `${host.place}: host "${host.id}": ${cause}`, {
        cause: error,
        ...(remedy === undefined ? {} : { remedy }),
      })
    }
  }
}
