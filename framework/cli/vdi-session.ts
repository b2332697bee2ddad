import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import type { HostRules } from '../provision/index.ts'
import { neededVdi, vdiOptionsOf } from '../runner/configured-vdi.ts'
import { VdiClient } from '../vdi/index.ts'
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
 * @throws `ATP_VDI_UNCONFIGURED`, what `loadConfig` and `vdiOptionsOf` throw
 */
export async function withVdi<T>(options: VdiCommandOptions, work: (session: VdiSession) => Promise<T>): Promise<T> {
  const config = await loadConfig(process.cwd(), options.config)
  const vdi = neededVdi(config.vdi, config.file)
  const rules = { hosts: vdi.hosts, hostUri: vdi.hostUri, configured: await configuredHosts(config) }
  const client = new VdiClient(vdiOptionsOf(vdi))
  try {
    return await work({ client, rules })
  } finally {
    await client.close()
  }
}

/** Those of the configuration, and the lab's. */
async function configuredHosts(config: ResolvedConfig): Promise<HostRules['configured']> {
  return (await allHosts(config)).map(({ id, uri, info, connectTimeoutMs }) => ({
    id,
    uri,
    settings: () => ({ ...info(), connection: { connectTimeoutMs } }),
  }))
}
