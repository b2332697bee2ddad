/** The border between who needs a VM (a test), who hands them out (the broker) and who makes them (a provider). */
import type { CallOptions } from '../core/index.ts'

/**
 * `pristine`: made for the lease and destroyed with it. `shared`: the same life, but its holder uses it for several
 * tests and resets it by a rule of their own. `attached`: exists already; it is locked by name, never made,
 * changed or destroyed. An attached VM must be asked for by `name` and `host`.
 */
export type Ownership = 'pristine' | 'shared' | 'attached'

/** What a test asks for. All VMs of one request are granted together or not at all. */
export interface LeaseRequest {
  /** Who asks, for journals and messages: test name and file. */
  holder: string
  vms: VmRequest[]
  /** Further named locks held with the lease (`license-server`). */
  locks?: string[]
}
export interface VmRequest {
  /** Exactly this VM; waits until it is free. Without a name any free one. */
  name?: string
  /** Machine profile of the provider. Default: the provider's default. */
  profile?: string
  /** Host labels that must all match. */
  labels?: string[]
  /** Exactly this host. */
  host?: string
  ownership?: Ownership
  /** Restored from this checkpoint of the run, which was made of the same profile. Not for attached VMs. */
  checkpoint?: string
}

/** A VM as a lease hands it out: enough to connect, nothing more. */
export interface LeasedVm {
  name: string
  /** Empty for an attached VM: the broker knows its name only. */
  uuid: string
  /** The `uri` is empty for an attached VM on a host that is not the provider's. */
  host: { id: string; uri: string }
  ownership: Ownership
  profile?: string
  /** From a standby (`true`) or made for this request. */
  standby: boolean
}
export interface Lease {
  id: string
  /** In the order of the request. */
  vms: LeasedVm[]
  /** Milliseconds from the request to the last VM being ready. */
  waitMs: number
}

/** Something outside the broker's own VMs that has to be cleaned up if its maker cannot do it. */
export interface LastWill {
  /** For messages: `desk pool "office-7f3a" of https://vdi.example`. */
  what: string
  /** URL of a module that exports `cleanUp(data): Promise<void>`. Cleaning up twice must do no harm. */
  module: string
  /** Handed to `cleanUp`; stays in memory, so it may hold secrets. */
  data: unknown
}

export interface HostDescription {
  id: string
  uri: string
  /** How many leased VMs it carries at once. */
  capacity: number
  labels: string[]
}

/** Whose a VM is, written into the domain's metadata so that it can be found after any crash. */
export interface OwnerTag {
  /** Run id, or `standby`. */
  run: string
  lease: string
  /** Process id of the broker that made it. */
  pid: number
  /** Milliseconds since the epoch after which anybody may remove it. */
  expires: number
}

/** Keeps the state of whole machines, for its hosts to make VMs of. */
export interface CheckpointStore {
  /**
   * Saves a running VM, which is gone afterwards. Nothing is kept when it rejects, and the VM is in no known state.
   *
   * @returns its size in bytes.
   */
  save(
    vm: { host: string; uuid: string },
    checkpoint: { id: string; owner: OwnerTag },
    options?: CallOptions,
  ): Promise<number>
  /** One that is not there is fine. */
  remove(id: string): Promise<void>
  /** Everything that is kept, half of it included. */
  list(): Promise<{ id: string; owner: OwnerTag }[]>
}

/** Makes and destroys VMs on its hosts. The lab is one; a VDI platform will be another. */
export interface VmProvider {
  /** `lab` */
  readonly id: string
  /** Machine profiles it can make, the default one first. Without it every profile name is passed to {@link create}. */
  readonly profiles?: readonly string[]
  /** Ready hosts with their capacity; starts what must be started. Idempotent. */
  hosts(options?: CallOptions): Promise<HostDescription[]>
  /** Names a VM may get, counted from 1: the lowest free one is used (`vm-001`, …). */
  nameOf(index: number): string
  /** A pristine, running VM with an answering guest agent. Half-made VMs are removed before it rejects. */
  create(
    request: { host: string; name: string; profile?: string; checkpoint?: string; owner: OwnerTag },
    options?: CallOptions,
  ): Promise<{ uuid: string }>
  /** Absent where the state of machines cannot be kept. */
  readonly checkpoints?: CheckpointStore
  /** Changes whose the VM is (a standby is handed out). */
  own(vm: { host: string; uuid: string }, owner: OwnerTag): Promise<void>
  /**
   * Puts a VM back into its pristine state in place, with an answering guest agent, and makes it `owner`'s. After a
   * rejection the VM is in no known state and gets destroyed.
   */
  recycle?(
    vm: { host: string; name: string; uuid: string; profile?: string },
    owner: OwnerTag,
    options?: CallOptions,
  ): Promise<void>
  /** Destroys; resolves when the VM is gone. A VM that is gone already is fine. */
  destroy(vm: { host: string; uuid: string }): Promise<void>
  /** Every VM on the provider's hosts that carries an owner tag. */
  list(): Promise<{ host: string; name: string; uuid: string; owner: OwnerTag }[]>
  /** Closes connections; leaves VMs and daemons alone. */
  close(): Promise<void>
}
