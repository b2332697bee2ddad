import { existsSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { configError, isAtpError, withDeadline, type CallOptions } from '../framework/core/index.ts'
import { HostConnection, type HostRole } from '../framework/hosts/index.ts'
import type { CheckpointStore, HostDescription, OwnerTag, VmProvider } from '../framework/leases/api.ts'
import {
  OWNER_NAMESPACE,
  OWNER_PREFIX,
  ownerElement,
  parseOwnerElement,
  type Domain,
  type LibvirtClient,
} from '../framework/protocols/libvirt/index.ts'
import { checkpointsOf, loadCheckpoint, removeCheckpoint, saveCheckpoint } from './checkpoint.ts'
import { destroyClone, resetClone, resetTicket, startClone } from './clone.ts'
import { daemonUser, type DaemonUser } from './daemon-user.ts'
import { hostInUse, knownHosts, labHost, startHost, type LabHost } from './hosts.ts'
import { ensureImage } from './image/build.ts'
import { ensureNodeDisk } from './image/node-disk.ts'
import { kvmVerdict } from './kvm.ts'
import { labPaths, type LabPaths } from './paths.ts'
import { isLivePlatform } from './platform/platform-guard.ts'
import { PROFILE_NAMES, profileOf, vmFiles } from './profile.ts'
import { ensureSnapshot, snapshotName, type Snapshot, type SnapshotSource } from './snapshot.ts'
import { verifierBundle } from './verifier-bundle.ts'
import { hypervisorVersions } from './versions.ts'

/** What a project may set about its lab. */
export interface LabConfig {
  /** Private hypervisor hosts. Default 2. */
  hosts?: number
  /** Leased VMs a host carries at once. Default: what its share of the machine's memory and cores allows, at most 8. */
  capacity?: number
  /** Machine profile of VMs for which none is asked. Default `ps2`. */
  profile?: string
}

const DEFAULT_HOSTS = 2
const MOST_PER_HOST = 8
/** A VM mostly waits; more of them at once would make each slow and its latency a matter of luck. */
const VMS_PER_CORE = 3
/** One VM: its QEMU's memory, and its pristine state in the page cache. */
const VM_BYTES = 400 * 1024 * 1024
/** The rest is for the tests themselves and whatever else runs here. */
const SHARE_OF_MEMORY = 0.6
const CREATE_TIMEOUT_MS = 120_000
const CALL_TIMEOUT_MS = 30_000

/** A host of the lab and how to speak with it. */
export interface HostAccess {
  host: LabHost
  client: LibvirtClient
  user: DaemonUser
}

export interface VmMaterial {
  source: SnapshotSource
  snapshot: Snapshot
}

/** What every VM of this machine is made from. */
type Ground = Omit<SnapshotSource, 'profile' | 'verifier'>

/** VMs of the embedded lab: real QEMU under private libvirt daemons on this machine. */
export class LabProvider implements VmProvider {
  readonly id = 'lab'
  readonly profiles: readonly string[]
  readonly #paths: LabPaths
  readonly #config: Required<LabConfig>
  readonly #onProgress: (text: string) => void
  readonly #connections = new Map<string, Promise<HostConnection>>()
  readonly #snapshots = new Map<string, Promise<Snapshot>>()
  readonly #grounds = new Map<string, Promise<Ground>>()
  readonly #nodeDisks = new Map<string, Promise<string>>()
  readonly #users = new Map<string, Promise<DaemonUser>>()
  readonly #closing = new AbortController()

  /** @throws `ATP_LAB_PROFILE`, `ATP_LAB_PATH`. */
  constructor(
    config: LabConfig = {},
    { paths = labPaths(), onProgress = () => {} }: { paths?: LabPaths; onProgress?: (text: string) => void } = {},
  ) {
    const profile = profileOf(config.profile).name
    const hosts = config.hosts ?? DEFAULT_HOSTS
    this.#config = { profile, hosts, capacity: config.capacity ?? defaultCapacity(hosts) }
    this.#paths = paths
    this.#onProgress = onProgress
    this.profiles = [profile, ...PROFILE_NAMES.filter((name) => name !== profile)]
  }

  /**
   * Builds the guest image, starts the daemons and makes the default profile's snapshot, each only if needed.
   *
   * @throws `ATP_LAB_*`
   */
  async hosts(options: CallOptions = {}): Promise<HostDescription[]> {
    const hosts = Array.from({ length: this.#config.hosts }, (_, index) => labHost(this.#paths, index + 1))
    await withDeadline('making the lab ready', options, async () => {
      await this.#ground()
      await Promise.all(hosts.map((host) => this.#client(host, 'control', {})))
      for (const host of hosts) await this.#snapshot(host, this.#config.profile)
    })
    return hosts.map(({ id, uri }) => ({ id, uri, capacity: this.#config.capacity, labels: ['lab'] }))
  }

  nameOf(index: number): string {
    return `vm-${String(index).padStart(3, '0')}`
  }

  async create(
    request: { host: string; name: string; profile?: string; checkpoint?: string; owner: OwnerTag },
    options: CallOptions = {},
  ): Promise<{ uuid: string }> {
    const host = this.#host(request.host)
    const bounds = { timeoutMs: CREATE_TIMEOUT_MS, ...options }
    const { name, owner, checkpoint, profile = this.#config.profile } = request
    const [client, user, snapshot] = await Promise.all([
      this.#client(host, 'calls', bounds),
      this.#user(),
      withDeadline(`the snapshot for "${name}"`, bounds, (signal) =>
        checkpoint === undefined ? this.#snapshot(host, profile) : this.#checkpoint(host, checkpoint, { signal }),
      ),
    ])
    // A standby serves many leases; a VM made for one is not worth keeping the state of.
    const resettable = owner.run === 'standby'
    const domain = await startClone(host, snapshot, { name, owner, resettable }, { client, user }, bounds)
    return { uuid: domain.uuid }
  }

  async own(vm: { host: string; uuid: string }, owner: OwnerTag): Promise<void> {
    const client = await this.#client(this.#host(vm.host), 'control', {})
    await this.#tag(client, await client.lookupByUuid(vm.uuid), owner)
  }

  async recycle(
    vm: { host: string; name: string; uuid: string; profile?: string },
    owner: OwnerTag,
    options: CallOptions = {},
  ): Promise<void> {
    const host = this.#host(vm.host)
    const client = await this.#client(host, 'calls', options)
    const domain = await client.lookupByUuid(vm.uuid, options)
    const bounds = { timeoutMs: CALL_TIMEOUT_MS, ...options }
    await resetClone(client, domain, vmFiles(host.folder, domain.name), bounds)
    await resetTicket(client, domain, bounds)
    await this.#tag(client, domain, owner)
  }

  async destroy(vm: { host: string; uuid: string }): Promise<void> {
    const host = this.#host(vm.host)
    const client = await this.#client(host, 'control', {})
    try {
      const domain = await client.lookupByUuid(vm.uuid)
      await destroyClone(client, domain, vmFiles(host.folder, domain.name))
    } catch (error) {
      if (!isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) throw error
    }
  }

  async list(): Promise<{ host: string; name: string; uuid: string; owner: OwnerTag }[]> {
    const found = await Promise.all(
      (await knownHosts(this.#paths)).map(async (host) => {
        if (!(await hostInUse(host))) return []
        try {
          return await ownedDomains(host, await this.#client(host, 'control', {}))
        } catch (error) {
          // The daemon died while it was asked; its VMs live, and a new daemon finds them.
          if (!isLost(error)) throw error
          return await ownedDomains(host, await this.#client(host, 'control', {}))
        }
      }),
    )
    // A platform answers for its own VMs while it lives, whoever else asks.
    const own = await Promise.all(found.flat().map(async (vm) => ((await isLivePlatform(vm.owner.run)) ? [] : [vm])))
    return own.flat()
  }

  readonly checkpoints: CheckpointStore = {
    save: async ({ host: hostId, uuid }, checkpoint, options = {}) => {
      const host = this.#host(hostId)
      const [client, user] = await Promise.all([this.#client(host, 'calls', options), this.#user()])
      const domain = await client.lookupByUuid(uuid, options)
      return saveCheckpoint(host, domain, checkpoint, { client, user }, options)
    },
    remove: async (id) => removeCheckpoint(await knownHosts(this.#paths), id),
    list: async () => {
      const kept = (await Promise.all((await knownHosts(this.#paths)).map(checkpointsOf))).flat()
      return [...new Map(kept.map((one) => [one.id, one])).values()]
    },
  }

  /** A host with its connection, for those who make VMs that are not leased. @throws `ATP_LAB_HOST`. */
  async connect(hostId: string, options: CallOptions = {}): Promise<HostAccess> {
    const host = this.#host(hostId)
    const [client, user] = await Promise.all([this.#client(host, 'calls', options), this.#user()])
    return { host, client, user }
  }

  /** What VMs of a profile are restored from on a host, and what it was booted from. */
  async material(hostId: string, profile: string, options: CallOptions = {}): Promise<VmMaterial> {
    const snapshot = () => this.#snapshot(this.#host(hostId), profile)
    const [ground, saved] = await Promise.all([
      this.#ground(),
      withDeadline(`the snapshot of profile "${profile}"`, options, snapshot),
    ])
    return { source: await this.#source(ground, profile), snapshot: saved }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    // What was under way undoes itself; a process that ended before that would leave it half done.
    await Promise.allSettled([...this.#grounds.values(), ...this.#nodeDisks.values(), ...this.#snapshots.values()])
    const opened = await Promise.allSettled(this.#connections.values())
    await Promise.all(opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value.close()] : [])))
  }

  /** The host with this id: configured, or left from another configuration. */
  #host(id: string): LabHost {
    const index = Number(/^lab-(\d+)$/.exec(id)?.[1])
    if (index > 0) return labHost(this.#paths, index)
    throw configError('ATP_LAB_HOST', `the lab has no host "${id}"`, {
      remedy: `use one of ${Array.from({ length: this.#config.hosts }, (_, index) => `lab-${index + 1}`).join(', ')}`,
    })
  }

  /**
   * A client of the host's daemon, which is started if need be, also again after it died. Work that several callers
   * wait for is nobody's own: one caller's signal and time limit end its waiting only.
   */
  #client(host: LabHost, role: HostRole, options: CallOptions): Promise<LibvirtClient> {
    return withDeadline(`connecting to host ${host.id}`, options, async () => {
      const connection = await this.#connect(host)
      if (connection.state !== 'connected') {
        const { signal } = this.#closing
        await startHost(host, { signal })
        await connection.connect({ signal })
      }
      return connection.client(role)
    })
  }

  #connect(host: LabHost): Promise<HostConnection> {
    return remembered(this.#connections, host.id, async () => {
      const { signal } = this.#closing
      await startHost(host, { signal })
      return await HostConnection.open(host, { signal })
    })
  }

  #user(): Promise<DaemonUser> {
    return remembered(this.#users, '', () => daemonUser({ signal: this.#closing.signal }))
  }

  #ground(): Promise<Ground> {
    return remembered(this.#grounds, '', async () => {
      const { signal } = this.#closing
      const versions = await hypervisorVersions({ signal })
      const image = await ensureImage(this.#paths, { signal, onProgress: this.#onProgress })
      const kvm = await kvmVerdict(this.#paths, image, { signal })
      return { image, versions, domainType: kvm.works ? 'kvm' : 'qemu' }
    })
  }

  /** A ground that has what the profile needs besides. */
  async #source(ground: Ground, profileName: string): Promise<SnapshotSource> {
    const profile = profileOf(profileName)
    if (!profile.agent) return { ...ground, profile }
    const nodeDisk = await remembered(this.#nodeDisks, '', () =>
      ensureNodeDisk(this.#paths, { signal: this.#closing.signal, onProgress: this.#onProgress }),
    )
    return { ...ground, image: { ...ground.image, nodeDisk }, profile, verifier: await verifierBundle() }
  }

  async #snapshot(host: LabHost, profileName: string): Promise<Snapshot> {
    const source = await this.#source(await this.#ground(), profileName)
    const key = `${host.id} ${snapshotName(source)}`
    const known = this.#snapshots.get(key)
    // Another process with a newer recipe removes outdated ones.
    if (known && !existsSync((await known).file)) this.#snapshots.delete(key)
    return await remembered(this.#snapshots, key, async () => {
      const { signal } = this.#closing
      const client = await this.#client(host, 'calls', { signal })
      const user = await this.#user()
      const others = (await knownHosts(this.#paths)).filter((other) => other.id !== host.id)
      const options = { signal, onProgress: this.#onProgress }
      return await ensureSnapshot(host, source, { client, user, others }, options)
    })
  }

  async #checkpoint(host: LabHost, id: string, options: CallOptions): Promise<Snapshot> {
    const others = (await knownHosts(this.#paths)).filter((other) => other.id !== host.id)
    return loadCheckpoint(host, id, { user: await this.#user(), others }, options)
  }

  #tag(client: LibvirtClient, domain: Domain, owner: OwnerTag): Promise<void> {
    return client.setMetadata(domain, { uri: OWNER_NAMESPACE, key: OWNER_PREFIX, xml: ownerElement(owner) })
  }
}

/** Made once for all who ask; a failure is not kept, since its cause may be mended. */
function remembered<T>(store: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = store.get(key)
  if (known) return known
  const made = make()
  store.set(key, made)
  made.catch(() => store.delete(key))
  return made
}

/** VMs of a host that carry an owner tag. */
export async function ownedDomains(host: LabHost, client: LibvirtClient) {
  const domains = await client.listDomains()
  const owned = await Promise.all(
    domains.map(async ({ name, uuid, ...domain }) => {
      const tag = await client.getMetadata({ name, uuid, ...domain }, OWNER_NAMESPACE).catch((error: unknown) => {
        if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return undefined
        throw error
      })
      return tag === undefined ? [] : [{ host: host.id, name, uuid, owner: parseOwnerElement(tag) }]
    }),
  )
  return owned.flat()
}

/** Whether the connection to a daemon failed or ended: a new daemon may answer. */
function isLost(error: unknown): boolean {
  return isAtpError(error) && error.branch === 'connect'
}

function defaultCapacity(hosts: number): number {
  // 0 or a huge number where nothing constrains this process.
  const limit = process.constrainedMemory()
  const bytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  const byMemory = Math.floor((bytes * SHARE_OF_MEMORY) / hosts / VM_BYTES)
  return Math.max(1, Math.min(MOST_PER_HOST, byMemory, Math.ceil((availableParallelism() * VMS_PER_CORE) / hosts)))
}
