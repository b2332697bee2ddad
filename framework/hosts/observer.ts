import type { SettledCall } from '../protocols/libvirt/call-observer.ts'
import type { HostRole } from './host-role.ts'

/** One connection to a host's daemon. */
export interface ObservedLink {
  /** Id of the host. */
  host: string
  /** What it is for; `control` where one connection is shared by all roles. */
  role: HostRole
}

/**
 * Told by `HostConnection` what happens on its connections; metrics and statistics are made of it. Methods run
 * where the thing happens: they must be short and must not throw.
 */
export interface HostObserver {
  /** A connection is ready for calls. `reconnect`: it replaces one that was lost. */
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
  }
}
