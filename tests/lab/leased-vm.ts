import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { createVm, type ConnectingAgents, type DesktopVm } from '../../framework/desktop/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import type { Ownership } from '../../framework/leases/api.ts'
import { BrokerClient } from '../../framework/leases/index.ts'
import { stateDir } from '../../framework/runner/state-dir.ts'
import { labUp } from '../../lab/index.ts'

/** A VM of the embedded lab, leased as a run would lease it. */
export interface LeasedTestVm {
  vm: DesktopVm
  host: HostConnection
  /** Another object for the same VM, over a connection of its own, as if it were leased so. Closed with the rest. */
  open(ownership: Ownership): Promise<DesktopVm>
  end(): Promise<void>
}

/** @param agents verifier agents that connect to this test */
export async function leaseVm(profile?: string, agents?: ConnectingAgents): Promise<LeasedTestVm> {
  await labUp()
  const run = `test-${process.pid}-${Date.now()}`
  const start = { provider: pathToFileURL(resolve(import.meta.dirname, '../../lab/index.ts')).href, config: {} }
  const broker = await BrokerClient.connect({ stateDir: stateDir(), run, kind: 'run', start })
  const hosts: HostConnection[] = []
  const opened: DesktopVm[] = []
  const end = async () => {
    for (const vm of opened) await vm.close()
    for (const host of hosts) await host.close()
    try {
      await broker.end()
    } finally {
      broker.close()
    }
  }
  try {
    const lease = await broker.lease({ holder: 'lab test', vms: [{ profile }] }, { timeoutMs: 120_000 })
    const [leased] = lease.vms
    if (!leased) throw new Error('the lease holds no VM')
    const open = async (ownership: Ownership) => {
      const host = await HostConnection.open(leased.host)
      hosts.push(host)
      const vm = await createVm({ leased: { ...leased, ownership }, host, ...(agents && { agents }) })
      opened.push(vm)
      return vm
    }
    const vm = await open(leased.ownership)
    return { vm, host: hosts[0] as HostConnection, open, end }
  } catch (error) {
    await end()
    throw error
  }
}
