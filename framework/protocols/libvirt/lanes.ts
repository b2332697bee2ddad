import type { Domain } from './codec.ts'

/** For procedures that take the VM's job: a second one would only wait in the daemon, on a slot. */
export function monitorLane(domain: Domain): { lane: string } {
  return { lane: `${domain.uuid}/monitor` }
}

/** Agent commands have a job of their own. */
export function agentLane(domain: Domain): { lane: string } {
  return { lane: `${domain.uuid}/agent` }
}
