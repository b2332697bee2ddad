import { randomUUID } from 'node:crypto'
import type { CallOptions } from '../../framework/core/index.ts'
import type { PlatformClock } from './clock.ts'
import { EventLog } from './event-log.ts'
import type { Faults } from './faults.ts'
import { HostLoad } from './host-load.ts'
import { Machines } from './machines.ts'
import type { PlatformBehaviour } from './options.ts'
import { refuse } from './refusal.ts'
import {
  HOST_STATUS,
  VM_STATUS,
  type EventRow,
  type GroupRow,
  type HostRow,
  type PoolRow,
  type SettingRow,
  type SnapshotRow,
  type UsbRow,
  type UserRow,
  type VmRow,
  type VolumeRow,
} from './rows.ts'
import { Sessions } from './sessions.ts'
import type { Store, Table } from './store.ts'
import type { PlatformWorld, WorldHost } from './world.ts'

/** Root of the organisational units. */
export const ROOT_GROUP = 'ou=ocloud'

/** Everything the operations work on. */
export class PlatformState {
  readonly behaviour: PlatformBehaviour
  readonly clock: PlatformClock
  readonly world: PlatformWorld
  readonly faults: Faults
  readonly sessions: Sessions
  readonly events: EventLog
  readonly machines: Machines
  readonly load: HostLoad
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

  constructor(parts: {
    store: Store
    world: PlatformWorld
    behaviour: PlatformBehaviour
    clock: PlatformClock
    faults: Faults
    userPassword: string
  }) {
    const { store, world, behaviour, clock, faults, userPassword } = parts
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
    this.machines = new Machines(this)
    this.load = new HostLoad(this)
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

  /** Brings what the database says in line with the world. */
  async open(hosts: readonly WorldHost[], options: CallOptions = {}): Promise<void> {
    for (const { id, name, ip } of hosts) {
      if (this.hosts.get(id)) this.hosts.change(id, { name, ip })
      else {
        const { domainLimit } = this.behaviour
        const status = HOST_STATUS.enabled
        this.hosts.add({ id, name, ip, status, domainLimit, poolId: this.resourcePoolId, createTime: this.clock.now() })
      }
    }
    for (const { id } of this.hosts.all()) {
      if (!hosts.some((host) => host.id === id)) this.hosts.change(id, { status: HOST_STATUS.offline })
    }
    if (this.groups.size === 0) this.groups.add({ id: ROOT_GROUP, ou: 'ocloud' })
    if (this.usb.size === 0 && this.world.usbPassThrough) this.#addUsbDevices()
    this.#addTemplates()
    this.events.endUnfinished()
    await this.machines.adopt(options)
    this.load.begin()
  }

  /** Ends what is under way and takes every VM out of the world. What the database says of them stays. */
  async close(): Promise<void> {
    this.load.end()
    this.faults.clear()
    await this.machines.close()
    await this.world.close()
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

  #addTemplates(): void {
    const [host] = this.hosts.all()
    for (const { name, memoryMiB, cpus } of this.world.profiles()) {
      if (this.vms.all().some((row) => row.isModel === 1 && row.profile === name && row.motherId === undefined))
        continue
      const now = this.clock.now()
      this.vms.add({
        id: randomUUID(),
        name,
        libvirtName: '',
        profile: name,
        status: VM_STATUS.off,
        isModel: 1,
        isRecycle: 0,
        hostId: host?.id ?? '',
        poolId: this.resourcePoolId,
        cpu: cpus,
        cores: cpus,
        sockets: 1,
        threads: 1,
        memory: memoryMiB,
        osType: 'linux',
        bootloader: 'bios',
        mainboard: 'pc',
        vgpuType: 'vga',
        graphicsCardNum: 1,
        autoJoinDomain: 0,
        freezeType: 0,
        createTime: now,
        updateTime: now,
        settings: {},
        serials: [],
      })
    }
  }

  #addUsbDevices(): void {
    for (const { id: hostId } of this.hosts.all()) {
      this.usb.add({
        id: randomUUID(),
        hostId,
        usbName: '1-1',
        vendor: 'Stand-in',
        vendorId: '1d6b',
        product: 'Flash Disk',
        productId: '0104',
        memo2: '0',
      })
    }
  }
}
