import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import {
  type DomainBatchTaskVO,
  type DomainCloneDto,
  type DomainCreateDto,
  domains,
  type DomainNetcardVO,
  type DomainUpdateDto,
  type DomainVO,
  verbs,
} from '../operations/domains.ts'
import { type BatchOptions, type BatchOutcome, failuresOf, settled, type VmFailure } from '../outcome.ts'
import { allPages, allRows, type ReadPage } from '../pages.ts'
import type { VmState } from '../statuses.ts'
import type { WaitOptions } from '../until.ts'
import { waitForStatus, type WaitForStatusOptions, waitUntil, waitUntilGone } from '../wait-for-vms.ts'
import { ConsolesApi } from './consoles.ts'
import { DisksApi } from './disks.ts'
import { RecycleBinApi } from './recycle-bin.ts'
import { SnapshotsApi } from './snapshots.ts'

/** Which VMs to list. Several values are alternatives. */
export interface DomainFilter {
  /** Part of the name. */
  keyword?: string
  /** Wire values, see `VM_STATUS`. */
  status?: number[]
  hostId?: string
  /** Resource pool; desk pools have `deskPools.domains`. */
  poolId?: string
  /** Template or mother VM. */
  motherId?: string
  osType?: string[]
  agentVersion?: string[]
  /** 0 none, 1 at each boot, 2 daily, 3 weekly, 4 monthly. */
  freeze?: number[]
  /** Whether a client is connected. */
  connected?: boolean
  /** Whether a user is bound. */
  bound?: boolean
}

/** When VMs go back to their restore point. */
export const FREEZE_TYPE = { eachBoot: 1, daily: 2, weekly: 3, monthly: 4 } as const

