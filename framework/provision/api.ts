import type { CallOptions } from '../core/index.ts'
import type { HostInfo, HostSettings, PooledConnection } from '../hosts/index.ts'
import type { Domain } from '../protocols/libvirt/index.ts'
import type { DomainVO, HostVO, VdiClient } from '../vdi/index.ts'

/** A hypervisor host that is known by other means than the platform. */
export interface ConfiguredHost {
  id: string
  uri: string
  /** All that is needed to reach it. Asked for when it is used: it may read passwords. */
  settings(): HostSettings
}

/** How a platform's hosts are found among hypervisor hosts, first rule first. */
export interface HostRules {
  /** Id, name or address of a platform's host → id of a configured host. */
  hosts: Readonly<Record<string, string>>
  /** The one whose id is the host's id, name or address, or whose URI leads to the host's name or address. */
  configured: readonly ConfiguredHost[]
  /** libvirt URI of all others, with `{ip}`, `{name}` and `{id}` of the host in it. */
  hostUri: string
}

/** A VM of the platform, and what it is on its hypervisor. */
export interface LocatedVm {
  vm: DomainVO
  /** The host as the platform knows it. */
  platformHost: HostVO
  /** The same host for the transport manager. */
  host: HostInfo
  domain: Domain
}

/** Finds VMs of a platform on their hypervisors. */
export interface VmLocator {
  /**
   * The libvirt domain of a VM: the one with its id as UUID, else the one with its name, on its host. A VM without a
   * host is looked for on all of them.
   *
   * @throws `ATP_PROVISION_VM_MISSING`, `ATP_PROVISION_VM_AMBIGUOUS`, `ATP_PROVISION_HOST_MISSING`,
   * `ATP_PROVISION_HOST_AMBIGUOUS`, `ATP_PROVISION_HOST_UNKNOWN`, what the hosts throw
   */
  locate(vm: DomainVO, options?: CallOptions): Promise<LocatedVm>
  /** Several VMs, in their order; each host is asked once. @throws as {@link VmLocator.locate} */
  locateAll(vms: readonly DomainVO[], options?: CallOptions): Promise<LocatedVm[]>
  /** Domains of these VMs that are still on their hosts: `name (uuid) on host lab-1`. @throws what the hosts throw */
  remaining(vms: readonly DomainVO[], options?: CallOptions): Promise<string[]>
}

/** A pool to make. */
export interface PoolRequest extends CallOptions {
  client: VdiClient
  locator: VmLocator
  /** Id or name of a template. Default: the platform's only one. */
  template?: string
  /** Desktops; at least 1. */
  count: number
  /** Name of the pool and prefix of its VMs'. No other pool may have it; see `newPoolName`. */
  name: string
  /** Milliseconds until everything has to run. Default 120000, and 60000 more for each desktop. */
  timeoutMs?: number
}

/** A pool to destroy. */
export interface PoolRemoval extends CallOptions {
  client: VdiClient
  /** By name, or by the platform's id. */
  pool: { name: string } | { id: string }
  /** With it, the hypervisors are asked whether the VMs are gone from them, too. */
  locator?: VmLocator
  /** The platform may be about to make the pool: none is believed only after some seconds. Default false. */
  mayAppear?: boolean
  /** Milliseconds until everything has to be gone. Default 60000. */
  timeoutMs?: number
}

/** A single VM to destroy. */
export interface VmRemoval extends CallOptions {
  client: VdiClient
  /** By name, or by the platform's id. */
  vm: { name: string } | { id: string }
  /** With it, the hypervisors are asked whether the VM is gone from them, too. */
  locator?: VmLocator
  /** The platform may be about to make the VM: none is believed only after some seconds. Default false. */
  mayAppear?: boolean
  /** Milliseconds until it has to be gone. Default 60000. */
  timeoutMs?: number
}

/** A pool whose VMs run and were found. */
export interface ProvisionedPool {
  id: string
  name: string
  template: { id: string; name: string }
  /** In the order of their names; numbers in them count as such. */
  vms: LocatedVm[]
}

/** A VM with a connection to its host. */
export interface ConnectedVm extends LocatedVm {
  /** Held until it is released; `ConnectedPool.destroy` does. */
  connection: PooledConnection
}

/** A pool with connections to the hosts of its VMs. */
export interface ConnectedPool extends Omit<ProvisionedPool, 'vms'> {
  vms: ConnectedVm[]
  /** Releases the connections and destroys the pool. Idempotent; may be called again after it failed. */
  destroy(options?: CallOptions): Promise<void>
}

/** What was made on a platform, by its name. */
export type MadeOnPlatform = { poolName: string } | { vmName: string }

/**
 * What a last will needs to destroy what a process that is gone has made. Holds the password: keep it in memory only.
 */
export type CleanUpData = MadeOnPlatform & {
  url: string
  username: string
  password: string
  tls?: { ca?: string; verify?: boolean }
  /** Plain JSON: null is undefined. */
  assumptions?: Record<string, unknown>
}

/** Something that the platform and its hypervisors say differently. */
export interface WorldDifference {
  kind: 'missing-in-libvirt' | 'missing-on-platform' | 'wrong-host' | 'ambiguous' | 'state'
  /** Name of the VM or domain. */
  vm: string
  /** Id on the platform, or UUID of a domain that the platform does not know. */
  id: string
  /** Name of the platform's host; undefined where it names none. */
  host: string | undefined
  platform: string
  libvirt: string
}

/** The platform and its hypervisors side by side. */
export interface WorldComparison {
  hosts: number
  vms: number
  domains: number
  /** VMs that are busy, whose state cannot be compared. */
  busy: number
  differences: WorldDifference[]
}
