import { configError } from '../core/index.ts'
import { uriForHost } from '../protocols/libvirt/uri.ts'
import type { HostAccess, HostInfo } from './access.ts'

/** What a user says about a host. */
export interface HostDeclaration {
  id: string
  /** Name or address; reached by ssh unless a `uri` is given. */
  host?: string
  /** libvirt URI. Goes before `host`. */
  uri?: string
  labels?: readonly string[]
  access?: HostAccess
}

/**
 * A host as a value that never changes. Where only an address is given the URI is `qemu+ssh://<address>/system`.
 *
 * @throws `ATP_HOST_INVALID` without an id or an address, `ATP_LIBVIRT_URI` for a URI that cannot be used.
 */
export function hostInfo({ id, host, uri, labels, access }: HostDeclaration): HostInfo {
  if (!id) throw configError('ATP_HOST_INVALID', 'a host has no id', { remedy: 'give it a short name: id: kvm-1' })
  if (!uri && !host) {
    throw configError('ATP_HOST_INVALID', `the host "${id}" has no address`, {
      remedy: 'give it a host (reached by ssh) or a uri such as qemu+tls://kvm-1.example/system',
    })
  }
  return Object.freeze({
    id,
    uri: uri || uriForHost(host as string),
    ...(labels === undefined ? {} : { labels: Object.freeze([...labels]) }),
    ...(access === undefined ? {} : { access: frozenAccess(access) }),
  })
}

function frozenAccess({ tls, sasl, allow }: HostAccess): HostAccess {
  return Object.freeze({
    ...(tls === undefined ? {} : { tls: Object.freeze({ ...tls }) }),
    ...(sasl === undefined ? {} : { sasl: Object.freeze({ ...sasl }) }),
    ...(allow === undefined ? {} : { allow: Object.freeze([...allow]) }),
  })
}
