/** The embedded lab: local hypervisor hosts, a guest image, snapshots and clones of it. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { CallOptions } from '../framework/core/index.ts'
import type { HostDescription, OwnerTag, VmProvider } from '../framework/leases/api.ts'
import {
  daemonLog,
  daemonPid,
  forgetHost,
  hostInUse,
  knownHosts,
  openHost,
  startHost,
  stopHost,
  type LabHost,
} from './hosts.ts'
import { removeDomain } from './clone.ts'
import { findImage } from './image/build.ts'
import { knownKvmVerdict, type KvmVerdict } from './kvm.ts'
import { labPaths } from './paths.ts'
import { LabProvider, ownedDomains, type LabConfig } from './provider.ts'
import { snapshotsOf } from './snapshot.ts'
import { missingSystemPackages } from './system-packages.ts'
import { hypervisorVersions, type HypervisorVersions } from './versions.ts'

export { labPaths } from './paths.ts'
export { LabProvider, type LabConfig } from './provider.ts'
export { installSystemPackages, missingSystemPackages } from './system-packages.ts'

export interface LabOptions extends CallOptions {
  config?: LabConfig
  /** One line for whoever watches. */
  onProgress?: (text: string) => void
}

/**
 * What the lease broker calls: a provider of lab VMs. Nothing is started yet.
 *
 * @public loaded by URL
 */
export async function createProvider(config?: LabConfig | null): Promise<VmProvider> {
  return createLabProvider(config ?? {})
}

/** @throws `ATP_LAB_PROFILE`, `ATP_LAB_PATH`. */
export function createLabProvider(config: LabConfig = {}, onProgress?: (text: string) => void): LabProvider {
  return new LabProvider(config, onProgress && { onProgress })
}

/**
 * Makes the lab ready: image, daemons, snapshot of the default profile. What is there is used; a second call is
 * quick. VMs are the broker's business.
 *
 * @throws `ATP_LAB_*`: missing packages, no network, full disk, a daemon that does not start…
 */
export async function labUp({ config = {}, onProgress, ...bounds }: LabOptions = {}): Promise<HostDescription[]> {
  const provider = createLabProvider(config, onProgress)
  try {
    return await provider.hosts(bounds)
  } finally {
    await provider.close()
  }
}

/**
 * Destroys every VM of the lab's hosts and ends their daemons. Image and snapshots stay.
 * Stop the lease broker first, or it makes new ones.
 */
export async function labDown({ onProgress, ...bounds }: LabOptions = {}): Promise<{ hosts: number; vms: number }> {
  const hosts = await Promise.all(
    (await knownHosts(labPaths())).map(async (host) => {
      if (!(await hostInUse(host))) {
        await forgetHost(host, bounds)
        return undefined
      }
      const vms = await destroyAll(host, bounds)
      await stopHost(host, bounds)
      await forgetHost(host, bounds)
      onProgress?.(`${host.id} stopped`)
      return vms
    }),
  )
  const stopped = hosts.filter((vms) => vms !== undefined)
  return { hosts: stopped.length, vms: stopped.reduce((sum, vms) => sum + vms, 0) }
}

async function destroyAll(host: LabHost, bounds: CallOptions): Promise<number> {
  // VMs outlive a daemon that was killed; a new one finds them.
  await startHost(host, bounds)
  const client = await openHost(host, bounds)
  try {
    const domains = await client.listDomains(bounds)
    await Promise.all(domains.map((domain) => removeDomain(client, domain, bounds)))
    for (const folder of ['v', 'p']) await rm(join(host.folder, folder), { recursive: true, force: true })
    return domains.length
  } finally {
    await client.close()
  }
}

export interface LabStatus {
  home: string
  /** Debian packages that are still to be installed. */
  missingPackages: string[]
  versions?: HypervisorVersions
  /** Undefined while nobody has tried. */
  kvm?: KvmVerdict
  image?: { id: string; packages: string[] }
  hosts: {
    id: string
    uri: string
    /** Process id of the daemon, undefined when the host is down. */
    pid?: number
    snapshots: string[]
    vms: { name: string; uuid: string; owner?: OwnerTag }[]
  }[]
}

/** What is there now. Starts nothing. */
export async function labStatus(options: CallOptions = {}): Promise<LabStatus> {
  const paths = labPaths()
  const missingPackages = await missingSystemPackages(options)
  const [image, kvm, known, versions] = await Promise.all([
    findImage(paths),
    knownKvmVerdict(paths),
    knownHosts(paths),
    missingPackages.length === 0 ? hypervisorVersions(options) : undefined,
  ])
  const hosts = await Promise.all(
    known.map(async (host) => {
      const pid = await daemonPid(host)
      const vms = pid === undefined ? [] : await vmsOf(host, options)
      return { id: host.id, uri: host.uri, ...(pid !== undefined && { pid }), snapshots: await snapshotsOf(host), vms }
    }),
  )
  return {
    home: paths.home,
    missingPackages,
    ...(versions && { versions }),
    ...(kvm && { kvm }),
    ...(image && { image: { id: image.id, packages: image.packages } }),
    hosts,
  }
}

async function vmsOf(host: LabHost, options: CallOptions): Promise<LabStatus['hosts'][number]['vms']> {
  const client = await openHost(host, options)
  try {
    const owned = new Map((await ownedDomains(host, client)).map(({ uuid, owner }) => [uuid, owner]))
    const domains = await client.listDomains(options)
    return domains.map(({ name, uuid }) => {
      const owner = owned.get(uuid)
      return { name, uuid, ...(owner && { owner }) }
    })
  } finally {
    await client.close()
  }
}

/** The daemons' logs: where they are and how they end. */
export async function labLogs(): Promise<{ host: string; path: string; tail: string }[]> {
  const hosts = await knownHosts(labPaths())
  return await Promise.all(hosts.map(async (host) => ({ host: host.id, path: host.log, tail: await daemonLog(host) })))
}
