/** Client and stand-in together, with real VMs behind: the whole contract, in both worlds. */
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { type LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { labHost, openHost } from '../../../lab/hosts.ts'
import { ensureImage } from '../../../lab/image/build.ts'
import { labDown, labPaths } from '../../../lab/index.ts'
import { LibvirtWorld, startPlatform } from '../../../lab/platform/index.ts'
import { vdiContract } from './contract.ts'
import { contractPlatform } from './stand-in.ts'

// Software emulation on a machine that others use, too.
const TIMEOUT_MS = 300_000

// A lab of its own, so that these tests and the user's lab do not meet. Only the image is shared.
let home: string
const hosts: LibvirtClient[] = []

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-vc-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
}, TIMEOUT_MS)

afterAll(async () => {
  for (const host of hosts) await host.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

/** The domains of the hosts with their states. */
async function machines(): Promise<string[]> {
  const lists = hosts.map(async (host) => {
    const domains = await host.listDomains()
    return Promise.all(domains.map(async (domain) => `${domain.name} ${(await host.getState(domain)).state}`))
  })
  return (await Promise.all(lists)).flat().toSorted()
}

vdiContract(
  'a stand-in with real VMs',
  async () => {
    const platform = await startPlatform({ world: new LibvirtWorld() })
    for (const index of [1, 2]) hosts.push(await openHost(labHost(labPaths(), index)))
    return contractPlatform(platform, {
      pace: { firstMs: 50, longestMs: 500 },
      unsupported: ['usbPools.passThrough', 'usbPools.endPassThrough', 'usbPools.redirect'],
      machines,
    })
  },
  { timeoutMs: TIMEOUT_MS },
)
