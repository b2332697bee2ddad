/** What the `atp lab` commands do. */
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { configError, pollUntil } from '../core/index.ts'
import { BrokerClient, stopBroker, type BrokerStatus } from '../leases/index.ts'
import { newRunId } from '../runner/run-id.ts'
import { stateDir } from '../runner/state-dir.ts'
import { installSystemPackages, labDown, labLogs, labStatus, labUp, type LabStatus } from '../../lab/index.ts'
import { endKeptPlatform, keepPlatform, keptPlatform, keptPlatformRecord } from '../../lab/platform/process.ts'
import { connectCli } from './connect.ts'

const STANDBY_TIMEOUT_MS = 180_000

const progress = (text: string) => void process.stderr.write(`lab: ${text}\n`)

export async function install(packages: string[]): Promise<void> {
  const installed = await installSystemPackages({ also: packages, onProgress: progress })
  progress(installed.length > 0 ? `installed ${installed.join(', ')}` : 'all packages are there')
}

async function labConfig(file?: string): Promise<ResolvedConfig> {
  const config = await loadConfig(process.cwd(), file)
  if (config.lab !== undefined || config.vdi === 'lab') return config
  throw configError('ATP_LAB_OFF', `${config.file ?? 'the configuration'} names no lab`, { remedy: 'set "lab: true"' })
}

export async function up(options: { config?: string; standbys: number; profile?: string[] }): Promise<void> {
  const config = await labConfig(options.config)
  const hosts = await labUp({ config: config.lab ?? {}, onProgress: progress })
  const profiles = options.profile ?? [config.lab?.profile ?? 'ps2']
  await connectCli(config, async (broker) => {
    await broker.setStandbys(
      options.standbys === 0 ? {} : Object.fromEntries(profiles.map((name) => [name, options.standbys])),
    )
    const wanted = options.standbys * profiles.length * hosts.length
    await pollUntil('getting the standbys ready', { timeoutMs: STANDBY_TIMEOUT_MS, intervalMs: 100 }, async () => {
      const { vms } = await broker.status()
      return vms.filter((vm) => vm.state === 'standby' || vm.state === 'leased').length >= wanted ? true : undefined
    })
    progress(`${hosts.length} hosts up, ${wanted} standbys ready; "npx atp lab down" ends them`)
  })
  if (config.vdi !== 'lab') return
  const { url, username } = await keepPlatform({ config: config.lab ?? {}, onProgress: progress })
  progress(`stand-in platform at ${url}, user ${username}; its password is in ${keptPlatformRecord()}`)
}

export async function down(): Promise<void> {
  const broker = await stopBroker(stateDir())
  const platform = await endKeptPlatform()
  const { hosts, vms } = await labDown({ onProgress: progress })
  const ended = [...(broker ? ['broker'] : []), ...(platform ? ['stand-in platform'] : [])]
  progress(
    `down: ${hosts} hosts stopped, ${vms} VMs destroyed${ended.length > 0 ? `, ${ended.join(' and ')} ended` : ''}`,
  )
}

export async function status(options: { json?: boolean }): Promise<void> {
  const lab = await labStatus()
  const broker = await brokerStatus()
  const kept = await keptPlatform()
  const platform = kept ? { pid: kept.pid, url: kept.access.url } : null
  if (options.json) process.stdout.write(`${JSON.stringify({ lab, broker: broker ?? null, platform })}\n`)
  else process.stdout.write(describe(lab, broker, platform))
}

/** What the broker says, if one runs. */
async function brokerStatus(): Promise<BrokerStatus | undefined> {
  let client: BrokerClient
  try {
    client = await BrokerClient.connect({ stateDir: stateDir(), run: newRunId(), kind: 'cli', timeoutMs: 10_000 })
  } catch (error) {
    if ((error as { code?: string }).code === 'ATP_BROKER_ABSENT') return undefined
    throw error
  }
  try {
    return await client.status()
  } finally {
    client.close()
  }
}

function describe(
  lab: LabStatus,
  broker: BrokerStatus | undefined,
  platform: { pid: number; url: string } | null,
): string {
  const lines = [
    `home      ${lab.home}`,
    `packages  ${lab.missingPackages.length > 0 ? `missing: ${lab.missingPackages.join(', ')} (npx atp lab install)` : 'all installed'}`,
    `image     ${lab.image?.id ?? 'not built yet'}`,
    `speed     ${lab.kvm === undefined ? 'KVM not tried yet' : lab.kvm.works ? 'KVM' : `software emulation (${lab.kvm.reason})`}`,
    `broker    ${broker ? `process ${broker.pid}` : 'not running'}`,
    `platform  ${platform ? `process ${platform.pid}, ${platform.url}` : 'none kept'}`,
  ]
  if (lab.versions)
    lines.push(
      `versions  ${Object.entries(lab.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}`,
    )
  for (const host of lab.hosts) {
    lines.push(`host ${host.id}  ${host.pid === undefined ? 'down' : `up, daemon ${host.pid}`}  ${host.uri}`)
    for (const vm of host.vms) {
      const known = broker?.vms.find((one) => one.uuid === vm.uuid)
      lines.push(`  ${vm.name}  ${known?.state ?? 'left over'}${known?.holder ? ` by ${known.holder}` : ''}`)
    }
  }
  for (const waiting of broker?.waiting ?? []) lines.push(`waiting   ${waiting.holder}: ${waiting.reason}`)
  return `${lines.join('\n')}\n`
}

export async function logs(): Promise<void> {
  for (const { host, path, tail } of await labLogs()) process.stdout.write(`== ${host}  ${path}\n${tail}\n`)
}
