import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { disks, type PoolVolumeVO, type StorageVolumeCreateDto, type StorageVolumeVO } from '../operations/disks.ts'
import { allPages } from '../pages.ts'

/** Disks of VMs. */
export class DisksApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Disks of a VM. */
  list(domainId: string, options?: CallOptions): Promise<StorageVolumeVO[]> {
    return this.#caller.call(disks.list, { path: { id: domainId } }, options)
  }

  /** Disks of all VMs and of none, page by page as they are needed; `free` are those of none. */
  volumes(
    { free, ...filter }: { keyword?: string; storagePoolId?: string; free?: boolean } = {},
    options?: CallOptions,
  ): AsyncGenerator<PoolVolumeVO, void, undefined> {
    const query = { ...filter, ...(free === undefined ? {} : { isFree: free ? (1 as const) : (0 as const) }) }
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(disks.volumes, { query: { ...query, ...page } }, options),
    )
  }

  /** Deletes a disk that no VM has. */
  deleteVolume(volumeId: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(disks.deleteVolume, { path: { volumeId } }, options)
  }

  /** Makes a disk that no VM has; answers its id. */
  async create(disk: StorageVolumeCreateDto, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(disks.create, { body: disk }, options)).id
  }

  /** Gives an existing disk to a VM. */
  add(domainId: string, volumeId: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(disks.add, { path: { id: domainId }, body: { volumeId } }, options)
  }

  /** Gives each of several VMs a new disk of its own. */
  addIndependent(
    domainIds: string[],
    disk: { sizeGb: number; busType?: StorageVolumeCreateDto['busType']; storagePoolId?: string },
    options?: CallOptions,
  ): Promise<void> {
    const { sizeGb, ...same } = disk
    const body = { domainIdList: domainIds, diskSize: sizeGb, ...same }
    return this.#caller.call(disks.addIndependent, { body }, options)
  }

  /** Makes a disk larger by `addGb`. */
  expand(domainId: string, volumeId: string, addGb: number, options?: CallOptions): Promise<void> {
    return this.#caller.call(disks.expand, { path: { domainId, volumeId }, body: { expandSize: addGb } }, options)
  }

  /** Takes a disk off a VM; answers the event to follow. */
  async unmount(domainId: string, volumeId: string, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(disks.unmount, { path: { domainId, volumeId } }, options)).eventId
  }

  /** Deletes a disk of a VM. */
  delete(domainId: string, volumeId: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(disks.delete, { path: { domainId, volumeId } }, options)
  }
}
