import { withOwnLab, type OwnLab } from './own-lab.ts'
import { createVm, type DesktopVm } from '../../framework/desktop/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import { BrokerClient } from '../../framework/leases/index.ts'
import { labHost, type LabHost } from '../../lab/hosts.ts'
import { labPaths } from '../../lab/index.ts'

const LEASE_TIMEOUT_MS = 600_000

export interface LabVms {
  vms: DesktopVm[]
  /** One connection for all. */
  host: HostConnection
  lab: LabHost
  signal: AbortSignal
}

export const log = (text: string) => void process.stderr.write(`${new Date().toISOString()} ${text}\n`)

/** Runs `work` with so many running VMs on one host of a lab of their own. */
export function withLabVms<T>(count: number, work: (vms: LabVms) => Promise<T>): Promise<T> {
  return withOwnLab({ hosts: 1, capacity: count }, log, (own) => withVms(own, count, work))
}

async function withVms<T>(
  { brokerDir, brokerStart, signal }: OwnLab,
  count: number,
  work: (vms: LabVms) => Promise<T>,
) {
  const run = `soak-${process.pid}`
  const broker = await BrokerClient.connect({ stateDir: brokerDir, run, kind: 'run', start: brokerStart, signal })
  const vms: DesktopVm[] = []
  let host: HostConnection | undefined
  try {
    const request = { holder: run, vms: Array.from({ length: count }, () => ({})) }
    const lease = await broker.lease(request, { signal, timeoutMs: LEASE_TIMEOUT_MS })
    const [first] = lease.vms
    if (!first) throw new Error('a lease without a VM')
    host = await HostConnection.open(first.host, { connections: 'shared' })
    for (const leased of lease.vms) vms.push(await createVm({ leased, host, signal }))
    log(`${count} VMs run`)
    return await work({ vms, host, lab: labHost(labPaths(), 1), signal })
  } finally {
    await Promise.allSettled(vms.map((vm) => vm.close()))
    await host?.close()
    if (!broker.closed) {
      await broker.drain(run)
      await broker.end()
    }
    broker.close()
  }
}
