import { randomUUID } from 'node:crypto'
import { rm, truncate } from 'node:fs/promises'
import type { CallOptions } from '../framework/core/index.ts'
import { interrupted, isAtpError, pollUntil, remoteError, stateError } from '../framework/core/index.ts'
import { parseDomainXml, withOwner, type Domain, type LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { setTicket } from '../framework/protocols/spice/index.ts'
import type { OwnerTag } from '../framework/leases/api.ts'
import type { DaemonUser } from './daemon-user.ts'
import { GuestAgent } from './guest-agent.ts'
import type { LabHost } from './hosts.ts'
import { giveIdentity, setClock } from './identity.ts'
import { withLock } from './lock.ts'
import { freePort } from './platform/domain-description.ts'
import { newTicket, vmFiles, type VmFiles } from './profile.ts'
import { cloneXml, writeSaveXml } from './save-file.ts'
import { prepareVmFolder, type Snapshot } from './snapshot.ts'

/** Name of the internal snapshot on a VM's state disk. */
const PRISTINE = 'pristine'

const CHANNELS_TIMEOUT_MS = 2000
const RESTORE_TIMEOUT_MS = 60_000

export interface CloneRequest {
  name: string
  owner: OwnerTag
  /** Keep the pristine state with the VM, so that {@link resetClone} works. Costs a tenth of a second and 90 MB. */
  resettable: boolean
}

/**
 * Starts a VM from a snapshot: running, with an identity of its own, its clock right, its guest agent answering.
 * Nothing is left of it when this rejects.
 */
export async function startClone(
  host: LabHost,
  snapshot: Snapshot,
  { name, owner, resettable }: CloneRequest,
  { client, user }: { client: LibvirtClient; user: DaemonUser },
  options: CallOptions,
): Promise<Domain> {
  const files = vmFiles(host.folder, name)
  const uuid = randomUUID()
  let domain: Domain | undefined
  try {
    await prepareVmFolder(files, user)
    const xml = cloneXml(snapshot.header.xml, {
      name,
      uuid,
      from: snapshot.folder,
      to: files.folder,
      console: { port: await freePort('127.0.0.1'), ticket: newTicket() },
    })
    // libvirt restores only under the name in the file: the file speaks of one clone at a time.
    await withLock(`restore ${snapshot.file}`, options, async () => {
      await writeSaveXml(snapshot.file, snapshot.header, withOwner(xml, owner))
      // Without the caller's signal: the daemon would go on, and the VM appear after nobody waits for it any more.
      await client.restore(snapshot.file, { running: true, timeoutMs: RESTORE_TIMEOUT_MS })
    })
    if (options.signal?.aborted) throw interrupted(`making "${name}"`, options.signal)
    domain = await client.lookupByUuid(uuid, options)
    await new GuestAgent(client, domain).ready(files.serialLog, options)
    await giveIdentity(domain, files, options)
    if (resettable) await keepPristine(client, domain, options)
    return domain
  } catch (error) {
    const made = domain ?? (await client.lookupByUuid(uuid).catch(() => undefined))
    if (made) await destroyClone(client, made, files)
    else await rm(files.folder, { recursive: true, force: true })
    throw error
  }
}

/** Destroys a VM and removes its files. One that ended by itself is fine. */
export async function destroyClone(client: LibvirtClient, domain: Domain, files: VmFiles): Promise<void> {
  await removeDomain(client, domain)
  await rm(files.folder, { recursive: true, force: true })
}

/** What libvirt answers to operations that the domain's state does not allow. */
const OPERATION_INVALID = 55

/** Destroys a domain, whether it runs or not, and removes its definition, if it has one. */
export async function removeDomain(client: LibvirtClient, domain: Domain, options: CallOptions = {}): Promise<void> {
  await cutPower(client, domain, options)
  await client.undefine(domain, options).catch((error: unknown) => {
    if (!isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) throw error
  })
}

/** Stops a domain at once. One that is off or gone is fine. */
export async function cutPower(client: LibvirtClient, domain: Domain, options: CallOptions = {}): Promise<void> {
  await client.destroy(domain, options).catch((error: unknown) => {
    const off = isAtpError(error) && error.context['libvirtCode'] === OPERATION_INVALID
    if (!off && !isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) throw error
  })
}

async function keepPristine(client: LibvirtClient, domain: Domain, options: CallOptions): Promise<void> {
  await monitor(client, domain, `savevm ${PRISTINE}`, options)
}

/**
 * Puts a VM made as `resettable` back into its pristine state in place: memory, devices, held keys, guest ports.
 *
 * After a pause in leases QEMU reports the agent's port open again only a second after it was closed by the reset
 * (it limits the rate of that event), so this takes 0.15 s or 1.1 s.
 *
 * With `snapshot` it is put into that internal snapshot instead.
 *
 * @throws `ATP_LAB_CHANNEL_HELD` when a client still holds one of the VM's channels, `ATP_LAB_RESET` when QEMU
 * refuses. The VM is in no known state then.
 */
export async function resetClone(
  client: LibvirtClient,
  domain: Domain,
  files: VmFiles,
  options: CallOptions,
  snapshot = PRISTINE,
): Promise<void> {
  await channelsReleased(client, domain, options)
  await monitor(client, domain, 'stop', options)
  await monitor(client, domain, `loadvm ${snapshot}`, options)
  // What the serial console said belongs to the lease before.
  await truncate(files.serialLog)
  await monitor(client, domain, 'cont', options)
  await new GuestAgent(client, domain).ready(files.serialLog, options)
  await setClock(domain, files, options)
}

/** Gives the console the password of the VM's description again, which a lease may have changed. */
export async function resetTicket(client: LibvirtClient, domain: Domain, options: CallOptions): Promise<void> {
  const { graphics } = parseDomainXml(await client.getXml(domain, { ...options, secure: true }))
  const password = graphics.find((console) => console.password)?.password
  if (!password) return
  const monitorCommand = (json: string, bounds?: CallOptions) => client.monitorCommand(domain, json, bounds)
  await setTicket({ name: domain.name, monitorCommand }, password, options)
}

async function channelsReleased(client: LibvirtClient, domain: Domain, options: CallOptions): Promise<void> {
  let held: string[] = []
  try {
    await pollUntil(
      `the release of the channels of "${domain.name}"`,
      { timeoutMs: CHANNELS_TIMEOUT_MS, signal: options.signal },
      async (signal) => {
        held = await heldChannels(client, domain, { signal })
        return held.length === 0 || undefined
      },
    )
  } catch (error) {
    if (held.length === 0) throw error
    throw stateError(
      'ATP_LAB_CHANNEL_HELD',
      `"${domain.name}" cannot be reset: a client still holds ${held.join(', ')}`,
      {
        cause: error,
        verdict: 'infrastructure',
      },
    )
  }
}

/** Channels that have a client on the host, by QEMU's own account (`query-chardev`). */
async function heldChannels(client: LibvirtClient, domain: Domain, options: CallOptions): Promise<string[]> {
  const text = await client.monitorCommand(domain, '{"execute":"query-chardev"}', options)
  const { return: devices } = JSON.parse(text) as { return: { label: string; filename: string }[] }
  const number = (label: string) => Number(label.slice('charchannel'.length))
  const ports = devices.filter(({ label }) => label.startsWith('charchannel'))
  // The agent's is the last; those that lead to a SPICE client are no sockets.
  const agent = Math.max(...ports.map(({ label }) => number(label)))
  return ports
    .filter(({ label, filename }) => number(label) !== agent && filename.startsWith('unix:'))
    .map(({ label }) => label)
}

/** One command of QEMU's human monitor. It prints nothing when all is well. */
export async function monitor(
  client: LibvirtClient,
  domain: Domain,
  line: string,
  options: CallOptions,
): Promise<void> {
  const said = (await client.humanMonitorCommand(domain, line, options)).trim()
  if (said) throw remoteError('ATP_LAB_RESET', `"${line}" in the monitor of "${domain.name}": ${said}`)
}
