import type { CallOptions, Secret } from '../core/index.ts'
import type { Vm } from '../desktop/api.ts'

/** A VM as the platform shows it. Steps capture it whole: `${desktops[0].id}`. */
export interface PlatformVm {
  readonly id: string
  readonly name: string
  /** The platform's number: 0 off, 1 running, 2 suspended, 3 hibernated, 5 busy. */
  readonly status: number
  readonly [field: string]: unknown
}

/** A desk pool as the platform shows it. */
export interface PlatformPool {
  readonly id: string
  readonly name: string
  readonly [field: string]: unknown
}

/** What can be done to VMs. Each resolves when the VMs are in the state it leads to. */
export type VmVerb =
  | 'start'
  | 'shutdown'
  | 'force_shutdown'
  | 'reboot'
  | 'suspend'
  | 'resume'
  | 'sleep'
  | 'wake'
  | 'unfreeze'
  | 'rebase'
  | 'unbind_user'
  | 'delete'
export type PoolVerb = 'enable' | 'disable' | 'activate' | 'archive' | 'delete'
export type SnapshotVerb = 'create' | 'restore' | 'delete'
export type FreezeType = 'each_boot' | 'daily' | 'weekly' | 'monthly'

/**
 * The VDI platform as steps use it. All methods reject with the platform's reason when anything of the work was not
 * done, for a single VM as well.
 */
export interface VdiService {
  /** Makes a pool and waits for its VMs. It is removed at the end of the test, also when the run is killed. */
  createPool(pool: { name: string; count: number; template?: string }, call: CallOptions): Promise<PlatformPool>
  /**
   * Makes a VM, off: a linked clone of a template, or an empty machine. It is removed at the end of the test, also when
   * the run is killed.
   */
  createVm(
    vm: { name: string; template?: string; cpu?: number; memoryMb?: number },
    call: CallOptions,
  ): Promise<PlatformVm>
  /** By id, then by name. @throws for none, and for several of one name. */
  pool(idOrName: string, call: CallOptions): Promise<PlatformPool>
  /** In the order of their names. */
  poolVms(poolId: string, call: CallOptions): Promise<PlatformVm[]>
  changePool(verb: PoolVerb, poolId: string, call: CallOptions): Promise<void>
  switchTemplate(poolId: string, template: string, call: CallOptions): Promise<void>
  /** By id, then by name. @throws for none, and for several of one name. */
  vm(idOrName: string, call: CallOptions): Promise<PlatformVm>
  changeVms(verb: VmVerb, ids: readonly string[], call: CallOptions): Promise<void>
  freezeVms(ids: readonly string[], type: FreezeType, call: CallOptions): Promise<void>
  bindUser(user: string, ids: readonly string[], call: CallOptions): Promise<void>
  setCpuMemory(ids: readonly string[], to: { cpu?: number; memoryMb?: number }, call: CallOptions): Promise<void>
  addDisk(ids: readonly string[], sizeGb: number, call: CallOptions): Promise<void>
  /** `disk` is an id or a name. */
  expandDisk(vmId: string, disk: string, addGb: number, call: CallOptions): Promise<void>
  removeDisk(vmId: string, disk: string, call: CallOptions): Promise<void>
  /** Snapshots of one VM by name. */
  snapshot(verb: SnapshotVerb, vmId: string, name: string, call: CallOptions): Promise<void>
  /** Logs an end user in; resolves to what the user sees. The session ends with the test at the latest. */
  userLogin(
    user: string,
    password: Secret,
    call: CallOptions,
  ): Promise<{ user: string; vms: { id: string; name: string }[] }>
  /** Ends the newest session of a user, without a name the newest of all. @throws where there is none */
  userLogout(user: string | undefined, call: CallOptions): Promise<{ user: string; ended: boolean }>
  /** VMs bound to a user, in the order of their names. */
  userVms(user: string, call: CallOptions): Promise<PlatformVm[]>
  /** By id, name or address. */
  host(key: string, call: CallOptions): Promise<Record<string, unknown>>
  /** The running VM on its hypervisor, for input and commands. It is closed with the test. */
  open(idOrName: string, call: CallOptions): Promise<Vm>
}
