import { randomUUID } from 'node:crypto'
import type { PlatformClock } from './clock.ts'
import type { PlatformBehaviour } from './options.ts'
import type { EventRow, HostRow } from './rows.ts'
import type { Table } from './store.ts'

/** Numbers of `operateType`: this stand-in's own, since the platform's are not documented. */
const OPERATE_TYPE = {
  start: 1,
  close: 2,
  reboot: 3,
  suspend: 4,
  resume: 5,
  sleep: 6,
  wakeup: 7,
  create: 8,
  clone: 9,
  snapshot: 10,
  unmount: 11,
  poolCreate: 20,
  poolChange: 21,
  poolSwitch: 22,
  templateClone: 23,
} as const
export type OperateType = keyof typeof OPERATE_TYPE

/** What an event is about. */
export interface EventSubject {
  id: string
  name: string
  hostId?: string
  /** 0 VM, 1 template. */
  eventType?: number
}

/** One event under way. */
export interface OpenEvent {
  readonly id: string
  succeed(): void
  fail(reason: string): void
}

const MOST_EVENTS = 20_000

/** The platform's events, newest last. */
export class EventLog {
  readonly #rows: Table<EventRow>
  readonly #hosts: Table<HostRow>
  readonly #behaviour: PlatformBehaviour
  readonly #clock: PlatformClock

  constructor(rows: Table<EventRow>, hosts: Table<HostRow>, behaviour: PlatformBehaviour, clock: PlatformClock) {
    this.#rows = rows
    this.#hosts = hosts
    this.#behaviour = behaviour
    this.#clock = clock
  }

  /** After a start: nobody works any more at what an earlier process began. */
  endUnfinished(): void {
    const outcome = { success: false, errorReason: 'the platform was restarted', updateTime: this.#clock.now() }
    for (const row of this.#rows.all()) if (row.success === undefined) this.#rows.change(row.id, outcome)
  }

  begin(operation: OperateType, subject: EventSubject): OpenEvent {
    const now = this.#clock.now()
    const host = subject.hostId === undefined ? undefined : this.#hosts.get(subject.hostId)
    const row: EventRow = {
      id: randomUUID(),
      domainId: subject.id,
      domainName: subject.name,
      ...(host && { hostId: host.id, ip: host.ip }),
      eventType: subject.eventType ?? 0,
      operateType: OPERATE_TYPE[operation],
      description: `${operation} ${subject.name}`,
      createTime: now,
      updateTime: now,
    }
    const atOnce = this.#behaviour.eventLife === 'at-once'
    if (atOnce) this.#add(row)
    let over = false
    const end = (outcome: Partial<EventRow>) => {
      if (over) return
      over = true
      Object.assign(row, outcome, { updateTime: this.#clock.now() })
      if (atOnce) this.#rows.change(row.id, row)
      else this.#add(row)
    }
    return {
      id: row.id,
      succeed: () => end({ success: true }),
      fail: (errorReason) => end({ success: false, errorReason }),
    }
  }

  #add(row: EventRow): void {
    this.#rows.add(row)
    if (this.#rows.size <= MOST_EVENTS) return
    const oldest = this.#rows.oldest()
    if (oldest) this.#rows.delete(oldest.id)
  }
}
