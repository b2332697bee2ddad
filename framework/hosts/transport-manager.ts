import pLimit from 'p-limit'
import {
  configError,
  connectError,
  isAtpError,
  nearest,
  stateError,
  withDeadline,
  type CallOptions,
} from '../core/index.ts'
import type { SpiceVmConnection } from '../protocols/spice/index.ts'
import type { HostInfo } from './access.ts'
import { isLost } from './connection-pool.ts'
import type { AcquireOptions, HostTask, PooledConnection, UseOptions } from './connection-pool-api.ts'
import type { PoolSettings } from './connection-pool-settings.ts'
import { HostConnection } from './host-connection.ts'
import { ManagedHost, type CreateConnection } from './managed-host.ts'
import { checkedHost, sameHost, type HostSettings } from './host-settings.ts'
import type { HostObserver } from './observer.ts'
import { SpiceVms, type SpiceVmOptions, type SpiceVmSettings } from './spice-vms.ts'
import { totalsOf, type ManagerStatistics } from './transport-statistics.ts'

export interface TransportManagerOptions {
  /** For hosts that say nothing else. */
  pool?: PoolSettings
  /** Hosts a call of {@link TransportManager.executeOnHosts} works on at once. Default 16. */
  concurrency?: number
  /** How long tasks of a removed host may go on. Default 30000. */
  drainTimeoutMs?: number
  /** Told of every connection and call of every host. */
  observe?: HostObserver
  /** Makes an unconnected connection. Default `HostConnection.create`. */
  create?: CreateConnection
  /** VMs whose SPICE servers are named by address. Each is connected to when it is first wanted. */
  spiceVms?: readonly SpiceVmSettings[]
}

/** What became of a task on one host. */
export type HostOutcome<T> =
  | { host: string; status: 'fulfilled'; value: T }
  | { host: string; status: 'rejected'; error: unknown }

/** What a new list of hosts changed, as ids. */
export interface HostChanges {
  added: string[]
  removed: string[]
  /** Known ones with other settings: their old connections drain, new ones are made. */
  changed: string[]
  unchanged: string[]
  /** Resolves when what was removed or changed has drained. */
  drained: Promise<void>
}

/**
 * The hosts of a program and their connections. Hosts come and go at run time; tasks run on one, several or any of
 * them with connections from the host's pool.
 */
export class TransportManager {
  readonly #options: Required<Omit<TransportManagerOptions, 'observe' | 'spiceVms'>> &
    Pick<TransportManagerOptions, 'observe'>
  readonly #hosts = new Map<string, ManagedHost>()
  readonly #draining = new Set<ManagedHost>()
  readonly #spiceVms: SpiceVms
  #closed = false

  /**
   * @throws `ATP_USAGE` for a `concurrency` that is no whole number from 1, `ATP_SPICE_DUPLICATE`, `ATP_SPICE_URI`.
   */
  constructor({ spiceVms, ...options }: TransportManagerOptions = {}) {
    this.#options = {
      pool: {},
      concurrency: 16,
      drainTimeoutMs: 30_000,
      create: (host, connection) => HostConnection.create(host, connection),
      ...options,
    }
    checkConcurrency(this.#options.concurrency)
    this.#spiceVms = new SpiceVms(spiceVms)
  }

