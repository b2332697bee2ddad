import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { recycleBin, type RecycleDomainVO } from '../operations/recycle-bin.ts'
import { allPages } from '../pages.ts'

/** VMs that were deleted, but not for good. */
export class RecycleBinApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** VMs in the recycle bin, page by page as they are needed. */
  list(options?: CallOptions): AsyncGenerator<RecycleDomainVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(recycleBin.list, { query: page }, options),
    )
  }

  /** Brings VMs back. */
  restore(ids: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(recycleBin.restore, { body: { idList: ids } }, options)
  }

  /** Deletes VMs for good. */
  delete(ids: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(recycleBin.delete, { body: { idList: ids } }, options)
  }
}
