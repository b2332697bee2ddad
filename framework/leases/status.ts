import type { HostDescription } from './api.ts'
import type { ClientKind } from './codec.ts'
import type { Fleet } from './fleet.ts'
import type { LeaseBook } from './lease-book.ts'
import type { HostLoad, Scheduler, SlotState } from './scheduler.ts'

/** What the broker does right now. */
export interface BrokerStatus {
  pid: number
  /** Milliseconds since the epoch. */
  startedAtMs: number
  hosts: (HostDescription & HostLoad)[]
  vms: {
    name: string
    host: string
    /** Missing while it is being made. */
    uuid?: string
    profile?: string
    state: SlotState
    /** Of a leased VM. */
    run?: string
    lease?: string
    holder?: string
    /** Why it could not be destroyed so far. */
    trouble?: string
  }[]
  /** In the order in which they will be served. */
  waiting: { run: string; holder: string; reason: string; waitMs: number }[]
  /** Locks and attached VMs in use. */
  locks: { name: string; run: string; holder: string }[]
  clients: { run: string; kind: ClientKind; pid: number }[]
  /** Standbys to keep per host, by profile. */
  standbys: Record<string, number>
}

interface Sources {
  scheduler: Scheduler
  fleet: Fleet
  book: LeaseBook
  standbys: Record<string, number>
  startedAtMs: number
}

export function statusOf({ scheduler, fleet, book, standbys, startedAtMs }: Sources): BrokerStatus {
  const holderOf = (ticket: number | undefined) => {
    const entry = ticket === undefined ? undefined : book.byTicket(ticket)
    return entry && { run: entry.session.run, lease: entry.id, holder: entry.request.holder }
  }
  return {
    pid: process.pid,
    startedAtMs,
    hosts: [...scheduler.hosts.values()].map((host) => ({ ...host, ...scheduler.load(host.id) })),
    vms: [...scheduler.slots].map(({ name, host, profile, state, ticket }) => {
      const { uuid, trouble } = fleet.vms.get(name) ?? {}
      return {
        name,
        host,
        state,
        ...(uuid && { uuid }),
        ...(profile && { profile }),
        ...holderOf(ticket),
        ...(trouble && { trouble }),
      }
    }),
    waiting: scheduler.waiting.map((ticket) => {
      const entry = book.byTicket(ticket)
      return {
        run: entry?.session.run ?? '',
        holder: entry?.request.holder ?? '',
        reason: scheduler.reasonOf(ticket) ?? '',
        waitMs: entry ? Math.round(performance.now() - entry.sinceMs) : 0,
      }
    }),
    locks: [...scheduler.locks].map(([name, ticket]) => {
      const { run = '', holder = '' } = holderOf(ticket) ?? {}
      return { name, run, holder }
    }),
    clients: [...book.sessions].map(({ run, kind, pid }) => ({ run, kind, pid })),
    standbys,
  }
}
