/** How soon calls fail when a host's daemon is killed, and how soon its VMs can be used when it is back. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { HostConnection } from '../framework/hosts/index.ts'
import { hypervisorVersions } from '../lab/versions.ts'
import { missingHostPart, RemoteHost, type Way } from '../tests/support/remote-host/index.ts'
import { median, type BenchContext, type BenchResult } from './result.ts'
import { bootGuest } from './support/guest-on-remote.ts'
import type { Recovery, Scene, Task } from './support/recovery.ts'

const WAYS = ['unix', 'tls', 'ssh'] as const
const ROUNDS = 5
const VM = 'bench-recover'

/**
 * The daemon is killed while 50 calls to a VM are pending, and started again. `reject_ms` counts from the kill to the
 * last rejection, `usable_ms` from the moment the daemon takes connections to the answer of the VM's monitor: both of
 * the worst round of all. The guest's own answer and an event of the VM have to follow.
 */
export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const missing = missingHostPart(['tls', 'ssh'])
  if (missing) throw new Error(`bench recover needs a daemon that is reached over TLS and ssh: ${missing}`)
  const remote = await RemoteHost.start({ listen: ['tls', 'ssh'] })
  const samples: Partial<Record<Way, Recovery[]>> = {}
  let qemuPid: number
  try {
    const scene = await prepare(remote, log)
    qemuPid = remote.daemon.qemuPid(VM)
    for (const way of WAYS) samples[way] = await recoverRounds(remote, { way, scene, qemuPid, log })
  } finally {
    await remote.stop()
  }
  writeFileSync(samplesFile, JSON.stringify(samples))
  return {
    name: 'recover',
    metrics: figures(samples),
    ratios: {},
    n: ROUNDS * WAYS.length,
    versions: { node: process.versions.node, ...(await hypervisorVersions()) },
    qemuPids: [qemuPid],
    samplesFile,
  }
}

async function prepare(remote: RemoteHost, log: (text: string) => void): Promise<Pick<Scene, 'vm'>> {
  const host = await HostConnection.open(remote.info('unix'))
  try {
    log('booting a guest')
    return { vm: await bootGuest(remote, await host.client('calls'), { name: VM, log }) }
  } finally {
    await host.close()
  }
}

async function recoverRounds(
  remote: RemoteHost,
  {
    way,
    scene,
    qemuPid,
    log,
  }: { way: (typeof WAYS)[number]; scene: Pick<Scene, 'vm'>; qemuPid: number; log: (text: string) => void },
): Promise<Recovery[]> {
  // Over ssh it is the daemon's own socket that is gone.
  const accepts = way === 'tls' ? { host: '127.0.0.1', port: remote.port('tls') } : { path: remote.daemon.socketPath }
  const host = remote.info(way)
  const worker = new Worker(new URL('support/recovery.ts', import.meta.url), {
    workerData: { ...scene, host, accepts } satisfies Scene,
  })
  const next = async (): Promise<unknown> => {
    // Rejects when the thread dies of an error.
    const [message] = await once(worker, 'message')
    return message
  }
  try {
    await next()
    const recoveries: Recovery[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      const asked = next()
      worker.postMessage({ daemonPid: remote.daemon.pid, qemuPid } satisfies Task)
      await asked
      const recovering = next()
      recovering.catch(() => {})
      await remote.daemon.launch()
      const recovery = (await recovering) as Recovery
      recoveries.push(recovery)
      const { rejectMs, usableMs, agentMs, eventMs } = recovery
      const after = [usableMs, agentMs, eventMs].map((ms) => ms.toFixed(0)).join('/')
      log(
        `${way} round ${round}/${ROUNDS}: rejected after ${rejectMs.toFixed(1)} ms; back, then monitor/agent/event after ${after} ms`,
      )
    }
    worker.postMessage('end')
    await once(worker, 'exit')
    return recoveries
  } finally {
    await worker.terminate()
  }
}

function figures(samples: Partial<Record<Way, Recovery[]>>): Record<string, number> {
  const all = Object.values(samples).flat()
  const worst = (key: keyof Recovery) => Math.max(...all.map((recovery) => recovery[key]))
  const metrics: Record<string, number> = {
    reject_ms: worst('rejectMs'),
    usable_ms: worst('usableMs'),
  }
  for (const [way, rounds] of Object.entries(samples)) {
    metrics[`${way}_reject_p50_ms`] = median(rounds.map(({ rejectMs }) => rejectMs))
    metrics[`${way}_usable_p50_ms`] = median(rounds.map(({ usableMs }) => usableMs))
    metrics[`${way}_agent_p50_ms`] = median(rounds.map(({ agentMs }) => agentMs))
    metrics[`${way}_event_p50_ms`] = median(rounds.map(({ eventMs }) => eventMs))
  }
  return metrics
}
