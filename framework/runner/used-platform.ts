import { pathToFileURL } from 'node:url'
import type { ResolvedHost, ResolvedVdi } from '../config/index.ts'
import { Secret } from '../core/index.ts'
import type { LastWill } from '../leases/index.ts'
import type { HostRules, MadeOnPlatform } from '../provision/index.ts'
import type { VdiClientOptions } from '../vdi/index.ts'
import type { PlatformAccess } from '../../lab/platform/process.ts'
import { cleanUpDataOf, hostsForVdi, vdiOptionsOf } from './configured-vdi.ts'
import { ownModule } from './own-module.ts'

/** A platform as those use it who make things on it. */
export interface UsedPlatform {
  client: VdiClientOptions
  /** Template of pools that name none. */
  template: string | undefined
  /** How its hosts are reached. */
  rules: HostRules
  /** What happens to something made there when its maker ends without having removed it. */
  will(what: string, made: MadeOnPlatform): LastWill
}

/** The one that the configuration names. @throws as `vdiOptionsOf` */
export function configuredPlatform(vdi: ResolvedVdi, hosts: readonly ResolvedHost[]): UsedPlatform {
  return {
    client: vdiOptionsOf(vdi),
    template: vdi.template,
    rules: { hosts: vdi.hosts, configured: hostsForVdi(hosts), hostUri: vdi.hostUri },
    will: (what, made) => ({
      what: `${what} of ${vdi.url}`,
      module: pathToFileURL(ownModule('framework/provision/clean-up')).href,
      data: cleanUpDataOf(vdi, made),
    }),
  }
}

/** The lab's stand-in. */
export function standInPlatform({ url, username, password, template, hosts }: PlatformAccess): UsedPlatform {
  return {
    client: { baseUrl: url, username, password: new Secret('the password of the stand-in platform', password) },
    template,
    rules: {
      hosts: {},
      configured: hosts.map(({ name: id, uri }) => ({ id, uri, settings: () => ({ id, uri }) })),
      hostUri: '',
    },
    will: (what, made) => ({
      what: `${what} of the stand-in platform ${url}`,
      module: pathToFileURL(ownModule('framework/runner/stand-in-clean-up')).href,
      data: { url, username, password, ...made },
    }),
  }
}
