import type { Lease, LeasedVm, LeaseRequest } from './api.ts'
import type { ClientKind, LeaseNotice } from './codec.ts'
import type { GrantedVm } from './scheduler.ts'

/** One client's connection as the broker sees it. */
export interface Session {
  readonly run: string
  readonly kind: ClientKind
  readonly pid: number
  readonly notify: (notice: LeaseNotice) => void
  /** Wants to hear of all leases of its run. */
  subscribed: boolean
  /** A `run` client that said its run is over. */
  ended: boolean
}

/** One request, from its arrival until its VMs are given back. */
export interface LeaseEntry {
  readonly id: string
  readonly ticket: number
  readonly session: Session
  /** The client's number for the call. */
  readonly call: number
  readonly request: LeaseRequest
  readonly sinceMs: number
  readonly abort: AbortController
  state: 'waiting' | 'making' | 'held' | 'over'
  timer: NodeJS.Timeout | undefined
  granted: readonly GrantedVm[]
  /** VMs being made, by name; settles when nothing more happens to the VM. */
  readonly making: Map<string, Promise<void>>
  vms: LeasedVm[]
  resolve(lease: Lease): void
  reject(error: unknown): void
}

/** Who is connected, what they asked for, and which runs are over. */
export class LeaseBook {
  readonly sessions = new Set<Session>()
  readonly #entries = new Map<number, LeaseEntry>()
  readonly #over = new Set<string>()

  get entries(): Iterable<LeaseEntry> {
    return this.#entries.values()
  }
  get empty(): boolean {
    return this.#entries.size === 0
  }

  add(entry: LeaseEntry): void {
    this.#entries.set(entry.ticket, entry)
  }
  delete(entry: LeaseEntry): void {
    this.#entries.delete(entry.ticket)
  }
  byTicket(ticket: number): LeaseEntry | undefined {
    return this.#entries.get(ticket)
  }
  of(which: (entry: LeaseEntry) => boolean): LeaseEntry[] {
    return [...this.#entries.values()].filter(which)
  }

  join(session: Session): void {
    this.sessions.add(session)
    // A new owner of the run: watch mode starts the same run again.
    if (session.kind === 'run') this.#over.delete(session.run)
  }
  leave(session: Session): void {
    this.sessions.delete(session)
    if (![...this.sessions].some((other) => other.run === session.run)) this.#over.delete(session.run)
  }
  /** From now on nobody gets VMs for this run. Forgotten when its last client has left. */
  endRun(run: string): void {
    this.#over.add(run)
  }
  isOver(run: string): boolean {
    return this.#over.has(run)
  }
}