/** VMs. Methods for several VMs throw `ATP_VDI_PARTIAL` for those that failed, unless told to return them. */
export class DomainsApi {
  readonly disks: DisksApi
  readonly snapshots: SnapshotsApi
  readonly consoles: ConsolesApi
  readonly recycleBin: RecycleBinApi
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
    this.disks = new DisksApi(caller)
    this.snapshots = new SnapshotsApi(caller)
    this.consoles = new ConsolesApi(caller)
    this.recycleBin = new RecycleBinApi(caller)
  }

  /** Makes a VM; answers its id. */
  async create(vm: DomainCreateDto, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(domains.create, { body: vm }, options)).uuid
  }

  /** One VM. */
  get(id: string, options?: CallOptions): Promise<DomainVO> {
    return this.#caller.call(domains.get, { path: { id } }, options)
  }

  /** VMs, page by page as they are needed. `timeoutMs` bounds each page. */
  list(filter: DomainFilter = {}, options?: CallOptions): AsyncGenerator<DomainVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  /** All VMs at once. */
  listAll(filter: DomainFilter = {}, options?: CallOptions): Promise<DomainVO[]> {
    return allRows(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  /** Starts VMs, on a certain host if one is given. */
  start(ids: string[], options: BatchOptions & { hostId?: string } = {}): Promise<BatchOutcome> {
    return this.#batch('start', ids, options, { hostId: options.hostId })
  }

  /** Shuts VMs down, or switches them off with `force`. */
  close(ids: string[], options: BatchOptions & { force?: boolean } = {}): Promise<BatchOutcome> {
    return this.#batch('close', ids, options, { isForce: flag(options.force) })
  }

  /** Reboots VMs. */
  reboot(ids: string[], options?: BatchOptions): Promise<BatchOutcome> {
    return this.#batch('reboot', ids, options)
  }

  /** Pauses VMs. */
  suspend(ids: string[], options?: BatchOptions): Promise<BatchOutcome> {
    return this.#batch('suspend', ids, options)
  }

  /** Lets paused VMs go on. */
  resume(ids: string[], options?: BatchOptions): Promise<BatchOutcome> {
    return this.#batch('resume', ids, options)
  }

  /** Hibernates VMs. */
  sleep(ids: string[], options?: BatchOptions): Promise<BatchOutcome> {
    return this.#batch('sleep', ids, options)
  }

  /** Wakes hibernated VMs. */
  wakeup(ids: string[], options?: BatchOptions): Promise<BatchOutcome> {
    return this.#batch('wakeup', ids, options)
  }

  /** Sets the restore point of VMs. Those that have a snapshot cannot get one, and are failures. */
  async freeze(ids: string[], when: keyof typeof FREEZE_TYPE, options: BatchOptions = {}): Promise<BatchOutcome> {
    const body = { idList: unique(ids), freezeType: FREEZE_TYPE[when] }
    const refused = await this.#caller.call(domains.freeze, { body }, options)
    return settled('domains.freeze', { events: [], failed: failuresOf(refused, 'it has a snapshot') }, options.partial)
  }

  /** Cancels the restore point of VMs. */
  restore(ids: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.restore, { body: { idList: unique(ids) } }, options)
  }

  /** Puts linked clones back to their template. */
  rebase(ids: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.rebase, { body: { idList: unique(ids) } }, options)
  }

  /** Binds a user (`sAMAccountName`) to VMs. */
  async bindUser(userId: string, ids: string[], options: BatchOptions = {}): Promise<BatchOutcome> {
    const body = { userId, domainIdList: unique(ids) }
    const { notBindDomainIdList } = await this.#caller.call(domains.bindUser, { body }, options)
    const failed = failuresOf(notBindDomainIdList ?? [], `the platform did not bind ${userId}`)
    return settled('domains.bindUser', { events: [], failed }, options.partial)
  }

  /** Takes the users off VMs. */
  unbindUser(ids: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.unbindUser, { body: { domainIdList: unique(ids) } }, options)
  }

  /** Changes the number of virtual CPUs and the memory in MB of VMs. */
  setCpuMemory(ids: string[], to: { cpu?: number; memoryMb?: number }, options?: CallOptions): Promise<void> {
    const body = { listId: unique(ids), cpu: to.cpu, memory: to.memoryMb }
    return this.#caller.call(domains.setCpuMemory, { body }, options)
  }

  /** Changes one VM. */
  update(id: string, changes: DomainUpdateDto, options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.update, { path: { id }, body: changes }, options)
  }

  /** Deletes VMs for good, or with `recycle` moves them to the recycle bin. */
  delete(ids: string[], options: CallOptions & { recycle?: boolean } = {}): Promise<void> {
    const { recycleValue } = this.#caller.assumptions
    const isRecycle = options.recycle ? recycleValue : recycleValue === 1 ? 0 : 1
    return this.#caller.call(domains.delete, { body: { domainIdList: unique(ids), isRecycle } }, options)
  }

  /** Turns a VM that is off into a template. */
  toModel(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.toModel, { path: { id } }, options)
  }

  /** Clones a VM; answers the clone's id and the event to follow. */
  async clone(id: string, clone: DomainCloneDto, options?: CallOptions): Promise<{ id: string; eventId: string }> {
    const answer = await this.#caller.call(domains.clone, { path: { id }, body: clone }, options)
    return { id: answer.cloneUuid, eventId: answer.eventId }
  }

  /** Lets the platform read a VM's status from its hypervisor again. */
  syncStatus(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(domains.syncStatus, { path: { id }, body: { syncType: 1 } }, options)
  }

  /** Linked clones of a VM or template. */
  children(id: string, options?: CallOptions): Promise<DomainVO[]> {
    return this.#caller.call(domains.children, { path: { id } }, options)
  }

  /** Network cards of a VM, with the guest's addresses. */
  nics(id: string, options?: CallOptions): Promise<DomainNetcardVO[]> {
    return this.#caller.call(domains.nics, { path: { id } }, options)
  }

  /**
   * Waits until all VMs have a status, by asking for the VMs themselves; never rests on events alone.
   *
   * @returns the VMs, in the order of `ids`
   * @throws `ATP_VDI_STATE` with the platform's reason as soon as an event tells of a failure, or a VM leaves busy
   * for another status; `ATP_VDI_TIMEOUT` with what each VM is
   */
  waitForStatus(ids: string[], state: VmState | number, options?: WaitForStatusOptions): Promise<DomainVO[]> {
    return waitForStatus(this.#caller, ids, state, options)
  }

  /**
   * Waits until something holds for all VMs: for changes that the platform answers with success and without an event.
   *
   * @param how what the VMs are to be, for errors: `bound to alice`
   * @returns the VMs, in the order of `ids`
   * @throws `ATP_VDI_TIMEOUT` with the VMs it does not hold for; `ATP_VDI_REFUSED` when a VM is gone
   */
  waitUntil(
    ids: readonly string[],
    how: string,
    holds: (vm: DomainVO) => boolean,
    options?: WaitOptions,
  ): Promise<DomainVO[]> {
    return waitUntil(this.#caller, ids, how, holds, options)
  }

  /** Waits until the platform lists none of these VMs. @throws `ATP_VDI_TIMEOUT` with those that are left */
  waitUntilGone(ids: readonly string[], options?: WaitOptions): Promise<void> {
    return waitUntilGone(this.#caller, ids, (signal) => this.listAll({}, { signal }), options)
  }

  #reader(filter: DomainFilter, options: CallOptions | undefined): ReadPage<DomainVO> {
    const { status, osType, agentVersion, freeze, connected, bound, ...same } = filter
    const query = {
      ...same,
      status: status?.join(),
      osType: osType?.join(),
      agentVersion: agentVersion?.join(),
      freeze: freeze?.join(),
      isConnected: flag(connected),
      isBindUser: flag(bound),
    }
    return (page) => this.#caller.call(domains.list, { query: { ...query, ...page } }, options)
  }

  async #batch(
    verb: keyof typeof verbs,
    ids: string[],
    options: BatchOptions = {},
    more: { hostId?: string; isForce?: 0 | 1 } = {},
  ): Promise<BatchOutcome> {
    const idList = unique(ids)
    const answer = await this.#caller.call(verbs[verb], { body: { idList, ...more } }, options)
    return settled(`domains.${verb}`, this.#outcome(answer, idList.length), options.partial)
  }

  #outcome({ eventIdList, errorList }: DomainBatchTaskVO, asked: number): BatchOutcome {
    const events = eventIdList ?? []
    const failed = (errorList ?? []).map(({ domainId, domainName, errorMsg }): VmFailure => ({
      domainId: domainId ?? undefined,
      domainName: domainName ?? undefined,
      reason: errorMsg || 'the platform gives no reason',
    }))
    const passedOver = asked - events.length - failed.length
    if (this.#caller.assumptions.oneEventPerVm && passedOver > 0)
      failed.push({ reason: `the platform answered neither an event nor an error for ${passedOver} of ${asked} VMs` })
    return { events, failed }
  }
}

function flag(value: boolean | undefined): 0 | 1 | undefined {
  return value === undefined ? undefined : value ? 1 : 0
}

function unique(ids: string[]): string[] {
  return [...new Set(ids)]
}
