import type { CallOptions } from '../../framework/core/index.ts'

/** A VM as the hypervisors know it. */
export interface WorldVm {
  /** libvirt's UUID. */
  id: string
  /** libvirt's name. */
  name: string
  hostId: string
  /** What it is made from: one of {@link PlatformWorld.profiles}. */
  profile: string
  memoryMiB: number
  cpus: number
  /** Further disks, in order. */
  disks: readonly { id: string; sizeGb: number }[]
  /** Standalone serial ports besides the machine's first. */
  serialPorts: number
}

export interface WorldHost {
  /** UUID; the same at every start. */
  id: string
  /** The name under which the host is configured elsewhere: `lab-1`. */
  name: string
  ip: string
  /** libvirt URI; empty where there is no libvirt. */
  uri: string
}

export interface WorldProfile {
  name: string
  memoryMiB: number
  cpus: number
}

export type WorldState = 'off' | 'running' | 'suspended' | 'asleep'

export interface Console {
  type: 'spice' | 'vnc'
  port: number
}

/**
 * The hypervisors behind the platform. Whether an operation fits the VM's state is the platform's to judge; whether it
 * worked is the world's. A call that rejects leaves the VM as it was or off, and `state` tells which.
 */
export interface PlatformWorld {
  /** Whether host devices can be given to VMs. */
  readonly usbPassThrough: boolean
  /** Whether serial ports can be linked to others. */
  readonly serialLinks: boolean
  /**
   * Makes ready what is needed, for the platform with this id. Called once, before everything else.
   *
   * @returns the hosts, at least one.
   */
  open(platform: string, options?: CallOptions): Promise<WorldHost[]>
  profiles(): readonly WorldProfile[]
  /** Makes a VM, off. One of this platform with the same id and name is taken over, whatever its state. */
  create(vm: WorldVm, options?: CallOptions): Promise<void>
  /** Removes a VM with all that belongs to it, also when it runs or is gone already. */
  remove(vm: WorldVm): Promise<void>
  /** Removes VMs of this platform that are none of `known`: what a killed process left half made. */
  removeOthers(known: readonly WorldVm[]): Promise<void>
  /** Makes the machine what `vm` says from its next start on. It is off. */
  change(vm: WorldVm, options?: CallOptions): Promise<void>
  /** Starts a VM that is off; resolves when its guest agent answers. Consoles ask for `password`. */
  start(vm: WorldVm, password: string, options?: CallOptions): Promise<void>
  /** Asks the guest to shut down and resolves when it is off. */
  shutDown(vm: WorldVm, options?: CallOptions): Promise<void>
  /** Cuts the power, also of a VM that sleeps: its memory is gone. */
  powerOff(vm: WorldVm): Promise<void>
  reboot(vm: WorldVm, options?: CallOptions): Promise<void>
  suspend(vm: WorldVm, options?: CallOptions): Promise<void>
  resume(vm: WorldVm, options?: CallOptions): Promise<void>
  /** Keeps the memory and ends the machine. */
  sleep(vm: WorldVm, options?: CallOptions): Promise<void>
  wake(vm: WorldVm, options?: CallOptions): Promise<void>
  /** Keeps memory and devices of a VM that runs or is suspended, or that it is off. */
  saveSnapshot(vm: WorldVm, snapshot: string, options?: CallOptions): Promise<void>
  /** Puts a VM that is not asleep back into a snapshot. `password` is used where this starts it. */
  restoreSnapshot(vm: WorldVm, snapshot: string, password: string, options?: CallOptions): Promise<void>
  deleteSnapshot(vm: WorldVm, snapshot: string, options?: CallOptions): Promise<void>
  state(vm: WorldVm, options?: CallOptions): Promise<WorldState>
  /** libvirt's domain XML, without passwords. */
  xml(vm: WorldVm, options?: CallOptions): Promise<string>
  /** Addresses of a VM that is on. They listen at the host's `ip`. */
  consoles(vm: WorldVm, options?: CallOptions): Promise<Console[]>
  /** Ends the connections. VMs are removed before. */
  close(): Promise<void>
}
