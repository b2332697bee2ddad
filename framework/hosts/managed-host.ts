import { isAtpError } from '../core/index.ts'
import { CallStatistics } from './call-statistics.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { HostTask, UseOptions } from './connection-pool-api.ts'
import type { PoolSettings } from './connection-pool-settings.ts'
import type { HostConnection, HostConnectionOptions } from './host-connection.ts'
import type { HostSettings } from './host-settings.ts'
import { observeAll, type HostObserver } from './observer.ts'
import { TaskStatistics } from './task-statistics.ts'
import type { HostStatistics } from './transport-statistics.ts'

/** Makes a connection that is not connected yet. */
export type CreateConnection = (host: HostSettings, options: HostConnectionOptions) => HostConnection

export interface ManagedHostOptions {
  /** Where the host says nothing else. */
  pool: PoolSettings
  observe: HostObserver | undefined
  create: CreateConnection
}

/** One host of a manager: its pool and what is counted about it. */
export class ManagedHost {
  /** Another object only with what `sameHost` calls the same. */
  settings: HostSettings
  readonly pool: ConnectionPool
  readonly tasks = new TaskStatistics()
  readonly calls = new CallStatistics()

  constructor(settings: HostSettings, { pool, observe, create }: ManagedHostOptions) {
    this.settings = settings
    const counting: HostObserver = {
      linkOpened() {},
      linkClosed() {},
      stateChanged() {},
      callSettled: (_link, call) => this.calls.record(call),
      poolCounted() {},
      poolTimed() {},
    }
    const options = { ...settings.connection, observe: observe ? observeAll([counting, observe]) : counting }
    const { connectTimeoutMs, autoReconnect, maxAttempts } = options
    this.pool = new ConnectionPool({
      // Who may take long to connect is waited for as long.
      ...(connectTimeoutMs === undefined ? {} : { acquireTimeoutMs: connectTimeoutMs }),
      ...pool,
      ...settings.pool,
      host: settings.id,
      observe,
      maxRetries: autoReconnect === false ? 0 : maxAttempts,
      create: () => create(this.settings, options),
    })
  }

  /** Runs a task with one of the pool's connections and counts it. */
  async run<T>(task: HostTask<T>, options?: UseOptions): Promise<T> {
    const ended = this.tasks.begin()
    try {
      const value = await this.pool.use(task, options)
      ended('ok')
      return value
    } catch (error) {
      ended(isAtpError(error) && error.branch === 'interrupted' ? 'interrupted' : 'error')
      throw error
    }
  }

  /** Where the host stands when one of several is wanted: usable ones first, the less used before the others. */
  rank(): number {
    const { active, idle, uses } = this.pool.metrics()
    return active + idle > 0 ? uses / (active + idle) : Infinity
  }

  statistics(): HostStatistics {
    return {
      host: this.settings.id,
      uri: this.settings.uri,
      connections: this.pool.metrics(),
      tasks: this.tasks.figures(),
      calls: this.calls.summary(),
    }
  }
}
