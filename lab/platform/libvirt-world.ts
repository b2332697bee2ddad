import { existsSync } from 'node:fs'
import { open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pLimit, { type LimitFunction } from 'p-limit'
import {
  configError,
  isAtpError,
  pollUntil,
  remoteError,
  stateError,
  unsupportedError,
  type CallOptions,
} from '../../framework/core/index.ts'
import { parseDomainXml, withOwner, type Domain } from '../../framework/protocols/libvirt/index.ts'
import { cutPower, monitor, removeDomain, resetClone } from '../clone.ts'
import { giveTo } from '../daemon-user.ts'
import { GuestAgent } from '../guest-agent.ts'
import { giveIdentity, setClock } from '../identity.ts'
import { withLock } from '../lock.ts'
import { labPaths } from '../paths.ts'
import { PROFILE_NAMES, profileOf, vmFiles, type VmFiles } from '../profile.ts'
import { LabProvider, ownedDomains, type HostAccess, type LabConfig } from '../provider.ts'
import { cloneXml, readSaveHeader, writeSaveXml } from '../save-file.ts'
import { prepareVmFolder } from '../snapshot.ts'
import { bootXml, diskFile, fitsSnapshot, freePort, graphicsOf, withGraphics } from './domain-description.ts'
import { stableUuid } from './memory-world.ts'
import { runOf } from './platform-guard.ts'
import type { Console, PlatformWorld, WorldHost, WorldProfile, WorldState, WorldVm } from './world.ts'

const BOOT_TIMEOUT_MS = 120_000
const RESTORE_TIMEOUT_MS = 60_000
const SHUTDOWN_TIMEOUT_MS = 60_000
const RESET_TIMEOUT_MS = 20_000
/** A guest that was just restored needs its processor; more at once would all be late. */
const STARTS_PER_HOST = 4
/** Whoever removes what a dead platform left goes by its process, not by this. */
const TAG_LIFE_MS = 24 * 3600_000
/** `sun_path` holds 108 bytes with its final NUL. */
const SOCKET_PATH_BYTES = 107
const LONGEST_SOCKET = 'qmp.sock'
const MOST_DISKS = 8

const asleepFile = (files: VmFiles) => join(files.folder, 'asleep.save')
const snapshotFile = (files: VmFiles, snapshot: string) => join(files.folder, `${snapshot}.snapshot`)

interface Place extends HostAccess {
  files: VmFiles
  ip: string
}

/**
 * The lab's hypervisors. Every VM is a persistent libvirt domain of its host: defined while it is off, with the
 * platform's UUID and an owner tag. It starts from the memory of its profile's snapshot; one whose memory, processors,
 * disks or serial ports are its own boots.
 */
export class LibvirtWorld implements PlatformWorld {
  /** Unprivileged daemons may not take the machine's devices. */
  readonly usbPassThrough = false
  readonly serialLinks = false
  readonly #provider: LabProvider
  readonly #config: LabConfig
  readonly #starts = new Map<string, LimitFunction>()
  #hosts: readonly WorldHost[] = []
  #run = ''

  constructor(config: LabConfig = {}, onProgress?: (text: string) => void) {
    this.#config = config
    this.#provider = new LabProvider(config, onProgress && { onProgress })
  }

  async open(platform: string, options: CallOptions = {}): Promise<WorldHost[]> {
    this.#run = runOf(platform)
    const described = await this.#provider.hosts(options)
    const { home } = labPaths()
    // Addresses of their own, so that a VM's address tells its host.
    const hosts = described.map(({ id, uri }, index) => {
      return { id: stableUuid(`${home} ${id}`), name: id, ip: `127.0.0.${index + 1}`, uri }
    })
    this.#hosts = hosts
    return hosts
  }

  profiles(): readonly WorldProfile[] {
    const first = profileOf(this.#config.profile).name
    const names = [first, ...PROFILE_NAMES.filter((name) => name !== first)]
    return names.map((name) => ({ name, memoryMiB: profileOf(name).memoryMiB, cpus: 1 }))
  }

  async create(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const place = await this.#place(vm, options)
    const { client, user, files } = place
    if (await found(client.lookupByUuid(vm.id, options))) return
    const taken = () => found(client.lookupByName(vm.name, options))
    if (await taken()) throw nameTaken(vm, place)
    const room = SOCKET_PATH_BYTES - Buffer.byteLength(join(files.folder, LONGEST_SOCKET))
    if (room < 0) {
      throw configError(
        'ATP_LAB_PLATFORM_NAME_LENGTH',
        `the name "${vm.name}" is ${-room} bytes too long for the hosts`,
        {
          remedy: 'choose a shorter name, or a shorter ATP_HOME',
        },
      )
    }
    await prepareVmFolder(files, user)
    try {
      await this.#define(vm, place, options)
    } catch (error) {
      await rm(files.folder, { recursive: true, force: true })
      throw (await taken()) ? nameTaken(vm, place) : error
    }
  }

  async remove(vm: WorldVm): Promise<void> {
    const { client, files } = await this.#place(vm, {})
    const domain = await found(client.lookupByUuid(vm.id))
    // The folder of that name may be somebody else's.
    if (!domain) return
    await removeDomain(client, domain)
    await rm(files.folder, { recursive: true, force: true })
  }

  async removeOthers(known: readonly WorldVm[]): Promise<void> {
    const ids = new Set(known.map(({ id }) => id))
    await Promise.all(
      this.#hosts.map(async ({ name: hostName }) => {
        const { host, client } = await this.#provider.connect(hostName)
        for (const { uuid, name, owner } of await ownedDomains(host, client)) {
          if (owner.run !== this.#run || ids.has(uuid)) continue
          await removeDomain(client, await client.lookupByUuid(uuid))
          await rm(vmFiles(host.folder, name).folder, { recursive: true, force: true })
        }
      }),
    )
  }

  async change(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    await this.#define(vm, await this.#place(vm, options), options)
  }

  async start(vm: WorldVm, password: string, options: CallOptions = {}): Promise<void> {
    const place = await this.#place(vm, options)
    await this.#startsOf(place)(async () => {
      options.signal?.throwIfAborted()
      try {
        await this.#start(vm, password, place, options)
      } catch (error) {
        const domain = await found(place.client.lookupByUuid(vm.id))
        if (domain) await cutPower(place.client, domain)
        throw error
      }
    })
  }

  async #start(vm: WorldVm, password: string, place: Place, options: CallOptions): Promise<void> {
    const { client, files, ip } = place
    const { source, snapshot } = await this.#provider.material(place.host.id, vm.profile, options)
    const [spicePort, vncPort] = await Promise.all([freePort(ip), freePort(ip)])
    const graphics = graphicsOf(ip, { ip, spicePort, vncPort, password })
    if (fitsSnapshot(vm, source)) {
      const copy = cloneXml(snapshot.header.xml, {
        name: vm.name,
        uuid: vm.id,
        from: snapshot.folder,
        to: files.folder,
      })
      const xml = withOwner(withGraphics(copy, graphics), this.#owner(vm))
      // libvirt restores only under the name in the file: the file speaks of one VM at a time.
      await withLock(`restore ${snapshot.file}`, options, async () => {
        await writeSaveXml(snapshot.file, snapshot.header, xml)
        await client.restore(snapshot.file, { running: true, timeoutMs: RESTORE_TIMEOUT_MS })
      })
    } else {
      await client.defineXml(withOwner(bootXml(vm, { source, files, graphics }), this.#owner(vm)), options)
      await client.create(await client.lookupByUuid(vm.id, options), { timeoutMs: RESTORE_TIMEOUT_MS })
    }
    await this.#greet(await client.lookupByUuid(vm.id, options), place, options)
  }

  /** Waits for the guest's agent and tells the guest who it is. */
  async #greet(domain: Domain, { client, files }: Place, { signal }: CallOptions): Promise<void> {
    const bounds = { signal, timeoutMs: BOOT_TIMEOUT_MS }
    await new GuestAgent(client, domain).ready(files.serialLog, bounds)
    await giveIdentity(domain, files, bounds)
  }

  async shutDown(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const { client } = await this.#place(vm, options)
    const domain = await client.lookupByUuid(vm.id, options)
    await client.shutdown(domain, options)
    const bounds = { timeoutMs: SHUTDOWN_TIMEOUT_MS, ...options }
    await pollUntil(`"${vm.name}" shutting down`, bounds, async (signal) => {
      return (await client.getState(domain, { signal })).state === 'shutoff' || undefined
    })
  }

  async powerOff(vm: WorldVm): Promise<void> {
    const { client, files } = await this.#place(vm, {})
    await cutPower(client, await client.lookupByUuid(vm.id))
    await rm(asleepFile(files), { force: true })
  }

  async reboot(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const place = await this.#place(vm, options)
    const { client, files } = place
    const domain = await client.lookupByUuid(vm.id, options)
    let rebooted = false
    const unsubscribe = await client.onReboot(domain, () => (rebooted = true), options)
    try {
      await truncate(files.serialLog)
      await client.reboot(domain, options)
      const bounds = { timeoutMs: SHUTDOWN_TIMEOUT_MS, ...options }
      await pollUntil(`"${vm.name}" rebooting`, bounds, async () => rebooted || undefined)
    } finally {
      await unsubscribe()
    }
    await this.#greet(domain, place, options)
  }

  async suspend(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const { client } = await this.#place(vm, options)
    await client.suspend(await client.lookupByUuid(vm.id, options), options)
  }

  async resume(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const place = await this.#place(vm, options)
    const domain = await place.client.lookupByUuid(vm.id, options)
    await place.client.resume(domain, options)
    await this.#correctClock(domain, place, options)
  }

  async sleep(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const { client, files, user } = await this.#place(vm, options)
    const file = asleepFile(files)
    // The daemons' user must be able to write where somebody else made the folder.
    await writeFile(file, '')
    await giveTo(user, file)
    try {
      await client.save(await client.lookupByUuid(vm.id, options), file, { timeoutMs: RESTORE_TIMEOUT_MS, ...options })
    } catch (error) {
      await rm(file, { force: true })
      throw error
    }
  }

  async wake(vm: WorldVm, options: CallOptions = {}): Promise<void> {
    const place = await this.#place(vm, options)
    const { client, files, ip } = place
    const file = asleepFile(files)
    const header = await readSaveHeader(file)
    const password = passwordOf(header.xml)
    const [spicePort, vncPort] = await Promise.all([freePort(ip), freePort(ip)])
    await writeSaveXml(file, header, withGraphics(header.xml, graphicsOf(ip, { ip, spicePort, vncPort, password })))
    await client.restore(file, { running: true, timeoutMs: RESTORE_TIMEOUT_MS })
    await rm(file, { force: true })
    await this.#correctClock(await client.lookupByUuid(vm.id, options), place, options)
  }

  /** A guest whose processors stood still has missed that time. */
  async #correctClock(domain: Domain, { client, files }: Place, { signal }: CallOptions): Promise<void> {
    const bounds = { signal, timeoutMs: BOOT_TIMEOUT_MS }
    await new GuestAgent(client, domain).ready(files.serialLog, bounds)
    await setClock(domain, files, bounds)
  }

  async saveSnapshot(vm: WorldVm, snapshot: string, options: CallOptions = {}): Promise<void> {
    if (vm.disks.length > 0) {
      throw unsupportedError(
        'ATP_LAB_PLATFORM_UNSUPPORTED',
        `"${vm.name}" has disks, which the lab cannot take snapshots of`,
      )
    }
    const { client, files } = await this.#place(vm, options)
    const state = await this.state(vm, options)
    if (state !== 'off') await monitor(client, await client.lookupByUuid(vm.id, options), `savevm ${snapshot}`, options)
    await writeFile(snapshotFile(files, snapshot), state)
  }

  async restoreSnapshot(vm: WorldVm, snapshot: string, password: string, options: CallOptions = {}): Promise<void> {
    const { client, files } = await this.#place(vm, options)
    const kept = await readFile(snapshotFile(files, snapshot), 'utf8').catch(() => {
      throw stateError('ATP_LAB_PLATFORM_SNAPSHOT', `"${vm.name}" has no snapshot ${snapshot}`)
    })
    const now = await this.state(vm, options)
    if (kept === 'off') return await this.powerOff(vm)
    if (now === 'off') await this.start(vm, password, options)
    const domain = await client.lookupByUuid(vm.id, options)
    await resetClone(client, domain, files, { timeoutMs: RESET_TIMEOUT_MS, ...options }, snapshot)
    if (kept === 'suspended') await client.suspend(domain, options)
  }

  async deleteSnapshot(vm: WorldVm, snapshot: string, options: CallOptions = {}): Promise<void> {
    const { client, files } = await this.#place(vm, options)
    const file = snapshotFile(files, snapshot)
    const kept = await readFile(file, 'utf8').catch(() => 'off')
    if (kept !== 'off') {
      const now = await this.state(vm, options)
      if (now !== 'running' && now !== 'suspended') {
        throw unsupportedError(
          'ATP_LAB_PLATFORM_UNSUPPORTED',
          `"${vm.name}" must be on: only its QEMU can delete a snapshot`,
        )
      }
      await monitor(client, await client.lookupByUuid(vm.id, options), `delvm ${snapshot}`, options)
    }
    await rm(file, { force: true })
  }

  async state(vm: WorldVm, options: CallOptions = {}): Promise<WorldState> {
    const { client, files } = await this.#place(vm, options)
    const { state } = await client.getState(await client.lookupByUuid(vm.id, options), options)
    if (state === 'shutoff' || state === 'crashed') return existsSync(asleepFile(files)) ? 'asleep' : 'off'
    return state === 'paused' || state === 'suspended' ? 'suspended' : 'running'
  }

  async xml(vm: WorldVm, options: CallOptions = {}): Promise<string> {
    const { client } = await this.#place(vm, options)
    return await client.getXml(await client.lookupByUuid(vm.id, options), options)
  }

  async consoles(vm: WorldVm, options: CallOptions = {}): Promise<Console[]> {
    const { graphics } = parseDomainXml(await this.xml(vm, options))
    return graphics.flatMap(({ type, port }) => {
      return (type === 'spice' || type === 'vnc') && port !== undefined && port > 0 ? [{ type, port }] : []
    })
  }

  async close(): Promise<void> {
    await this.#provider.close()
  }

  async #place(vm: WorldVm, options: CallOptions): Promise<Place> {
    const host = this.#hosts.find(({ id }) => id === vm.hostId)
    if (!host) throw configError('ATP_LAB_HOST', `the lab has no host ${vm.hostId}`)
    const access = await this.#provider.connect(host.name, options)
    return { ...access, ip: host.ip, files: vmFiles(access.host.folder, vm.name) }
  }

  /** Writes the definition, and makes or removes the disks it names. */
  async #define(vm: WorldVm, { client, user, files, host, ip }: Place, options: CallOptions): Promise<void> {
    if (vm.disks.length > MOST_DISKS) {
      throw unsupportedError(
        'ATP_LAB_PLATFORM_UNSUPPORTED',
        `a VM of the lab has at most ${MOST_DISKS} disks of its own`,
      )
    }
    for (const { id, sizeGb } of vm.disks) {
      const path = diskFile(files, id)
      // Sparse: it takes what the guest writes.
      await (await open(path, 'a')).close()
      await truncate(path, sizeGb * 2 ** 30)
      await giveTo(user, path)
    }
    const { source } = await this.#provider.material(host.id, vm.profile, options)
    const xml = bootXml(vm, { source, files, graphics: graphicsOf(ip) })
    await client.defineXml(withOwner(xml, this.#owner(vm)), options)
  }

  #owner(vm: WorldVm) {
    return { run: this.#run, lease: vm.id, pid: process.pid, expires: Date.now() + TAG_LIFE_MS }
  }

  #startsOf({ host }: Place): LimitFunction {
    const known = this.#starts.get(host.id) ?? pLimit(STARTS_PER_HOST)
    this.#starts.set(host.id, known)
    return known
  }
}

async function found(looking: Promise<Domain>): Promise<Domain | undefined> {
  try {
    return await looking
  } catch (error) {
    if (isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) return undefined
    throw error
  }
}

function nameTaken(vm: WorldVm, { host }: Place): Error {
  return remoteError('ATP_LAB_PLATFORM_NAME', `host ${host.id} has another VM "${vm.name}"`)
}

function passwordOf(xml: string): string {
  return /<graphics [^>]*passwd=['"]([^'"]*)['"]/.exec(xml)?.[1] ?? ''
}
