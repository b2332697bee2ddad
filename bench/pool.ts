/**
 * A pool of desktops through the platform, beside the same VMs restored by hand through libvirt; and checkpoints:
 * preparing a machine beside restoring it.
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { Secret } from '../framework/core/index.ts'
import { TransportManager } from '../framework/hosts/index.ts'
import { createAndConnect, Locator } from '../framework/provision/index.ts'
import { VdiClient } from '../framework/vdi/index.ts'
import { DEFAULT_PROFILE } from '../lab/profile.ts'
import { hypervisorVersions } from '../lab/versions.ts'
import { median, type BenchContext, type BenchResult } from './result.ts'
import { checkpointRounds } from './support/checkpoint-rounds.ts'
import { startHandRestore, type HandRestore } from './support/hand-restore.ts'
import { withOwnLab } from './support/own-lab.ts'
import { startPlatformProcess, type PlatformProcess } from './support/platform-process.ts'

const ROUNDS = 8
const DESKTOPS = 10
/** As many VMs of a host as the stand-in starts at a time. */
const PARALLEL = 4
const AGENT_TIMEOUT_MS = 120_000
const PING = '{"execute":"guest-ping"}'
const SIDES = ['platform', 'hand', 'control', 'named'] as const
type Side = (typeof SIDES)[number]

/**
 * `ratios.pool_vs_manual_restore` is about VMs that were restored and whose agents answer; by hand they are twins then.
 * For `pool_vs_manual_named` each is given its own name, machine id and the time by hand, too, as the platform does.
 * `manual_vs_manual` is the control: the same by hand, twice. `ATP_BENCH_ROUNDS` tries it out with fewer rounds.
 */
export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const rounds = Number(process.env['ATP_BENCH_ROUNDS'] ?? ROUNDS)
  return withOwnLab({}, log, async (lab) => {
    const platform = await startPlatformProcess(lab.home)
    const share = DESKTOPS / platform.hosts.length
    const places = platform.hosts.map(({ name }, host) => ({
      host: name,
      names: Array.from({ length: share }, (_, index) => `hand-${host * share + index + 1}`),
    }))
    let hand: HandRestore | undefined
    try {
      hand = await startHandRestore(places, { profile: DEFAULT_PROFILE, parallel: PARALLEL })
      const samples = await interleaved(platform, hand, { rounds, log, signal: lab.signal })
      const checkpoints = await checkpointRounds(lab, { rounds, log })
      writeFileSync(samplesFile, JSON.stringify({ ...samples, checkpoints }))
      return {
        name: 'pool',
        metrics: {
          desktops: DESKTOPS,
          pool_ms: median(samples.platform),
          pool_worst_ms: Math.max(...samples.platform),
          manual_ms: median(samples.hand),
          manual_worst_ms: Math.max(...samples.hand),
          manual_named_ms: median(samples.named),
          load_worst: Math.max(...samples.load),
          checkpoint_prepare_ms: median(checkpoints.prepare),
          checkpoint_save_ms: median(checkpoints.save),
          checkpoint_restore_ms: median(checkpoints.restore),
        },
        ratios: {
          pool_vs_manual_restore: median(samples.platform) / median(samples.hand),
          pool_vs_manual_named: median(samples.platform) / median(samples.named),
          manual_vs_manual: median(samples.control) / median(samples.hand),
          checkpoint_restore_vs_prepare: median(checkpoints.restore) / median(checkpoints.prepare),
        },
        n: rounds,
        versions: { node: process.versions.node, ...(await hypervisorVersions()), pythonLibvirt: hand.libvirt },
        qemuPids: [],
        samplesFile,
      }
    } finally {
      await hand?.stop()
      await platform.stop()
    }
  })
}

/** Every side once a round, another one first each time: what slows the machine down then slows all alike. */
async function interleaved(
  platform: PlatformProcess,
  hand: HandRestore,
  { rounds, log, signal }: { rounds: number; log: (text: string) => void; signal: AbortSignal },
) {
  const samples: Record<Side | 'load', number[]> = { platform: [], hand: [], control: [], named: [], load: [] }
  for (let round = 0; round < rounds; round += 1) {
    samples.load.push(loadavg()[0] as number)
    for (let turn = 0; turn < SIDES.length; turn += 1) {
      signal.throwIfAborted()
      const side = SIDES[(round + turn) % SIDES.length] as Side
      if (side === 'platform') samples.platform.push(await poolOnce(platform, `pool-${round}`, signal))
      else {
        samples[side].push(await (side === 'named' ? hand.restoreNamed() : hand.restore()))
        await hand.destroy()
      }
    }
    const last = SIDES.map((side) => `${side} ${samples[side].at(-1)?.toFixed(0)} ms`).join(', ')
    log(`round ${round + 1}/${rounds}, load ${samples.load.at(-1)?.toFixed(1)}: ${last}`)
  }
  return samples
}

/** From the call until the guest agents of all desktops answered. */
async function poolOnce(platform: PlatformProcess, name: string, signal: AbortSignal): Promise<number> {
  const { url, adminUser: username, adminPassword, hosts } = platform
  const client = new VdiClient({ baseUrl: url, username, password: new Secret('bench pool', adminPassword) })
  const manager = new TransportManager()
  const configured = hosts.map(({ name: id, uri }) => ({ id, uri, settings: () => ({ id, uri }) }))
  const locator = new Locator({
    client,
    manager,
    rules: { hosts: {}, configured, hostUri: 'qemu+ssh://{ip}/system' },
  })
  try {
    const started = performance.now()
    const pool = await createAndConnect({
      client,
      locator,
      manager,
      template: DEFAULT_PROFILE,
      count: DESKTOPS,
      name,
      signal,
    })
    await Promise.all(
      pool.vms.map(async ({ domain, connection }) => {
        const libvirt = await connection.connection.client('calls', { signal })
        await libvirt.agentCommand(domain, PING, { timeoutMs: AGENT_TIMEOUT_MS, signal })
      }),
    )
    const tookMs = performance.now() - started
    await pool.destroy()
    return tookMs
  } finally {
    await manager.close()
    await client.close()
  }
}
