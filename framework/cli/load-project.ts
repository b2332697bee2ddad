import type { ResolvedConfig } from '../config/index.ts'

/**
 * The configuration of the present folder's project, its hosts' URIs checked.
 *
 * @throws what `loadConfig` throws, `ATP_CONFIG_INVALID` for a URI that cannot be used.
 */
export async function loadProject(file?: string): Promise<ResolvedConfig> {
  const [{ loadConfig }, { checkHosts }] = await Promise.all([
    import('../config/index.ts'),
    import('../runner/configured-hosts.ts'),
  ])
  const config = await loadConfig(process.cwd(), file)
  checkHosts(config)
  return config
}
