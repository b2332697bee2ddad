/** How long a pristine VM with an answering guest agent takes, from the request on: cold, restored, from a standby. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { pollUntil } from '../framework/core/index.ts'
import { BrokerClient } from '../framework/leases/index.ts'
import type { LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { daemonUser } from '../lab/daemon-user.ts'
import { GuestAgent } from '../lab/guest-agent.ts'
import { labHost, openHost, vmPids } from '../lab/hosts.ts'
import { ensureImage } from '../lab/image/build.ts'
import { kvmVerdict } from '../lab/kvm.ts'
import { createLabProvider, labPaths } from '../lab/index.ts'
import { DEFAULT_PROFILE, domainXml, profileOf, vmFiles } from '../lab/profile.ts'
import { runProgram } from '../lab/run-program.ts'
import { prepareVmFolder, saveFile, snapshotsOf } from '../lab/snapshot.ts'
import { hypervisorVersions } from '../lab/versions.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { withOwnLab, type OwnLab } from './support/own-lab.ts'

const ROUNDS = 30
/** A cold boot takes seconds; every third round has one. */
const ROUNDS_PER_COLD_BOOT = 3
const STANDBY_LEASES = 50
const STANDBYS_PER_HOST = 2
const AGENT_TIMEOUT_MS = 60_000
const VM = 'vm-001'
const PING = '{"execute":"guest-ping"}'

export async function run(context: BenchContext): Promise<BenchResult> {
  const { samplesFile } = context
  const log = (text: string) => context.log(text)
  await runProgram('virsh', ['--version']).catch(() => {
    throw new Error('bench lease compares with virsh: install the package libvirt-clients')
  })
  return withOwnLab({}, log, async (lab) => {
    const made = await madeVms(log)
    const standby = await standbyLeases(lab, log)
    const samples = { ...made.samples, standby: standby.samples }
    writeFileSync(samplesFile, JSON.stringify(samples))
    return {
      name: 'lease',
      metrics: figures(samples),
      ratios: {
        restore_p95_vs_cold_boot: percentile(samples.restored, 0.95) / percentile(samples.cold, 0.95),
        restore_p50_vs_virsh: median(samples.restored) / median(samples.virsh),
        standby_p95_vs_cold_boot: percentile(samples.standby, 0.95) / percentile(samples.cold, 0.95),
      },
      n: samples.restored.length,
      versions: { node: process.versions.node, ...(await hypervisorVersions()) },
      qemuPids: [...made.pids, ...standby.pids],
      samplesFile,
    }
  })
}

function figures(samples: Record<string, number[]>): Record<string, number> {
  const rows = Object.entries(samples).flatMap(([name, values]) => [
    [`${name}_p50_ms`, median(values)] as const,
    [`${name}_p95_ms`, percentile(values, 0.95)] as const,
  ])
  return Object.fromEntries(rows)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Interleaved, so that whatever else the machine does touches all alike. */
async function madeVms(log: (text: string) => void) {
  const host = labHost(labPaths(), 1)
  const provider = createLabProvider()
  await provider.hosts()
  const client = await openHost(host)
  const samples = { cold: [] as number[], restored: [] as number[], virsh: [] as number[] }
  const pids: number[] = []
  const owner = { run: 'bench', lease: '', pid: process.pid, expires: Date.now() + 3_600_000 }
  const destroy = async () => {
    pids.push(...(await vmPids(host)))
    await provider.destroy({ host: host.id, uuid: (await client.lookupByName(VM)).uuid })
  }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      samples.restored.push(await timed(() => provider.create({ host: host.id, name: VM, owner })))
      await destroy()
      samples.virsh.push(await restoreByVirsh())
      await destroy()
      if (round % ROUNDS_PER_COLD_BOOT === 0) {
        samples.cold.push(await coldBoot(client))
        await destroy()
      }
      const last = [samples.restored, samples.virsh, samples.cold].map((values) => values.at(-1)?.toFixed(0))
      log(`round ${round + 1}/${ROUNDS}: restored ${last[0]} ms, virsh ${last[1]} ms, cold boot ${last[2]} ms`)
    }
  } finally {
    await client.close()
    await provider.close()
  }
  return { samples, pids }
}

/** The same snapshot with libvirt's own tool: restore, then ask the agent until it answers. */
async function restoreByVirsh(): Promise<number> {
  const host = labHost(labPaths(), 1)
  const [snapshot] = await snapshotsOf(host)
  // The header in the file still names the clone made before.
  await prepareVmFolder(vmFiles(host.folder, VM), await daemonUser())
  const virsh = (...args: string[]) => runProgram('virsh', ['-q', '-c', host.uri, ...args])
  return await timed(async () => {
    const restored = await virsh('restore', saveFile(host, snapshot as string))
    if (restored.exitCode !== 0) throw new Error(`virsh restore: ${restored.stderr}`)
    while ((await virsh('qemu-agent-command', VM, PING)).exitCode !== 0);
  })
}

async function coldBoot(client: LibvirtClient): Promise<number> {
  const paths = labPaths()
  const host = labHost(paths, 1)
  const image = await ensureImage(paths)
  const domainType = (await kvmVerdict(paths, image)).works ? 'kvm' : 'qemu'
  const files = vmFiles(host.folder, VM)
  const xml = domainXml({ name: VM, uuid: randomUUID(), profile: profileOf(), image, domainType, files })
  return await timed(async () => {
    await prepareVmFolder(files, await daemonUser())
    await new GuestAgent(client, await client.createXml(xml)).ready(files.serialLog, { timeoutMs: AGENT_TIMEOUT_MS })
  })
}

/** Back-to-back leases through the broker; each counts until the guest's agent answered the new holder. */
async function standbyLeases(lab: OwnLab, log: (text: string) => void) {
  const { brokerDir: stateDir, brokerStart: start } = lab
  const broker = await BrokerClient.connect({ stateDir, run: 'bench', kind: 'run', start })
  const hosts = broker.hosts.map((_, index) => labHost(labPaths(), index + 1))
  const clients = new Map(await Promise.all(hosts.map(async (host) => [host.id, await openHost(host)] as const)))
  const samples: number[] = []
  try {
    await broker.setStandbys({ [DEFAULT_PROFILE]: STANDBYS_PER_HOST })
    await pollUntil('the standbys', { timeoutMs: AGENT_TIMEOUT_MS }, async () => {
      const { vms } = await broker.status()
      return vms.filter((vm) => vm.state === 'standby').length === STANDBYS_PER_HOST * hosts.length || undefined
    })
    const pids = (await Promise.all(hosts.map(vmPids))).flat()
    for (let round = 0; round < STANDBY_LEASES; round += 1) {
      let lease = ''
      const taken = await timed(async () => {
        const granted = await broker.lease({ holder: 'bench', vms: [{}] })
        lease = granted.id
        const [vm] = granted.vms
        if (!vm?.standby) throw new Error('the lease was not served from a standby')
        const client = clients.get(vm.host.id) as LibvirtClient
        await client.agentCommand({ name: vm.name, uuid: vm.uuid, id: -1 }, PING)
      })
      samples.push(taken)
      await broker.release(lease)
    }
    log(
      `${STANDBY_LEASES} leases from ${STANDBYS_PER_HOST * hosts.length} standbys: median ${median(samples).toFixed(0)} ms`,
    )
    await broker.stopStandbys()
    return { samples, pids }
  } finally {
    for (const client of clients.values()) await client.close()
    await broker.end()
    broker.close()
  }
}
