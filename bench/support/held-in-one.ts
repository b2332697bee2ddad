import { monitorEventLoopDelay } from 'node:perf_hooks'
import { sleep } from '../../framework/core/index.ts'
import { createVm, type DesktopVm } from '../../framework/desktop/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import { BrokerClient } from '../../framework/leases/index.ts'
import { daemonPid, labHost, vmPids } from '../../lab/hosts.ts'
import { labPaths } from '../../lab/index.ts'
import { cpuMeter } from './cpu.ts'
import { checkLoad, KINDS, LoadTally, openLoad, runLoad, type Load } from './mixed-load.ts'
import type { OwnLab } from './own-lab.ts'

const LEASE_TIMEOUT_MS = 600_000
const WARM_UP_MS = 5000
/** Seconds of one figure of the rate. */
const WINDOW_S = 10

/** What one second ended with; counts are sums since the beginning. */
interface Row {
  calls: number
  errors: number
  rssMb: number
}

export interface Held {
  metrics: Record<string, number>
  samples: { rows: Row[]; firstErrors: string[] }
  qemuPids: number[]
}

/** Leases VMs and keeps all their sessions busy from this process, over one connection to the host. */
export async function holdInOneProcess(
  lab: OwnLab,
  { count, seconds, log }: { count: number; seconds: number; log: (text: string) => void },
): Promise<Held> {
  const run = `bench-${process.pid}`
  const { brokerDir: stateDir, brokerStart: start, signal } = lab
  const broker = await BrokerClient.connect({ stateDir, run, kind: 'run', start, signal })
  const vms: DesktopVm[] = []
  let connection: HostConnection | undefined
  try {
    const request = { holder: run, vms: Array.from({ length: count }, () => ({})) }
    const lease = await broker.lease(request, { signal, timeoutMs: LEASE_TIMEOUT_MS })
    const [{ host }] = lease.vms as [(typeof lease.vms)[0]]
    connection = await HostConnection.open(host, { connections: 'shared' })
    for (const leased of lease.vms) vms.push(await createVm({ leased, host: connection, signal }))
    const loads: Load[] = []
    for (const vm of vms) loads.push(await openLoad(vm, signal))
    log(`${count} VMs after ${(lease.waitMs / 1000).toFixed(0)} s; QMP, agent and a channel of each are open`)
    const warm = { until: AbortSignal.any([signal, AbortSignal.timeout(WARM_UP_MS)]), monitorEveryMs: 0 }
    const unused = new LoadTally()
    await Promise.all(loads.map((load) => runLoad(load, unused, warm)))
    return await measure(loads, { seconds, log, signal })
  } finally {
    await Promise.allSettled(vms.map((vm) => vm.close()))
    await connection?.close()
    if (!broker.closed) {
      await broker.drain(run)
      await broker.end()
    }
    broker.close()
  }
}

async function measure(
  loads: readonly Load[],
  { seconds, log, signal }: { seconds: number; log: (text: string) => void; signal: AbortSignal },
): Promise<Held> {
  const host = labHost(labPaths(), 1)
  const qemuPids = await vmPids(host)
  const cpu = cpuMeter({ runner: [process.pid], daemon: [(await daemonPid(host)) as number], vms: qemuPids })
  const tally = new LoadTally()
  const rows: Row[] = []
  const over = new AbortController()
  const loop = monitorEventLoopDelay({ resolution: 1 })
  const started = performance.now()
  loop.enable()
  const working = loads.map((load) => runLoad(load, tally, { until: over.signal, monitorEveryMs: 0 }))
  try {
    while (rows.length < seconds) {
      await sleep(Math.max(0, started + (rows.length + 1) * 1000 - performance.now()), signal)
      const row = { calls: tally.calls, errors: tally.errors, rssMb: process.memoryUsage.rss() / 2 ** 20 }
      if (rows.push(row) % WINDOW_S > 0) continue
      const figures = `${(row.calls / rows.length).toFixed(0)} calls/s, ${row.errors} errors, ${row.rssMb.toFixed(0)} MB`
      log(`${rows.length} s: ${figures}, loop p99 ${(loop.percentile(99) / 1e6).toFixed(1)} ms`)
    }
  } finally {
    over.abort()
  }
  loop.disable()
  const durationS = (performance.now() - started) / 1000
  const { calls, counts, trips } = tally
  const perS = KINDS.map((kind) => [`${kind}_per_s`, counts[kind] / durationS])
  const cores = cpu()
  await Promise.all(working)
  const checks = await Promise.allSettled(loads.map(checkLoad))
  const gone = checks.filter((check) => check.status === 'rejected')
  for (const { reason } of gone) tally.failed('state', 'at the end', reason)
  for (const text of tally.firstErrors) log(text)
  const latencies = KINDS.flatMap((kind) => [
    [`${kind}_p50_ms`, trips[kind].percentile(50) / 1e6],
    [`${kind}_p99_ms`, trips[kind].percentile(99) / 1e6],
  ])
  return {
    metrics: {
      errors: tally.errors,
      calls_per_s: calls / durationS,
      calls_per_s_slowest_10s: slowest(rows),
      rss_mb: Math.max(...rows.map(({ rssMb }) => rssMb)),
      loop_p99_ms: loop.percentile(99) / 1e6,
      loop_max_ms: loop.max / 1e6,
      vms: loads.length - gone.length,
      duration_s: durationS,
      calls,
      ...Object.fromEntries([...perS, ...latencies]),
      runner_cores: cores.runner,
      daemon_cores: cores.daemon,
      vms_cores: cores.vms,
    },
    samples: { rows, firstErrors: tally.firstErrors },
    qemuPids,
  }
}

function slowest(rows: readonly Row[]): number {
  const sums = [0, ...rows.filter((_, index) => (index + 1) % WINDOW_S === 0).map(({ calls }) => calls)]
  return Math.min(...sums.slice(1).map((sum, index) => (sum - (sums[index] as number)) / WINDOW_S))
}
