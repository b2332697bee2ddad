import { randomUUID } from 'node:crypto'
import type { CallOptions } from '../../framework/core/index.ts'
import { PlatformGround, type GroundParts } from './ground.ts'
import { HostLoad } from './host-load.ts'
import { Machines } from './machines.ts'
import { HOST_STATUS, VM_STATUS } from './rows.ts'
import type { WorldHost } from './world.ts'

/** Root of the organisational units. */
export const ROOT_GROUP = 'ou=ocloud'

/** Everything the operations work on. */
export class PlatformState extends PlatformGround {
  readonly machines: Machines
  readonly load: HostLoad

  constructor(parts: GroundParts) {
    super(parts)
    this.machines = new Machines(this)
    this.load = new HostLoad(this)
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
