import { randomUUID } from 'node:crypto'
import type { PlatformClock } from './clock.ts'
import { EventLog } from './event-log.ts'
import type { Faults } from './faults.ts'
import type { PlatformBehaviour } from './options.ts'
import { refuse } from './refusal.ts'
import type {
  EventRow,
  GroupRow,
  HostRow,
  PoolRow,
  SettingRow,
  SnapshotRow,
  UsbRow,
  UserRow,
  VmRow,
  VolumeRow,
} from './rows.ts'
import { Sessions } from './sessions.ts'
import type { Store, Table } from './store.ts'
import type { PlatformWorld } from './world.ts'

export interface GroundParts {
  store: Store
  world: PlatformWorld
  behaviour: PlatformBehaviour
  clock: PlatformClock
  faults: Faults
  userPassword: string
}

/** What is remembered, and how the platform behaves. */
export class PlatformGround {
  readonly behaviour: PlatformBehaviour
  readonly clock: PlatformClock
  readonly world: PlatformWorld
  readonly faults: Faults
  readonly sessions: Sessions
  readonly events: EventLog
  readonly userPassword: string
  readonly vms: Table<VmRow>
  readonly volumes: Table<VolumeRow>
  readonly snapshots: Table<SnapshotRow>
  readonly pools: Table<PoolRow>
  readonly hosts: Table<HostRow>
  readonly eventRows: Table<EventRow>
  readonly users: Table<UserRow>
  readonly groups: Table<GroupRow>
  readonly usb: Table<UsbRow>
  readonly settings: Table<SettingRow>

  constructor({ store, world, behaviour, clock, faults, userPassword }: GroundParts) {
    this.behaviour = behaviour
    this.clock = clock
    this.world = world
    this.faults = faults
    this.userPassword = userPassword
    this.vms = store.table('vms')
    this.volumes = store.table('volumes')
    this.snapshots = store.table('snapshots')
    this.pools = store.table('pools')
    this.hosts = store.table('hosts')
    this.eventRows = store.table('events')
    this.users = store.table('users')
    this.groups = store.table('groups')
    this.usb = store.table('usb')
    this.settings = store.table('settings')
    this.sessions = new Sessions(behaviour, clock)
    this.events = new EventLog(this.eventRows, this.hosts, behaviour, clock)
  }

  /** Id of this platform, the same for as long as its database lives. */
  get id(): string {
    return this.setting('platform', () => randomUUID().slice(0, 8))
  }

  /** Id of the only resource pool and of its storage pool, which the stand-in has but does not manage. */
  get resourcePoolId(): string {
    return this.setting('resource-pool', randomUUID)
  }

  get storagePoolId(): string {
    return this.setting('storage-pool', randomUUID)
  }

  setting(name: string, first: () => string): string {
    return (this.settings.get(name) ?? this.settings.add({ id: name, value: first() })).value
  }

  changeSetting(name: string, value: string): void {
    if (this.settings.get(name)) this.settings.change(name, { value })
    else this.settings.add({ id: name, value })
  }

  vm(id: string): VmRow {
    const row = this.vms.get(id)
    if (row && row.isModel === 0 && row.isRecycle === 0) return row
    throw refuse('noSuch', `there is no VM ${id}`)
  }

  template(id: string): VmRow {
    const row = this.vms.get(id)
    if (row?.isModel === 1) return row
    throw refuse('noSuch', `there is no template ${id}`)
  }

  pool(id: string): PoolRow {
    const row = this.pools.get(id)
    if (row) return row
    throw refuse('noSuch', `there is no desk pool ${id}`)
  }

  host(id: string): HostRow {
    const row = this.hosts.get(id)
    if (row) return row
    throw refuse('noSuch', `there is no host ${id}`)
  }

  user(id: string): UserRow {
    const row = this.users.get(id)
    if (row) return row
    throw refuse('noSuch', `there is no user "${id}"`)
  }

  /** VMs that are neither templates nor in the recycle bin. */
  domains(): VmRow[] {
    return this.vms.all().filter((row) => row.isModel === 0 && row.isRecycle === 0)
  }

  poolVms(poolId: string): VmRow[] {
    return this.domains().filter((row) => row.desktopPoolId === poolId)
  }
}
