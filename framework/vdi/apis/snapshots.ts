import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { type DomainSnapshotVO, snapshots } from '../operations/snapshots.ts'
import { allPages } from '../pages.ts'

/** Snapshots of VMs. */
export class SnapshotsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Snapshots of a VM, page by page as they are needed; `keyword` is part of the name. */
  list(domainId: string, keyword?: string, options?: CallOptions): AsyncGenerator<DomainSnapshotVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(snapshots.list, { path: { id: domainId }, query: { keyword, ...page } }, options),
    )
  }

  /** One snapshot. */
  get(id: string, options?: CallOptions): Promise<DomainSnapshotVO> {
    return this.#caller.call(snapshots.get, { path: { id } }, options)
  }

  /** Takes a snapshot of a VM; answers the event to follow. */
  async create(domainId: string, name: string, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(snapshots.create, { path: { id: domainId }, body: { name } }, options)).eventId
  }

  /** Puts a VM back to a snapshot. */
  restore(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(snapshots.restore, { path: { id } }, options)
  }

  /** Deletes a snapshot. */
  delete(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(snapshots.delete, { path: { id } }, options)
  }
}
