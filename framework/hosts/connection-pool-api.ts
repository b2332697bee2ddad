import type { CallOptions } from '../core/index.ts'
import type { PoolSettings } from './connection-pool-settings.ts'
import type { HostConnection } from './host-connection.ts'
import type { ConnectionState } from './link.ts'
import type { PoolObserver } from './observer.ts'

/** What a pool needs of its connections; `HostConnection` has it. Only `connected` ones are handed out. */
export interface PoolMember {
  readonly state: ConnectionState
  /**
   * Rejects when no connection comes about; one that goes on trying by itself says so with its state. On a connection
   * that restores itself: waits for that, and makes it try harder meanwhile.
   */
  connect(options?: CallOptions): Promise<void>
  /** Returns the function that ends the telling. */
  onStateChange(handler: (change: { to: ConnectionState; error?: Error }) => void): () => void
  close(): Promise<void>
}

export interface ConnectionPoolOptions<M extends PoolMember> extends PoolSettings {
  /** Id of the host, for messages. */
  host: string
  /** A new connection that is not connected yet. */
  create: () => M
  /**
   * After a connection was given up or could not be made: how often the pool tries again by itself. Beyond that, it
   * does when somebody wants a connection. Default: no limit.
   */
  maxRetries?: number
  /** Told of every change of {@link PoolMetrics}. */
  observe?: PoolObserver | undefined
  /** 0 ≤ x < 1, for the strategy `random` and the jitter of pauses. Default `Math.random`. */
  random?: () => number
}

/** A connection in use. Whoever acquired it releases it, whatever happens. */
export interface PooledConnection<M = HostConnection> extends Disposable {
  readonly connection: M
  /** Ends the use. Idempotent. */
  release(): void
}

export interface AcquireOptions<M = HostConnection> extends CallOptions {
  /** Not this connection, if another one is usable. */
  avoid?: M
}

export interface UseOptions extends CallOptions {
  /**
   * The task may be carried out twice: where it died of a lost connection it is run once more, on another connection
   * if there is one.
   */
  idempotent?: boolean
}

/** Runs with a connection that is released when it ends. `signal` aborts when the caller gave up. */
export type HostTask<T, M = HostConnection> = (connection: M, signal: AbortSignal) => Promise<T> | T

/** Durations in milliseconds, of all that were measured. */
export interface LatencyFigures {
  count: number
  meanMs: number
  p99Ms: number
}

export interface PoolMetrics {
  /** Connections there are, in whatever state: `active + idle + connecting`. */
  total: number
  /** Usable ones that are in use. */
  active: number
  /** Usable ones nobody uses. */
  idle: number
  /** Being made, or being made again after a loss. */
  connecting: number
  /** Attempts that failed and connections that were given up, since the pool exists. */
  failed: number
  /** Uses under way. */
  uses: number
  /** Uses since the pool exists. */
  usesTotal: number
  /** Callers that wait for a connection. */
  waiting: number
  /** How long callers waited for their connection. */
  acquire: LatencyFigures
  /** How long it took to make a connection. */
  connect: LatencyFigures
}
