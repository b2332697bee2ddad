import { randomUUID } from 'node:crypto'
import type { Domain, LibvirtClient } from '../../framework/protocols/libvirt/index.ts'
import { GuestAgent } from '../../lab/guest-agent.ts'
import { ensureImage } from '../../lab/image/build.ts'
import { labPaths } from '../../lab/index.ts'
import { domainXml, profileOf, vmFiles } from '../../lab/profile.ts'
import { writeStateDisk } from '../../lab/state-disk.ts'
import type { RemoteHost } from '../../tests/support/remote-host/index.ts'

const BOOT_TIMEOUT_MS = 120_000

/** Boots the lab's guest on a host that is reached across the network; resolves when its agent answers. */
export async function bootGuest(
  { daemon }: RemoteHost,
  client: LibvirtClient,
  { name, log }: { name: string; log: (text: string) => void },
): Promise<Domain> {
  const image = await ensureImage(labPaths(), { onProgress: log })
  daemon.folder('v')
  const files = vmFiles(daemon.root, name)
  daemon.folder(`v/${name}`)
  await writeStateDisk(files.stateDisk)
  daemon.give(files.stateDisk)
  const profile = profileOf()
  const xml = domainXml({ name, uuid: randomUUID(), profile, image, domainType: 'qemu', files })
  const domain = await client.createXml(xml)
  await new GuestAgent(client, domain).ready(files.serialLog, { timeoutMs: BOOT_TIMEOUT_MS })
  return domain
}
