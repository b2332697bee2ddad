import { constants } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { stateError, type CallOptions } from '../framework/core/index.ts'
import type { OwnerTag } from '../framework/leases/api.ts'
import type { Domain, LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { giveTo, type DaemonUser } from './daemon-user.ts'
import type { LabHost } from './hosts.ts'
import { withLock } from './lock.ts'
import { vmFiles } from './profile.ts'
import { readSaveHeader } from './save-file.ts'
import type { Snapshot } from './snapshot.ts'

const LOCK_TIMEOUT_MS = 120_000

/** Beside a checkpoint's memory. Written first, so that nothing is kept that is nobody's. */
interface Notes {
  owner: OwnerTag
  /** The machine as it was saved, once it is. */
  saved?: { xml: string; folder: string }
}

const folderOf = (host: LabHost) => join(host.folder, 'p')
const saveFile = (host: LabHost, id: string) => join(folderOf(host), `${id}.save`)
const notesFile = (host: LabHost, id: string) => join(folderOf(host), `${id}.json`)

/**
 * Saves a running VM as a checkpoint of its host, by libvirt: its memory goes to a file, and the VM is gone.
 *
 * @returns the size of the file in bytes.
 * @throws what libvirt throws; nothing of the checkpoint is left then.
 */
export async function saveCheckpoint(
  host: LabHost,
  domain: Domain,
  { id, owner }: { id: string; owner: OwnerTag },
  { client, user }: { client: LibvirtClient; user: DaemonUser },
  options: CallOptions,
): Promise<number> {
  const file = saveFile(host, id)
  const { folder } = vmFiles(host.folder, domain.name)
  try {
    await prepareFolder(host, user)
    await writeNotes(host, id, { owner })
    await client.save(domain, file, options)
    const { xml } = await readSaveHeader(file)
    await writeNotes(host, id, { owner, saved: { xml, folder } })
    return (await stat(file)).size
  } catch (error) {
    await removeCheckpoint([host], id)
    throw error
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * What clones of a checkpoint are restored from on a host; copied from the host that has it, if it is another one.
 *
 * @throws `ATP_LAB_CHECKPOINT` when no host has it.
 */
export async function loadCheckpoint(
  host: LabHost,
  id: string,
  { user, others }: { user: DaemonUser; others: readonly LabHost[] },
  options: CallOptions,
): Promise<Snapshot> {
  const found = await load(host, id)
  if (found) return found
  return withLock(lockOf(host, id), { timeoutMs: LOCK_TIMEOUT_MS, ...options }, async () => {
    const meanwhile = await load(host, id)
    if (meanwhile) return meanwhile
    for (const other of others) {
      const notes = await readNotes(other, id)
      if (!notes?.saved) continue
      await prepareFolder(host, user)
      await writeNotes(host, id, { owner: notes.owner })
      await copyFile(saveFile(other, id), saveFile(host, id), constants.COPYFILE_FICLONE)
      await giveTo(user, saveFile(host, id))
      await writeNotes(host, id, notes)
      return (await load(host, id)) as Snapshot
    }
    throw stateError('ATP_LAB_CHECKPOINT', `no host of the lab has the checkpoint ${id}`, { verdict: 'infrastructure' })
  })
}

/** Removes a checkpoint from the hosts of one lab, all of it or what there is. */
export async function removeCheckpoint(hosts: readonly LabHost[], id: string): Promise<void> {
  const [first] = hosts
  if (!first) return
  await withLock(lockOf(first, id), { timeoutMs: LOCK_TIMEOUT_MS }, async () => {
    for (const host of hosts) {
      await rm(saveFile(host, id), { force: true })
      for (const file of [notesFile(host, id), `${notesFile(host, id)}.next`]) await rm(file, { force: true })
    }
  })
}

/** Checkpoints of a host, half-made ones included. */
export async function checkpointsOf(host: LabHost): Promise<{ id: string; owner: OwnerTag }[]> {
  const names = await readdir(folderOf(host)).catch(() => [] as string[])
  const ids = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))
  const kept = await Promise.all(
    ids.map(async (id) => {
      const notes = await readNotes(host, id)
      return notes ? [{ id, owner: notes.owner }] : []
    }),
  )
  return kept.flat()
}

/** One lock for all hosts: who copies a checkpoint must not meet who removes it. */
const lockOf = (host: LabHost, id: string) => `checkpoint ${dirname(host.folder)} ${id}`

async function prepareFolder(host: LabHost, user: DaemonUser): Promise<void> {
  await mkdir(folderOf(host), { recursive: true, mode: 0o700 })
  await giveTo(user, folderOf(host))
}

async function load(host: LabHost, id: string): Promise<Snapshot | undefined> {
  const saved = (await readNotes(host, id))?.saved
  if (!saved) return undefined
  const file = saveFile(host, id)
  return { file, header: { ...(await readSaveHeader(file)), xml: saved.xml }, folder: saved.folder }
}

async function readNotes(host: LabHost, id: string): Promise<Notes | undefined> {
  try {
    return JSON.parse(await readFile(notesFile(host, id), 'utf8')) as Notes
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function writeNotes(host: LabHost, id: string, notes: Notes): Promise<void> {
  const file = notesFile(host, id)
  await writeFile(`${file}.next`, JSON.stringify(notes), { mode: 0o600 })
  await rename(`${file}.next`, file)
}
