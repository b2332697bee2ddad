import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import {
  type HostDetailVO,
  type HostHardwareVO,
  type HostPerformanceVO,
  hosts,
  type HostVersionVO,
  type HostVO,
  type RunningHostPerformanceVO,
} from '../operations/hosts.ts'
import { allPages, allRows, type ReadPage } from '../pages.ts'
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
    return allPages(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  /** All hosts at once. */
  listAll(filter: HostFilter = {}, options?: CallOptions): Promise<HostVO[]> {
    return allRows(this.#caller.assumptions.pageRows, this.#reader(filter, options))
  }

  #reader(filter: HostFilter, options: CallOptions | undefined): ReadPage<HostVO> {
    const query = { ...filter, status: filter.status?.join(), arch: filter.arch?.join() }
    return (page) => this.#caller.call(hosts.list, { query: { ...query, ...page } }, options)
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

  /** Puts a host into maintenance, in which it takes no VM, or enables it again. */
  setStatus(id: string, state: 'enabled' | 'maintenance', options?: CallOptions): Promise<void> {
    return this.#caller.call(hosts.setStatus, { path: { id }, body: { status: HOST_STATUS[state] } }, options)
  }

  /** Lets the platform read the states of a host and its VMs again. */
  syncStatus(id: string, options?: CallOptions): Promise<void> {
    return this.#caller.call(hosts.syncStatus, { path: { id } }, options)
  }

  /** Changes how many VMs may run on a host. */
  setDomainLimit(id: string, limit: number, options?: CallOptions): Promise<void> {
    return this.#caller.call(hosts.setDomainLimit, { path: { id }, body: { limit } }, options)
  }

  /** Versions of the host's agent and of SPICE on it. */
  version(id: string, options?: CallOptions): Promise<HostVersionVO> {
    return this.#caller.call(hosts.version, { path: { id } }, options)
  }

  /** Uptime as the platform gives it; its unit is not documented. */
  async uptime(id: string, options?: CallOptions): Promise<number> {
    return (await this.#caller.call(hosts.uptime, { path: { id } }, options)).uptime
  }

  /** Samples of a host's memory and CPU between two times. */
  performance(id: string, from: Date, to: Date, options?: CallOptions): Promise<HostPerformanceVO[]> {
    return this.#caller.call(hosts.performance, { path: { id }, query: this.#range(from, to) }, options)
  }

  /** The same of all hosts; `uuid` of a sample is its host. */
  performanceOfAll(from: Date, to: Date, options?: CallOptions): Promise<HostPerformanceVO[]> {
    return this.#caller.call(hosts.performanceOfAll, { query: this.#range(from, to) }, options)
  }

  /** Memory and CPU now, summed over the hosts that are enabled. */
  performanceNow(options?: CallOptions): Promise<RunningHostPerformanceVO> {
    return this.#caller.call(hosts.performanceNow, {}, options)
  }

  #range(from: Date, to: Date): { beginTime: string; endTime: string } {
    const { timestampZone, rangeTimeForm } = this.#caller.assumptions
    return {
      beginTime: rangeTime(from, timestampZone, rangeTimeForm),
      endTime: rangeTime(to, timestampZone, rangeTimeForm),
    }
  }
}
