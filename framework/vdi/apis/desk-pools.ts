import { type CallOptions, remoteError } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { EventWatch } from '../event-watch.ts'
import {
  type DeskPoolCreateDto,
  deskPools,
  type DesktopPoolVO,
  type DeskPoolUpdateDto,
} from '../operations/desk-pools.ts'
import type { DomainVO } from '../operations/domains.ts'
import { type BatchOptions, type BatchOutcome, failuresOf, settled } from '../outcome.ts'
import { allPages, allRows, type ReadPage } from '../pages.ts'
import { until, type WaitOptions } from '../until.ts'
import { type ReadyPool, throwFailure, waitForModel, waitForPool, type WaitForPoolOptions } from '../wait-for-pool.ts'

const CREATE_MS = 60_000

/** Which desk pools to list. */
export interface DeskPoolFilter {
  /** Part of the name. */
  keyword?: string
  /** 0 not shared, 1 shared, 2 teaching. */
  type?: 0 | 1 | 2
  /** Several types as alternatives. */
  typeList?: number[]
}

/** Desk pools: desktops made from a template. */
export class DeskPoolsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /**
   * Makes a pool. The platform answers only the id of an event, so the pool is then found by its name, among those
   * that were not there before. Its desktops come later: {@link DeskPoolsApi.waitForPool}.
   *
   * A pool may be there although this rejects: with a deadline, an abort or a failing event. Its name leads to it.
   *
   * @throws `ATP_VDI_STATE` with the platform's reason, `ATP_VDI_AMBIGUOUS` if others make pools of the same name now
   */
  async create(pool: DeskPoolCreateDto, options: WaitOptions = {}): Promise<{ pool: DesktopPoolVO; eventId: string }> {
    const { timeoutMs = CREATE_MS, signal } = options
    const untilMs = performance.now() + timeoutMs
    const before = new Set((await this.#named(pool.name, { signal, timeoutMs })).map(({ id }) => id))
    const { eventId } = await this.#caller.call(deskPools.create, { body: pool }, { signal, timeoutMs })
    const watch = new EventWatch(this.#caller, [eventId])
    const what = `desk pool ${pool.name} to appear`
    const rest = { ...options, timeoutMs: Math.max(1, untilMs - performance.now()) }
    return until(
      this.#caller,
      what,
      rest,
      () => `event ${eventId} is unfinished`,
      async (stop) => {
        await watch.refresh({ signal: stop })
        throwFailure(watch, what)
        const made = (await this.#named(pool.name, { signal: stop })).filter(({ id }) => !before.has(id))
        const one = only(made, pool.name)
        return one && { pool: one, eventId }
      },
    )
  }

  /** The pool with an id. The platform has no such question, so all are listed. @throws `ATP_VDI_NOT_FOUND` */
  async get(id: string, options?: CallOptions): Promise<DesktopPoolVO> {
    for await (const pool of this.list({}, options)) if (pool.id === id) return pool
    throw remoteError('ATP_VDI_NOT_FOUND', `the platform has no desk pool with id ${id}`, { context: { pool: id } })
  }

  /** The pool with exactly this name, undefined for none. @throws `ATP_VDI_AMBIGUOUS` for several */
  async find(name: string, options?: CallOptions): Promise<DesktopPoolVO | undefined> {
    return only(await this.#named(name, options), name)
  }

  /** Pools, page by page as they are needed. `timeoutMs` bounds each page. */
  list(filter: DeskPoolFilter = {}, options?: CallOptions): AsyncGenerator<DesktopPoolVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  /** All pools at once. */
  listAll(filter: DeskPoolFilter = {}, options?: CallOptions): Promise<DesktopPoolVO[]> {
    return allRows(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  #reader(filter: DeskPoolFilter, options: CallOptions | undefined): ReadPage<DesktopPoolVO> {
    return (page) => this.#caller.call(deskPools.list, { query: { ...filter, ...page } }, options)
  }

  /** Changes a pool, its number of desktops included; answers the event to follow. */
  async update(id: string, changes: DeskPoolUpdateDto, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(deskPools.update, { path: { id }, body: changes }, options)).eventId
  }

  /** Deletes a pool. */
  delete(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.delete, { path: { id } }, options)
  }

  /** Lets users into a pool. */
  enable(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.enable, { path: { id } }, options)
  }

  /** Keeps users out of a pool. */
  disable(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.disable, { path: { id } }, options)
  }

  /** Brings an archived pool back. */
  activate(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.activate, { path: { id } }, options)
  }

  /** Archives a pool. */
  archive(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.archive, { path: { id } }, options)
  }

  /** Switches a pool's template; answers the event to follow, see {@link DeskPoolsApi.waitForModel}. */
  async switchModel(id: string, modelId: string, options?: CallOptions): Promise<string> {
    const body = { deskPoolId: id, modelId }
    return (await this.#caller.call(deskPools.switchModel, { body }, options)).eventId
  }

  /** Desktops of a pool. */
  domains(id: string, options?: CallOptions): Promise<DomainVO[]> {
    return this.#caller.call(deskPools.domains, { path: { id } }, options)
  }

  /** Adds VMs to a pool. @throws `ATP_VDI_PARTIAL` for those that were not added */
  async addDomains(id: string, domainIds: string[], options: BatchOptions = {}): Promise<BatchOutcome> {
    const body = { id, domainIdList: domainIds }
    const refused = await this.#caller.call(deskPools.addDomains, { body }, options)
    const failed = failuresOf(refused, 'the platform did not add it')
    return settled('deskPools.addDomains', { events: [], failed }, options.partial)
  }

  /** Takes VMs out of a pool. */
  removeDomains(id: string, domainIds: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.removeDomains, { body: { id, domainIdList: domainIds } }, options)
  }

  /** Lets organisational units (`ou=x,ou=y`) into a pool. @throws `ATP_VDI_STATE` with those that the platform refused */
  async addGroups(id: string, groups: string[], options?: CallOptions): Promise<void> {
    const refused = await this.#caller.call(deskPools.addGroups, { body: { id, groupNameList: groups } }, options)
    if (refused.length === 0) return
    throw remoteError('ATP_VDI_STATE', `deskPools.addGroups: the platform did not link ${refused.join(', ')}`, {
      context: { pool: id, refused },
    })
  }

  /** Keeps organisational units out of a pool again. */
  removeGroups(id: string, groups: string[], options?: CallOptions): Promise<void> {
    return this.#caller.call(deskPools.removeGroups, { body: { id, groupNameList: groups } }, options)
  }

  /**
   * Waits until the pool with a name has exactly `amount` desktops and none of them is busy.
   *
   * @throws `ATP_VDI_STATE` with the platform's reason when an event tells of a failure, or when the events are over
   * and the pool has another number of desktops; `ATP_VDI_TIMEOUT` with what there is
   */
  waitForPool(name: string, amount: number, options?: WaitForPoolOptions): Promise<ReadyPool> {
    return waitForPool(this.#caller, name, (signal) => this.find(name, { signal }), amount, options)
  }

  /** Waits until a pool uses a template. @throws `ATP_VDI_STATE` with the platform's reason, `ATP_VDI_TIMEOUT` */
  waitForModel(id: string, modelId: string, options?: WaitForPoolOptions): Promise<DesktopPoolVO> {
    return waitForModel(this.#caller, (signal) => this.get(id, { signal }), modelId, options)
  }

  async #named(name: string, options?: CallOptions): Promise<DesktopPoolVO[]> {
    return (await this.listAll({ keyword: name }, options)).filter((pool) => pool.name === name)
  }
}

function only(pools: DesktopPoolVO[], name: string): DesktopPoolVO | undefined {
  if (pools.length < 2) return pools[0]
  const ids = pools.map(({ id }) => id)
  throw remoteError('ATP_VDI_AMBIGUOUS', `the platform has ${ids.length} desk pools named ${name}: ${ids.join(', ')}`, {
    context: { name, ids },
    remedy: 'name the pool by its id, or give it a name of its own',
  })
}
