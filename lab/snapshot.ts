import { createHash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { connectError, type CallOptions } from '../framework/core/index.ts'
import type { LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { giveTo, type DaemonUser } from './daemon-user.ts'
import { GuestAgent } from './guest-agent.ts'
import type { LabHost } from './hosts.ts'
import { setClock } from './identity.ts'
import { GUEST_READY_FILE } from './image/guest-files.ts'
import type { GuestImage } from './image/build.ts'
import { withLock } from './lock.ts'
import { domainXml, vmFiles, type MachineProfile, type VmFiles } from './profile.ts'
import { readSaveHeader, type SaveHeader } from './save-file.ts'
import { writeStateDisk } from './state-disk.ts'
import { startVerifier } from './verifier.ts'
import type { HypervisorVersions } from './versions.ts'

const BOOT_TIMEOUT_MS = 120_000
const SHARED_TIMEOUT_MS = 300_000
/** A refined calibration is right within a few millionths; a failed one is off by percents or by factors. */
const CLOCK_RATE_TOLERANCE = 0.002
const MOST_BOOTS = 4

/** What a host's VMs are made of. */
export interface SnapshotSource {
  profile: MachineProfile
  image: GuestImage
  domainType: 'kvm' | 'qemu'
  versions: HypervisorVersions
  /** The guest verifier that runs in it, where the profile has one. */
  verifier?: string
}

/** A profile's memory, once booted and settled, as a libvirt save file of one host. */
export interface Snapshot {
  file: string
  /** The template as it was saved; clones get it changed. */
  header: SaveHeader
  /** Folder of the template's files; clones have their own instead. */
  folder: string
}

export interface SnapshotOptions extends CallOptions {
  onProgress?: (text: string) => void
}

/** Identity of a snapshot: everything the frozen machine depends on. */
export function snapshotName(source: SnapshotSource): string {
  const { profile, image, domainType, versions, verifier = '' } = source
  // The template's domain stands for whatever the domain's description says.
  const template = templateXml(source, { name: '', uuid: '', files: vmFiles('', ''), ticket: '' })
  const text = JSON.stringify([profile, image.id, domainType, versions, template, verifier])
  return `${profile.name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}`
}

/** Names of the snapshots a host has. */
export async function snapshotsOf(host: LabHost): Promise<string[]> {
  const names = await readdir(join(host.folder, 's')).catch(() => [] as string[])
  return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))
}

/**
 * The host's snapshot of a profile: found, else copied from a host of the same lab, else made by booting a template
 * VM. Several processes may ask at once: one makes it.
 *
 * @throws what booting the template throws; nothing is left of it then.
 */
export async function ensureSnapshot(
  host: LabHost,
  source: SnapshotSource,
  make: { client: LibvirtClient; user: DaemonUser; others: readonly LabHost[] },
  options: SnapshotOptions = {},
): Promise<Snapshot> {
  const name = snapshotName(source)
  const found = await load(host, name)
  if (found) return found
  const { onProgress, ...bounds } = options
  const lock = {
    timeoutMs: SHARED_TIMEOUT_MS,
    ...bounds,
    onWait: () => onProgress?.(`waiting for the snapshot ${name}`),
  }
  // One lock for all hosts: the second host copies what the first one made.
  return await withLock(`snapshot ${dirname(host.folder)} ${name}`, lock, async () => {
    const meanwhile = await load(host, name)
    if (meanwhile) return meanwhile
    const other = (
      await Promise.all(make.others.map(async (host) => ((await load(host, name)) ? host : undefined)))
    ).find(Boolean)
    if (other) await copy(other, host, name, make.user)
    else await build(host, source, name, make, options)
    await removeOutdated(host, source.profile, name)
    return (await load(host, name)) as Snapshot
  })
}

/** The memory itself. */
export const saveFile = (host: LabHost, name: string) => join(host.folder, 's', `${name}.save`)
/** Written last: a snapshot without it does not count. */
const notesFile = (host: LabHost, name: string) => join(host.folder, 's', `${name}.json`)

