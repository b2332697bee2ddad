import type { SettledCall } from '../protocols/libvirt/call-observer.ts'
import type { HostRole } from './host-role.ts'

/** One connection to a host's daemon. */
export interface ObservedLink {
  /** Id of the host. */
  host: string
  /**
   * What it is for; `control` where one connection is shared by all roles; `relief` for one that was opened for a while,
   * since VMs that hang hold the calls of another.
   */
  role: HostRole | 'relief'
}

/** What a pool counts; `PoolMetrics` says what each means. `failed` only grows. */
export type PoolCount = 'active' | 'idle' | 'connecting' | 'uses' | 'waiting' | 'failed'

/** Told by `ConnectionPool` how its figures change. Methods must be short and must not throw. */
export interface PoolObserver {
  poolCounted(host: string, what: PoolCount, by: number): void
  /** A caller got its connection, or a connection was made, after this time. */
  poolTimed(host: string, what: 'acquire' | 'connect', durationMs: number): void
}

/**
 * Told what happens on the connections to a host and in its pools; metrics and statistics are made of it. Methods run
 * where the thing happens: they must be short and must not throw.
 */
export interface HostObserver extends PoolObserver {
  /**
   * A connection is ready for calls. `reconnect`: it replaces one that was lost. Of a `relief` it is known only that it
   * was dialled, and how long that took.
   */
  linkOpened(link: ObservedLink, how: { durationMs: number; reconnect: boolean }): void
  /** A connection that was opened has ended; `reason` is undefined where this side closed it. */
  linkClosed(link: ObservedLink, reason: Error | undefined): void
  /** The host's state changed. Every way of states begins and, once closed, ends with `disconnected`. */
  stateChanged(change: { host: string; from: string; to: string }): void
  /** A call is over; see `LibvirtClient.open`'s `observe`. */
  callSettled(link: ObservedLink, call: SettledCall): void
}

/** One observer that tells several. */
export function observeAll(observers: readonly HostObserver[]): HostObserver {
  return {
    linkOpened: (link, how) => observers.forEach((one) => one.linkOpened(link, how)),
    linkClosed: (link, reason) => observers.forEach((one) => one.linkClosed(link, reason)),
    stateChanged: (change) => observers.forEach((one) => one.stateChanged(change)),
    callSettled: (link, call) => observers.forEach((one) => one.callSettled(link, call)),
    poolCounted: (host, what, by) => observers.forEach((one) => one.poolCounted(host, what, by)),
    poolTimed: (host, what, durationMs) => observers.forEach((one) => one.poolTimed(host, what, durationMs)),
  }
}
