import type { Ownership } from '../leases/api.ts'
import type { DesktopVm } from './desktop-vm.ts'

/** Which VM a test wants. Everything is optional: without any of it, one of the default profile. */
export interface VmOptions {
  /** Exactly this VM; the test waits until it is free. */
  domain?: string
  /** Machine profile of the provider. */
  profile?: string
  /** Template of the VDI platform; where it has none of this name, or there is no platform, a machine profile. */
  template?: string
  /**
   * `true`: the VDI platform makes it, of its default template if none is named; `false`: it does not. Left out, it
   * does where it has the template, and where there is no lab.
   */
  platform?: boolean
  /** Host labels that must all match. */
  labels?: string[]
  /** Exactly this host. */
  host?: string
  ownership?: Ownership
  /** Named locks held together with the VM. */
  locks?: string[]
  /** A prepared state that the VM is restored in. */
  checkpoint?: Checkpoint
}

/**
 * A state of a machine that is prepared once in a run and restored for each test that names it: a user who is logged
 * in, a program that is open. Another name, profile or text of the preparation is another checkpoint.
 */
export interface Checkpoint {
  name: string
  /** Brings a pristine machine into that state. What it finds outside of the machine must not matter. */
  prepare(machine: Preparation): Promise<void> | void
}

/** What a preparation works with. */
export interface Preparation {
  readonly vm: DesktopVm
  /** A named part of it in the report, as in a test. */
  step<T>(title: string, body: () => Promise<T> | T, options?: { timeoutMs?: number }): Promise<T>
}

/** Which machines a test of several wants. They are granted together or not at all. */
export interface PoolOptions extends Omit<VmOptions, 'domain' | 'profile'> {
  /** Roles, one machine each. */
  vms: string[]
}

/** Several machines of one test, by role. */
export interface Pool {
  readonly vms: Readonly<Record<string, DesktopVm>>
  /** In the order of the roles. */
  readonly all: readonly DesktopVm[]
  /** Does something with all machines at once; rejects with the first failure. */
  each(body: (vm: DesktopVm, role: string) => Promise<void>): Promise<void>
}
