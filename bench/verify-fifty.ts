/** 50 VMs that are typed into at once, all keys verified by one process, and counted independently in each guest. */
import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { daemonPid, vmPids } from '../lab/hosts.ts'
import { hypervisorVersions } from '../lab/versions.ts'
import { percentile, type BenchContext, type BenchResult } from './result.ts'
import { cpuMeter } from './support/cpu.ts'
import { withLabVms } from './support/lab-vms.ts'
import { verifyAtOnce } from './support/verified-at-once.ts'

const VMS = 50
const KEYS = 400
const SEED = 20_261_120

/**
 * `ATP_BENCH_VMS` and `ATP_BENCH_KEYS` (keys for each VM) try it out on less; with fewer VMs the result is a failure.
 */
export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const count = Number(process.env['ATP_BENCH_VMS'] ?? VMS)
  const keys = Number(process.env['ATP_BENCH_KEYS'] ?? KEYS)
  return withLabVms(count, async ({ vms, lab }) => {
    const qemuPids = await vmPids(lab)
    const pids = { runner: [process.pid], daemon: [(await daemonPid(lab)) as number], vms: qemuPids }
    const loop = monitorEventLoopDelay({ resolution: 1 })
    const startedMs = performance.now()
    let readyMs = 0
    let cores = { runner: 0, daemon: 0, vms: 0 }
    const result = await verifyAtOnce(vms, {
      keys,
      seed: SEED,
      onReady() {
        readyMs = performance.now() - startedMs
        log(`all observers of ${count} VMs run after ${(readyMs / 1000).toFixed(1)} s`)
        const cpu = cpuMeter(pids)
        loop.enable()
        return () => {
          loop.disable()
          cores = cpu()
        }
      },
    })
    const { latenciesMs, reasons } = result
    for (const reason of reasons.slice(0, 10)) log(reason)
    writeFileSync(samplesFile, JSON.stringify({ seed: SEED, ...result }))
    const metrics = {
      vms: vms.length,
      keys: result.keys,
      keys_per_s: result.keys / result.seconds,
      lost: result.lost,
      reordered: result.reordered,
      false_alarms: result.falseAlarms,
      false_greens: result.falseGreens,
      latency_p50_ms: percentile(latenciesMs, 0.5),
      latency_p95_ms: percentile(latenciesMs, 0.95),
      ready_s: readyMs / 1000,
      duration_s: result.seconds,
      runner_cores: cores.runner,
      daemon_cores: cores.daemon,
      vms_cores: cores.vms,
      rss_mb: process.resourceUsage().maxRSS / 1024,
      loop_p99_ms: loop.percentile(99) / 1e6,
    }
    return {
      name: 'verify-fifty',
      metrics,
      ratios: {},
      n: result.keys,
      versions: { node: process.versions.node, ...(await hypervisorVersions()) },
      qemuPids,
      samplesFile,
      failures: failures(metrics),
    }
  })
}

function failures(metrics: Record<string, number>): string[] {
  const found = ['lost', 'reordered', 'false_alarms', 'false_greens'].flatMap((key) =>
    metrics[key] === 0 ? [] : [`${key} is ${metrics[key]}, 0 is right`],
  )
  const vms = metrics['vms'] as number
  return vms >= VMS ? found : [...found, `${vms} VMs took part, ${VMS} are needed`]
}
