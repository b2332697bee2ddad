import { CallStatistics, type CallSummary } from './call-statistics.ts'
import type { PoolMetrics } from './connection-pool-api.ts'
import { TaskStatistics, type TaskFigures } from './task-statistics.ts'

/** Numbers of one host since it was added. */
export interface HostStatistics {
  host: string
  uri: string
  connections: PoolMetrics
  /** Of `executeOnHost` and its like. */
  tasks: TaskFigures
  /** libvirt calls on all connections. */
  calls: CallSummary
}

/** Numbers of several hosts together. */
export interface TransportTotals {
  hosts: number
  connections: Omit<PoolMetrics, 'acquire' | 'connect'>
  tasks: TaskFigures
  calls: CallSummary
}

export interface ManagerStatistics {
  /** In the order the hosts were added. */
  hosts: HostStatistics[]
  /** Of the hosts there are now. */
  total: TransportTotals
}

const COUNTS = ['total', 'active', 'idle', 'connecting', 'failed', 'uses', 'usesTotal', 'waiting'] as const

/** What is counted about one host. */
interface Counted {
  readonly pool: { metrics(): PoolMetrics }
  readonly tasks: TaskStatistics
  readonly calls: CallStatistics
}

/** Adds up hosts. */
export function totalsOf(hosts: readonly Counted[]): TransportTotals {
  const tasks = new TaskStatistics()
  const calls = new CallStatistics()
  const connections = Object.fromEntries(COUNTS.map((count) => [count, 0])) as TransportTotals['connections']
  for (const host of hosts) {
    tasks.merge(host.tasks)
    calls.merge(host.calls)
    const metrics = host.pool.metrics()
    for (const count of COUNTS) connections[count] += metrics[count]
  }
  return { hosts: hosts.length, connections, tasks: tasks.figures(), calls: calls.summary() }
}
