import type { Secret } from '../core/index.ts'
import type { Risk } from '../protocols/libvirt/index.ts'

export { RISKS, type Risk } from '../protocols/libvirt/index.ts'

/** How a host is reached, besides its URI. */
export interface HostAccess {
  /** PEM files. Default: where libvirt's own clients look, see `pkipath` of the URI. */
  tls?: { ca?: string; cert?: string; key?: string }
  /** For daemons that ask for SASL (SCRAM-SHA-256). */
  sasl?: { user: string; password: Secret }
  /** Dangerous parameters the URI may use all the same; refused otherwise. */
  allow?: readonly Risk[]
}

/** A hypervisor host: immutable, no connection yet. */
export interface HostInfo {
  /** Short name used in filters, messages and metrics. */
  readonly id: string
  /** libvirt URI. Where the user gave only an address it is `qemu+ssh://<address>/system`. */
  readonly uri: string
  /** What its owner says of it: `gpu`, `rack-2`. For choosing hosts; it has no effect on connections. */
  readonly labels?: readonly string[]
  readonly access?: HostAccess
}