async function load(host: LabHost, name: string): Promise<Snapshot | undefined> {
  let notes: { xml: string; folder: string }
  try {
    notes = JSON.parse(await readFile(notesFile(host, name), 'utf8')) as typeof notes
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const file = saveFile(host, name)
  return { file, header: { ...(await readSaveHeader(file)), xml: notes.xml }, folder: notes.folder }
}

async function copy(from: LabHost, to: LabHost, name: string, user: DaemonUser): Promise<void> {
  const next = `${saveFile(to, name)}.next`
  await copyFile(saveFile(from, name), next, constants.COPYFILE_FICLONE)
  await giveTo(user, next)
  await rename(next, saveFile(to, name))
  await copyFile(notesFile(from, name), notesFile(to, name))
}

/** Snapshots of older images and versions of the same profile: 90 MB each. */
async function removeOutdated(host: LabHost, profile: MachineProfile, name: string): Promise<void> {
  const folder = join(host.folder, 's')
  for (const file of await readdir(folder)) {
    if (file.startsWith(`${profile.name}-`) && !file.startsWith(`${name}.`))
      await rm(join(folder, file), { force: true })
  }
}

type Make = { client: LibvirtClient; user: DaemonUser }

async function build(
  host: LabHost,
  source: SnapshotSource,
  name: string,
  make: Make,
  { onProgress, signal, timeoutMs = BOOT_TIMEOUT_MS }: SnapshotOptions,
): Promise<void> {
  const vmName = `template-${source.profile.name}`
  const files = vmFiles(host.folder, vmName)
  const next = `${saveFile(host, name)}.next`
  onProgress?.(`booting a VM of profile "${source.profile.name}" to keep its memory`)
  for (let boots = 1; ; boots++) {
    const xml = templateXml(source, { name: vmName, uuid: randomUUID(), files })
    const clockRate = await bootAndSave(xml, { files, file: next, verifier: source.verifier }, make, {
      signal,
      timeoutMs,
    })
    if (isRight(clockRate)) break
    const wrong = `the clock of "${vmName}" runs ${clockRate.toFixed(3)} times as fast as it should`
    if (boots === MOST_BOOTS) {
      throw connectError('ATP_LAB_GUEST_CLOCK', `${wrong}, after ${boots} boots`, {
        remedy: 'try again when the machine is less busy: the guest measures its processor while it boots',
      })
    }
    onProgress?.(`${wrong}; booting again`)
  }
  await rename(next, saveFile(host, name))
  const notes = { xml: (await readSaveHeader(saveFile(host, name))).xml, folder: files.folder }
  await writeFile(notesFile(host, name), JSON.stringify(notes))
  onProgress?.(`snapshot ${name} made`)
}

const isRight = (clockRate: number) => Math.abs(clockRate - 1) <= CLOCK_RATE_TOLERANCE

/** Boots a template and keeps its memory, unless its clock runs wrong. Resolves to the clock's rate. */
async function bootAndSave(
  xml: string,
  { files, file, verifier }: { files: VmFiles; file: string; verifier: string | undefined },
  { client, user }: Make,
  bounds: CallOptions,
): Promise<number> {
  await prepareVmFolder(files, user)
  // It ends with this connection, so a killed builder leaves no VM.
  const domain = await client.createXml(xml, { ...bounds, autodestroy: true })
  try {
    const agent = new GuestAgent(client, domain)
    await agent.ready(files.serialLog, bounds)
    await agent.shell(`until [ -e ${GUEST_READY_FILE} ]; do usleep 20000; done`, bounds)
    // Its answer proves that the program waits, now and in every clone.
    await setClock(domain, files, bounds)
    const clockRate = await agent.clockRate(bounds)
    if (isRight(clockRate)) {
      if (verifier !== undefined) await startVerifier(client, domain, { files, bundle: verifier }, bounds)
      await agent.shell('sync; echo 3 > /proc/sys/vm/drop_caches', bounds)
      await client.save(domain, file, bounds)
    } else await client.destroy(domain, bounds)
    return clockRate
  } catch (error) {
    await client.destroy(domain).catch(() => {})
    await rm(file, { force: true })
    throw error
  } finally {
    await rm(files.folder, { recursive: true, force: true })
  }
}

/** Makes an empty folder for the files of a VM; whatever an earlier VM of that name left is removed. */
export async function prepareVmFolder(files: VmFiles, user: DaemonUser): Promise<void> {
  await rm(files.folder, { recursive: true, force: true })
  await mkdir(files.folder, { recursive: true, mode: 0o700 })
  await writeStateDisk(files.stateDisk)
  await giveTo(user, files.folder, files.stateDisk)
}

function templateXml(
  { profile, image, domainType }: SnapshotSource,
  vm: { name: string; uuid: string; files: VmFiles; ticket?: string },
): string {
  return domainXml({ ...vm, profile, image, domainType })
}
