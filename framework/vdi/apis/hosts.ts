import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import {
  type HostDetailVO,
  type HostHardwareVO,
  type HostPerformanceVO,
  hosts,
  type HostVO,
} from '../operations/hosts.ts'
import { allPages, collected } from '../pages.ts'
import { HOST_STATUS, type HostState } from '../statuses.ts'
import { rangeTime } from '../times.ts'

/** Which hosts to list. */
export interface HostFilter {
  name?: string
  poolId?: string
  /** Wire values, see `HOST_STATUS`. */
  status?: number[]
  arch?: string[]
}

/** Hypervisors. */
export class HostsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Hosts, page by page as they are needed. */
  list(filter: HostFilter = {}, options?: CallOptions): AsyncGenerator<HostVO, void, undefined> {
    const query = { ...filter, status: filter.status?.join(), arch: filter.arch?.join() }
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(hosts.list, { query: { ...query, ...page } }, options),
    )
  }

  /** All hosts at once. */
  listAll(filter?: HostFilter, options?: CallOptions): Promise<HostVO[]> {
    return collected(this.list(filter, options))
  }

  /** One host. */
  get(id: string, options?: CallOptions): Promise<HostDetailVO> {
    return this.#caller.call(hosts.get, { path: { id } }, options)
  }

  /** Hardware of a host. */
  hardware(id: string, options?: CallOptions): Promise<HostHardwareVO> {
    return this.#caller.call(hosts.hardware, { path: { id } }, options)
  }

  /** State of a host, undefined for a status that no document names. */
  async status(id: string, options?: CallOptions): Promise<HostState | undefined> {
    const { status } = await this.get(id, options)
    return (Object.keys(HOST_STATUS) as HostState[]).find((state) => HOST_STATUS[state] === status)
  }

  /** Uptime as the platform gives it; its unit is not documented. */
  async uptime(id: string, options?: CallOptions): Promise<number> {
    return (await this.#caller.call(hosts.uptime, { path: { id } }, options)).uptime
  }

  /** Samples of a host's memory and CPU between two times. */
  performance(id: string, from: Date, to: Date, options?: CallOptions): Promise<HostPerformanceVO[]> {
    const { timestampZone, rangeTimeForm } = this.#caller.assumptions
    const query = {
      beginTime: rangeTime(from, timestampZone, rangeTimeForm),
      endTime: rangeTime(to, timestampZone, rangeTimeForm),
    }
    return this.#caller.call(hosts.performance, { path: { id }, query }, options)
  }
}
