import { pathToFileURL } from 'node:url'
import type { ResolvedConfig } from '../config/index.ts'
import { BrokerClient, type BrokerStart, type HostDescription } from '../leases/index.ts'
import { ownModule } from './own-module.ts'
import { packageVersion } from './package-version.ts'
import { stateDir } from './state-dir.ts'

export interface SessionNotice {
  level: 'info' | 'warning' | 'error'
  text: string
}

/** A run's hold on the lease broker. As long as it is open, the run's workers get VMs. */
export interface Session {
  hosts: HostDescription[]
  versions: Record<string, string>
  /** Ends the run: everything it still holds is destroyed. Resolves to the number of VMs that were still held. */
  end(): Promise<number>
}

const DRAIN_TIMEOUT_MS = 60_000

/** How a broker for this configuration is started. Every process of a run must say the same. */
export function brokerStart(config: ResolvedConfig): BrokerStart {
  return config.lab === undefined ? {} : { provider: pathToFileURL(ownModule('lab/index')).href, config: config.lab }
}

/** Makes the hosts ready (starts the lab if one is configured) and registers the run with the broker. */
export async function startSession(
  config: ResolvedConfig,
  run: string,
  notify: (notice: SessionNotice) => void,
  signal?: AbortSignal,
): Promise<Session> {
  if (config.lab !== undefined) {
    // Loaded only where a lab is wanted: it brings the image builder with it.
    const { labUp } = await import('../../lab/index.ts')
    await labUp({ config: config.lab, onProgress: (text) => notify({ level: 'info', text: `lab: ${text}` }), signal })
  }
  const broker = await BrokerClient.connect({ stateDir: stateDir(), run, kind: 'run', start: brokerStart(config), signal })
  broker.onClose((error) => {
    if (!ended) notify({ level: 'error', text: error.message })
  })
  let ended = false
  return {
    hosts: [...broker.hosts, ...config.hosts],
    versions: { atp: packageVersion(), node: process.versions.node },
    async end() {
      ended = true
      try {
        const leaked = await broker.drain(run, { timeoutMs: DRAIN_TIMEOUT_MS })
        await broker.end()
        return leaked
      } finally {
        broker.close()
      }
    },
  }
}
