import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { stateError } from '../core/index.ts'
import type { HostRules } from '../provision/index.ts'
import { neededVdi } from '../runner/configured-vdi.ts'
import { configuredPlatform, standInPlatform } from '../runner/used-platform.ts'
import { VdiClient } from '../vdi/index.ts'
import { labStatus } from '../../lab/index.ts'
import { keptPlatform, type PlatformAccess } from '../../lab/platform/process.ts'
import { allHosts } from './known-hosts.ts'

export interface VdiCommandOptions {
  config?: string
  json?: boolean
}

/** The configured platform for one command. */
export interface VdiSession {
  client: VdiClient
  rules: HostRules
  /** UUIDs of domains on the platform's hosts that are known to be another's. */
  foreign(): Promise<ReadonlySet<string>>
}

/**
 * Runs `work` with a client of the configured platform, whose session ends with it.
 *
 * @throws `ATP_VDI_UNCONFIGURED`, `ATP_LAB_PLATFORM_DOWN`, what `loadConfig` and `configuredPlatform` throw
 */
export async function withVdi<T>(options: VdiCommandOptions, work: (session: VdiSession) => Promise<T>): Promise<T> {
  const config = await loadConfig(process.cwd(), options.config)
  const vdi = neededVdi(config.vdi, config.file)
  const kept = vdi === 'lab' ? await keptStandIn() : undefined
  const used = vdi === 'lab' ? standInPlatform(kept as PlatformAccess) : configuredPlatform(vdi, config.hosts)
  const client = new VdiClient(used.client)
  try {
    const configured = kept ? used.rules.configured : await configuredHosts(config)
    const foreign = async () => (kept ? ownedByOthers(kept.owner) : new Set<string>())
    return await work({ client, rules: { ...used.rules, configured }, foreign })
  } finally {
    await client.close()
  }
}

/** The lab's hosts are not the stand-in's alone: the broker leases VMs there, and runs have stand-ins of their own. */
async function ownedByOthers(owner: string): Promise<Set<string>> {
  const { hosts } = await labStatus()
  const vms = hosts.flatMap((host) => host.vms)
  return new Set(vms.filter((vm) => vm.owner && vm.owner.run !== owner).map(({ uuid }) => uuid))
}

/** The stand-in that `atp lab up` keeps: those of runs are theirs. */
async function keptStandIn(): Promise<PlatformAccess> {
  const kept = await keptPlatform()
  if (kept) return kept.access
  throw stateError('ATP_LAB_PLATFORM_DOWN', "the VDI platform is the lab's stand-in, which does not run", {
    remedy: '"npx atp lab up" starts one and keeps it; a run without one starts its own',
    verdict: 'infrastructure',
  })
}

/** Those of the configuration, and the lab's. */
async function configuredHosts(config: ResolvedConfig): Promise<HostRules['configured']> {
  return (await allHosts(config)).map(({ id, uri, info, connectTimeoutMs }) => ({
    id,
    uri,
    settings: () => ({ ...info(), connection: { connectTimeoutMs } }),
  }))
}