  /**
   * Adds a host and begins to connect to it. Does not wait: a host that is down shows in {@link statistics} and where
   * it is used.
   *
   * @throws `ATP_HOST_DUPLICATE`, `ATP_HOST_INVALID`, `ATP_LIBVIRT_URI`, `ATP_POOL_SETTINGS`, `ATP_HOSTS_CLOSED`.
   */
  addHost(host: HostSettings): void {
    this.#assertOpen()
    const made = this.#make(checkedHost(host))
    if (this.#hosts.has(idOf(made))) throw duplicate(idOf(made))
    this.#add(made)
  }

  /**
   * Removes a host: nobody gets a connection to it any more, running tasks may finish within `drainTimeoutMs`, then
   * its connections are closed.
   *
   * @returns how many tasks were still running when they lost their connection.
   * @throws `ATP_HOST_UNKNOWN`
   */
  async removeHost(id: string, { drainTimeoutMs = this.#options.drainTimeoutMs } = {}): Promise<number> {
    const host = this.#host(id)
    this.#hosts.delete(id)
    return this.#drain(host, drainTimeoutMs)
  }

  hasHost(id: string): boolean {
    return this.#hosts.has(id)
  }

  /** In the order they were added. */
  hosts(): HostInfo[] {
    return [...this.#hosts.values()].map((host) => host.settings)
  }

  /**
   * Makes these the hosts: new ones are added, missing ones removed, changed ones replaced; the others keep their
   * connections. All or nothing: nothing changes when one of them is not valid.
   *
   * @throws as {@link addHost}.
   */
  apply(hosts: readonly HostSettings[]): HostChanges {
    this.#assertOpen()
    const wanted = new Map<string, HostSettings>()
    for (const host of hosts.map(checkedHost)) {
      if (wanted.has(host.id)) throw duplicate(host.id)
      wanted.set(host.id, host)
    }
    const stays = ({ settings }: ManagedHost) => {
      const next = wanted.get(settings.id)
      return next !== undefined && sameHost(settings, next)
    }
    const known = [...this.#hosts.values()]
    const unchanged = known.filter(stays).map(idOf)
    const leaving = known.filter((host) => !stays(host))
    // Made before anything is taken away: making one can fail.
    const coming = [...wanted.values()].filter(({ id }) => !unchanged.includes(id)).map((host) => this.#make(host))
    const changes = {
      added: coming.map(idOf).filter((id) => !this.#hosts.has(id)),
      removed: leaving.map(idOf).filter((id) => !wanted.has(id)),
      changed: leaving.map(idOf).filter((id) => wanted.has(id)),
      unchanged,
    }
    for (const id of unchanged) this.#host(id).settings = wanted.get(id) as HostSettings
    for (const host of leaving) this.#hosts.delete(idOf(host))
    for (const host of coming) this.#add(host)
    const drained = Promise.all(leaving.map((host) => this.#drain(host, this.#options.drainTimeoutMs)))
    return { ...changes, drained: drained.then(() => {}) }
  }

  /**
   * A connection to a host, until it is released.
   *
   * @throws `ATP_HOST_UNKNOWN`, and as {@link ConnectionPool.acquire}.
   */
  async getLibvirtConnection(id: string, options?: AcquireOptions): Promise<PooledConnection> {
    return this.#host(id).pool.acquire(options)
  }

  /**
   * Adds a VM whose SPICE server is at this address and opens the session's main channel. Nothing is left of it when
   * that fails. The session is the manager's: {@link removeSpiceVm} and {@link close} end it.
   *
   * @throws `ATP_SPICE_DUPLICATE`, `ATP_SPICE_URI` for a port that is none, `ATP_HOSTS_CLOSED`, what opening throws.
   */
  async addSpiceVm(
    vmId: string,
    serverAddr: string,
    port: number,
    { signal, timeoutMs, ...options }: SpiceVmOptions & CallOptions = {},
  ): Promise<SpiceVmConnection> {
    this.#assertOpen()
    return this.#spiceVms.add({ vmId, serverAddr, port, ...options }, { signal, timeoutMs })
  }

  /**
   * The SPICE session with a VM that is known by its address; its main channel is open. One for all callers.
   *
   * @throws `ATP_SPICE_UNKNOWN_VM`, `ATP_HOSTS_CLOSED`, what opening throws.
   */
  async getSpiceConnection(vmId: string, options?: CallOptions): Promise<SpiceVmConnection> {
    this.#assertOpen()
    return this.#spiceVms.get(vmId, options)
  }

  /** Ends the SPICE session with a VM and forgets its address. @throws `ATP_SPICE_UNKNOWN_VM` */
  async removeSpiceVm(vmId: string): Promise<void> {
    this.#assertOpen()
    await this.#spiceVms.remove(vmId)
  }

  /** Ids of the VMs whose SPICE servers are known by address. */
  spiceVms(): string[] {
    return this.#spiceVms.ids
  }

  /**
   * Runs a task with a connection of one host, which is released whatever happens.
   *
   * @throws `ATP_HOST_UNKNOWN`, and as {@link ConnectionPool.use}.
   */
  async executeOnHost<T>(id: string, task: HostTask<T>, options?: UseOptions): Promise<T> {
    return this.#host(id).run(task, options)
  }

  /**
   * Runs a task on several hosts at once. What became of each is told in the order of `ids`; a host's failure is no
   * rejection. `timeoutMs` bounds each host's task from its own beginning.
   *
   * @throws `ATP_USAGE` for a `concurrency` that is no whole number from 1.
   */
  async executeOnHosts<T>(
    ids: readonly string[],
    task: HostTask<T>,
    { concurrency = this.#options.concurrency, ...options }: UseOptions & { concurrency?: number } = {},
  ): Promise<HostOutcome<T>[]> {
    checkConcurrency(concurrency)
    return pLimit(concurrency).map(ids, async (host): Promise<HostOutcome<T>> => {
      try {
        return { host, status: 'fulfilled', value: await this.executeOnHost(host, task, options) }
      } catch (error) {
        return { host, status: 'rejected', error }
      }
    })
  }

  /**
   * Runs a task on one of these hosts: first those with a usable connection, the least used one first, then the
   * others. The next one is tried where no connection came about, and with `idempotent` also where the task died of a
   * lost connection twice; any other error of the task is the caller's. `timeoutMs` bounds all of it.
   *
   * @throws `ATP_HOSTS_UNAVAILABLE` with every host's error as its cause, `ATP_HOST_UNKNOWN`, what the task throws.
   */
  executeOnAny<T>(
    ids: readonly string[],
    task: HostTask<T>,
    { idempotent = false, ...bounds }: UseOptions = {},
  ): Promise<{ host: string; value: T }> {
    return withDeadline(`a task on one of ${ids.join(', ')}`, bounds, async (signal) => {
      const hosts = ids.map((id) => this.#host(id)).sort((a, b) => a.rank() - b.rank())
      const errors: Error[] = []
      for (const host of hosts) {
        let begun = false
        const noted: HostTask<T> = (connection, taskSignal) => {
          begun = true
          return task(connection, taskSignal)
        }
        try {
          return { host: host.settings.id, value: await host.run(noted, { idempotent, signal }) }
        } catch (error) {
          if (signal.aborted || !isAtpError(error) || (begun && !(idempotent && isLost(error)))) throw error
          errors.push(error)
        }
      }
      throw connectError(
        'ATP_HOSTS_UNAVAILABLE',
        `none of the hosts can be used: ${ids.join(', ') || 'none was named'}`,
        {
          cause: new AggregateError(errors, errors.map((error) => error.message).join('\n')),
          retryable: errors.some((error) => isAtpError(error) && error.retryable),
          remedy: 'see what is the matter with each: npx atp host check',
        },
      )
    })
  }

  /** Connections, tasks and calls of each host there is now, and of all of them. */
  statistics(): ManagerStatistics {
    const hosts = [...this.#hosts.values()]
    return { hosts: hosts.map((host) => host.statistics()), total: totalsOf(hosts) }
  }

  /**
   * Ends everything, also what still drains. Running tasks may finish within `drainTimeoutMs` (default 0). Idempotent.
   */
  async close({ drainTimeoutMs = 0 } = {}): Promise<void> {
    this.#closed = true
    const all = [...this.#hosts.values(), ...this.#draining]
    this.#hosts.clear()
    await Promise.all([this.#spiceVms.close(), ...all.map((host) => host.pool.close({ drainTimeoutMs }))])
  }

  #make(settings: HostSettings): ManagedHost {
    const { pool, observe, create } = this.#options
    return new ManagedHost(settings, { pool, observe, create })
  }

  #add(host: ManagedHost): void {
    this.#hosts.set(idOf(host), host)
    host.pool.warm()
  }

  async #drain(host: ManagedHost, drainTimeoutMs: number): Promise<number> {
    this.#draining.add(host)
    try {
      return await host.pool.close({ drainTimeoutMs })
    } finally {
      this.#draining.delete(host)
    }
  }

  #host(id: string): ManagedHost {
    this.#assertOpen()
    const host = this.#hosts.get(id)
    if (host) return host
    const guess = nearest(id, this.#hosts.keys())
    throw configError('ATP_HOST_UNKNOWN', `there is no host "${id}"`, {
      remedy: guess ? `did you mean "${guess}"?` : `known: ${[...this.#hosts.keys()].join(', ') || 'none'}`,
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw stateError('ATP_HOSTS_CLOSED', 'the connections to all hosts are closed')
  }
}

function idOf({ settings }: ManagedHost): string {
  return settings.id
}

function checkConcurrency(concurrency: number): void {
  if ((Number.isInteger(concurrency) && concurrency >= 1) || concurrency === Infinity) return
  throw configError('ATP_USAGE', `tasks on several hosts: concurrency is ${concurrency}, not a whole number from 1`, {
    remedy: 'give the number of hosts to work on at once; without it there are 16',
  })
}

function duplicate(id: string): Error {
  return configError('ATP_HOST_DUPLICATE', `there are two hosts "${id}"`, { remedy: 'give one of them another id' })
}
