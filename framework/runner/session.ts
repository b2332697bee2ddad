import { pathToFileURL } from 'node:url'
import type { ResolvedConfig, ResolvedVerification } from '../config/index.ts'
import { packageVersion, type CallOptions } from '../core/index.ts'
import { BrokerClient, type BrokerStart, type HostDescription } from '../leases/index.ts'
import { checkHosts, describeHosts } from './configured-hosts.ts'
import { LabPlatform, type PlatformDoor } from './lab-platform.ts'
import { ownModule } from './own-module.ts'
import { stateDir } from './state-dir.ts'
import type { VerificationDoor } from './verification-door.ts'
import type { VerificationGateway } from './verification-gateway.ts'

export interface SessionNotice {
  level: 'info' | 'warning' | 'error'
  text: string
}

/** A run's hold on the lease broker. As long as it is open, the run's workers get VMs. */
export interface Session {
  hosts: HostDescription[]
  versions: Record<string, string>
  /** Why the broker went away during the run, if it did. */
  readonly lost: Error | undefined
  /** Ends the run: everything it still holds is destroyed. Resolves to the number of VMs that were still held. */
  end(): Promise<number>
}

const DRAIN_TIMEOUT_MS = 60_000

/** How a broker for this configuration is started. Every process of a run must say the same. */
export function brokerStart(config: ResolvedConfig): BrokerStart {
  const lab = labOf(config)
  return lab === undefined ? {} : { provider: pathToFileURL(ownModule('lab/index')).href, config: lab }
}

/** The stand-in platform has the lab's hosts, also where tests lease no VMs of the lab. */
function labOf({ lab, vdi }: ResolvedConfig): ResolvedConfig['lab'] {
  return lab ?? (vdi === 'lab' ? {} : undefined)
}

export interface SessionOptions {
  signal?: AbortSignal
  /** Where workers will ask for the stand-in platform. */
  platformDoor?: PlatformDoor | undefined
  /** Where workers will ask for verifier agents. */
  verificationDoor?: VerificationDoor | undefined
}

/**
 * Makes the hosts ready (starts the lab if one is configured), registers the run with the broker and opens the door to
 * the lab's stand-in platform, if that is the platform.
 *
 * @throws `ATP_CONFIG_INVALID` for a host whose URI cannot be used, what starting the lab throws, `ATP_BROKER_*`.
 */
export async function startSession(
  config: ResolvedConfig,
  run: string,
  notify: (notice: SessionNotice) => void,
  { signal, platformDoor, verificationDoor }: SessionOptions = {},
): Promise<Session> {
  checkHosts(config)
  const gateway = verificationDoor && (await openGateway(config, verificationDoor, notify))
  try {
    return await openSession(config, run, notify, { signal, platformDoor, gateway })
  } catch (error) {
    await gateway?.close()
    throw error
  }
}

async function openSession(
  config: ResolvedConfig,
  run: string,
  notify: (notice: SessionNotice) => void,
  {
    signal,
    platformDoor,
    gateway,
  }: Omit<SessionOptions, 'verificationDoor'> & { gateway: VerificationGateway | undefined },
): Promise<Session> {
  if (config.lab !== undefined || platformDoor) {
    // Loaded only where a lab is wanted: it brings the image builder with it.
    const { labUp } = await import('../../lab/index.ts')
    await labUp({
      config: config.lab ?? {},
      onProgress: (text) => notify({ level: 'info', text: `lab: ${text}` }),
      signal,
    })
  }
  const connect = (bounds: CallOptions = {}) =>
    BrokerClient.connect({ stateDir: stateDir(), run, kind: 'run', start: brokerStart(config), ...bounds })
  const broker = await connect({ signal })
  const platform = platformDoor && (await openPlatform(broker, platformDoor, config, notify))
  let ended = false
  let lost: Error | undefined
  broker.onClose((error) => {
    if (ended) return
    lost = error
    notify({ level: 'error', text: error.message })
  })
  return {
    hosts: [...broker.hosts, ...describeHosts(config)],
    versions: { atp: packageVersion(), node: process.versions.node, ...platformName(config) },
    get lost() {
      return lost
    },
    async end() {
      ended = true
      await gateway?.close()
      // Where a broker was lost the next one removes, as it starts, what the lost one made.
      const last = broker.closed ? await connect() : broker
      try {
        const leaked = await last.drain(run, { timeoutMs: DRAIN_TIMEOUT_MS })
        await platform?.close().catch(async (error: unknown) => {
          // What it left is swept at once, not by the next run.
          await last.sweep()
          throw error
        })
        await last.end()
        return leaked
      } finally {
        await platform?.close().catch(() => {})
        last.close()
      }
    },
  }
}

/** Nobody should take a stand-in's desktops for those of a platform. */
function platformName({ vdi }: ResolvedConfig): { vdi?: string } {
  if (vdi === undefined) return {}
  return { vdi: vdi === 'lab' ? "the lab's stand-in" : vdi.url }
}

async function openGateway(
  { verification }: ResolvedConfig,
  door: VerificationDoor,
  notify: (notice: SessionNotice) => void,
): Promise<VerificationGateway> {
  // Loaded only where agents connect.
  const { VerificationGateway: Gateway } = await import('./verification-gateway.ts')
  const gateway = await Gateway.open(door, verification as ResolvedVerification)
  notify({ level: 'info', text: `verifier agents connect at ${gateway.urls.join(', ')}` })
  return gateway
}

async function openPlatform(
  broker: BrokerClient,
  door: PlatformDoor,
  { lab }: ResolvedConfig,
  notify: (notice: SessionNotice) => void,
): Promise<LabPlatform> {
  try {
    return await LabPlatform.open(door, lab, notify)
  } catch (error) {
    broker.close()
    throw error
  }
}
