import type { VdiAssumptions } from './assumptions.ts'

/** Documented values of a VM's `status`. Others: `hibernatedStatus` and `busyStatuses` of the assumptions. */
export const VM_STATUS = { off: 0, running: 1, suspended: 2, busy: 5, upgrading: 6 } as const
/** Documented values of a host's `status`. */
export const HOST_STATUS = { maintenance: 0, enabled: 1, closed: 2, offline: 3 } as const
/** Documented values of a desk pool's `status`. */
export const POOL_STATUS = { idle: 0, switching: 1, archived: 2 } as const

/** A state that a VM can be waited for in. */
export type VmState = 'off' | 'running' | 'suspended' | 'hibernated'

/** State of a host. */
export type HostState = keyof typeof HOST_STATUS

/** The number of a VM's state on the wire. */
export function vmStatus(state: VmState, { hibernatedStatus }: Pick<VdiAssumptions, 'hibernatedStatus'>): number {
  return state === 'hibernated' ? hibernatedStatus : VM_STATUS[state]
}

/** The word for a VM's status with its number: `busy (5)`. */
export function vmStatusText(status: number, { hibernatedStatus }: Pick<VdiAssumptions, 'hibernatedStatus'>): string {
  const names = Object.entries({ ...VM_STATUS, hibernated: hibernatedStatus })
  return `${names.find(([, value]) => value === status)?.[0] ?? 'in an unknown state'} (${status})`
}
