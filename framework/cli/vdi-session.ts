import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { stateError } from '../core/index.ts'
import type { HostRules } from '../provision/index.ts'
import { neededVdi } from '../runner/configured-vdi.ts'
import { configuredPlatform, standInPlatform, type UsedPlatform } from '../runner/used-platform.ts'
import { VdiClient } from '../vdi/index.ts'
import { keptPlatform } from '../../lab/platform/process.ts'
import { allHosts } from './known-hosts.ts'

export interface VdiCommandOptions {
  config?: string
  json?: boolean
}

/** The configured platform for one command. */
export interface VdiSession {
  client: VdiClient
  rules: HostRules
}

/**
 * Runs `work` with a client of the configured platform, whose session ends with it.
 *
 * @throws `ATP_VDI_UNCONFIGURED`, `ATP_LAB_PLATFORM_DOWN`, what `loadConfig` and `configuredPlatform` throw
 */
export async function withVdi<T>(options: VdiCommandOptions, work: (session: VdiSession) => Promise<T>): Promise<T> {
  const config = await loadConfig(process.cwd(), options.config)
  const vdi = neededVdi(config.vdi, config.file)
  const used = vdi === 'lab' ? await keptStandIn() : configuredPlatform(vdi, config.hosts)
  const client = new VdiClient(used.client)
  try {
    const configured = vdi === 'lab' ? used.rules.configured : await configuredHosts(config)
    return await work({ client, rules: { ...used.rules, configured } })
  } finally {
    await client.close()
  }
}

/** The stand-in that `atp lab up` keeps: those of runs are theirs. */
async function keptStandIn(): Promise<UsedPlatform> {
  const kept = await keptPlatform()
  if (kept) return standInPlatform(kept.access)
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
