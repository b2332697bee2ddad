import { type CallOptions, remoteError } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import type { DomainVO } from '../operations/domains.ts'
import { type ModelCloneDto, models } from '../operations/models.ts'
import { allPages } from '../pages.ts'

/** Templates, which look like VMs. */
export class ModelsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Templates, page by page as they are needed; `keyword` is part of the name, `poolId` a resource pool. */
  list(
    filter: { keyword?: string; poolId?: string } = {},
    options?: CallOptions,
  ): AsyncGenerator<DomainVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(models.list, { query: { ...filter, ...page } }, options),
    )
  }

  /** All templates at once. */
  listAll(filter: { poolId?: string } = {}, options?: CallOptions): Promise<DomainVO[]> {
    return this.#caller.call(models.all, { query: filter }, options)
  }

  /** The template with an id. The platform has no such question, so all are listed. @throws `ATP_VDI_NOT_FOUND` */
  async get(id: string, options?: CallOptions): Promise<DomainVO> {
    const found = (await this.listAll({}, options)).find((model) => model.id === id)
    if (found) return found
    throw remoteError('ATP_VDI_NOT_FOUND', `the platform has no template with id ${id}`, { context: { model: id } })
  }

  /** Makes linked clones of a template; answers the event to follow. */
  async clone(id: string, clone: ModelCloneDto, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(models.clone, { path: { id }, body: clone }, options)).eventId
  }

  /** Turns a template back into a VM. */
  toDomain(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(models.toDomain, { path: { id } }, options)
  }
}
