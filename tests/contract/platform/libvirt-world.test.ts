import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { constants, createPublicKey, publicEncrypt } from 'node:crypto'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import type { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { labHost, openHost } from '../../../lab/hosts.ts'
import { createLabProvider, labDown, labPaths } from '../../../lab/index.ts'
import { ensureImage } from '../../../lab/image/build.ts'
import { LibvirtWorld, startPlatform } from '../../../lab/platform/index.ts'
import { Caller, idsOf, type Json } from './caller.ts'
import { worldContract } from './world-contract.ts'

// Software emulation on a machine that others use, too.
const TIMEOUT_MS = 300_000

// A lab of its own, so that these tests and the user's lab do not meet. Only the image is shared.
let home: string
const clients: LibvirtClient[] = []

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-vdi-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
}, TIMEOUT_MS)

afterAll(async () => {
  for (const client of clients.splice(0)) await client.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

/** A client of the host with this number, as anybody on the machine has it. */
async function host(index: number): Promise<LibvirtClient> {
  const known = clients[index - 1]
  if (known) return known
  const client = await openHost(labHost(labPaths(), index))
  clients[index - 1] = client
  return client
}

async function domains(): Promise<string[]> {
  const lists = await Promise.all([1, 2].map(async (index) => (await host(index)).listDomains()))
  return lists
    .flat()
    .map(({ name }) => name)
    .toSorted()
}

worldContract(
  'the lab',
  async () => {
    const platform = await startPlatform({ world: new LibvirtWorld() })
    return { platform, machines: domains, close: () => platform.close() }
  },
  TIMEOUT_MS,
)

describe('VMs of the platform', { timeout: TIMEOUT_MS }, () => {
  it('are libvirt domains with answering agents and consoles, where the API says', async () => {
    const before = await domains()
    const platform = await startPlatform({ world: new LibvirtWorld() })
    onTestFinished(() => platform.close())
    const caller = await Caller.open(platform)
    const { id, vms } = await caller.pool('agents', 2)
    const ids = idsOf(vms)
    await caller.verb('start', ids, {}, TIMEOUT_MS)
    for (const vm of vms) {
      const { name, ip } = await caller.get<{ name: string; ip: string }>(`/host/${vm['hostId']}`)
      const client = await host(Number(name.replace('lab-', '')))
      const domain = await client.lookupByUuid(vm['id'] as string)
      expect(domain.name).toBe(vm['name'])
      expect(await client.agentCommand(domain, '{"execute":"guest-ping"}')).toContain('return')
      const spice = await caller.get<{ ip: string; port: string; key: string }>(`/domain/${vm['id']}/spice-key`)
      expect(spice.ip).toBe(ip)
      expect(await spiceLogin(ip, Number(spice.port), spice.key)).toBe(SPICE.ok)
      expect(await spiceLogin(ip, Number(spice.port), 'wrong')).toBe(SPICE.denied)
      const ports = await caller.get<{ type: string; value: number }[]>(`/domain/${vm['id']}/port`)
      expect(await vncSecurity(ip, ports.find(({ type }) => type === 'vnc')?.value ?? 0)).toEqual(VNC_PASSWORD)
    }
    const [one] = ids as [string]
    const client = await host(Number(String(vms[0]?.['hostName']).replace('lab-', '')))
    await client.suspend(await client.lookupByUuid(one))
    expect((await caller.vm(one))['status']).toBe(1)
    await caller.post(`/domain/${one}/sync-status`, { syncType: 1 })
    expect((await caller.vm(one))['status']).toBe(2)
    await caller.verb('resume', [one])
    await caller.verb('close', ids, { isForce: 1 })
    await caller.ok('DELETE', `/ocloud/v1/desk-pool/${id}`)
    expect(await domains()).toEqual(before)
  })

  it('boot with memory, processors, disks and serial ports of their own', async () => {
    const platform = await startPlatform({ world: new LibvirtWorld() })
    onTestFinished(() => platform.close())
    const caller = await Caller.open(platform)
    const { vms } = await caller.pool('own', 1)
    const [one] = idsOf(vms) as [string]
    await caller.ok('PATCH', '/ocloud/v1/domain/mem-cpu', { listId: [one], memory: 160 })
    await caller.post('/domain/independent-disk', { domainIdList: [one], diskSize: 1 })
    await caller.post(`/domain/${one}/serial`, { serialModel: 2 })
    expect(await caller.verb('start', [one], {}, TIMEOUT_MS)).toEqual([1])
    const xml = await caller.get<string>(`/domain/${one}/xml`)
    expect(xml).toContain(`<memory unit='KiB'>${160 * 1024}</memory>`)
    expect(xml.match(/<disk /g)).toHaveLength(2)
    expect(xml.match(/<serial /g)).toHaveLength(2)
  })

  it('are gone once the platform stops, and there again, off, when it starts with its database', async () => {
    const database = join(home, 'kept.db')
    const first = await startPlatform({ world: new LibvirtWorld(), database })
    const caller = await Caller.open(first)
    const { vms } = await caller.pool('kept', 2)
    await caller.verb('start', idsOf(vms).slice(0, 1), {}, TIMEOUT_MS)
    await expect(startPlatform({ world: new LibvirtWorld(), database })).rejects.toMatchObject({
      code: 'ATP_LAB_PLATFORM_BUSY',
    })
    expect(await domains()).toEqual(['kept-1', 'kept-2'])
    await first.close()
    expect(await domains()).toEqual([])
    const second = await startPlatform({ world: new LibvirtWorld(), database })
    onTestFinished(() => second.close({ forget: true }))
    expect(second.adminPassword.reveal()).toBe(first.adminPassword.reveal())
    const rows = await (await Caller.open(second)).list('/domain')
    expect(rows.map((row) => [row['name'], row['status']])).toEqual([
      ['kept-1', 0],
      ['kept-2', 0],
    ])
    expect(await domains()).toEqual(['kept-1', 'kept-2'])
  })

  it('with taken names get other numbers, and two platforms do not meet', async () => {
    const [a, b] = await Promise.all([
      startPlatform({ world: new LibvirtWorld({ hosts: 1 }) }),
      startPlatform({ world: new LibvirtWorld({ hosts: 1 }) }),
    ])
    onTestFinished(async () => {
      await a.close()
      await b.close()
    })
    const first = await (await Caller.open(a)).pool('same', 2)
    const second = await (await Caller.open(b)).pool('same', 2)
    expect([...first.vms, ...second.vms].map((vm) => vm['name'])).toEqual(['same-1', 'same-2', 'same-3', 'same-4'])
    await a.close()
    expect(await domains()).toEqual(['same-3', 'same-4'])
  })
})

describe('a platform that is killed', { timeout: TIMEOUT_MS }, () => {
  async function launch(database: string): Promise<{ child: ChildProcess; caller: Caller }> {
    const args = ['lab', 'platform', '--json', '--database', database]
    const atp = join(import.meta.dirname, '../../../bin/atp.js')
    const child = spawn(process.execPath, [atp, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    const { url, adminUser, adminPassword } = JSON.parse(line) as Record<string, string>
    const platform = { url: url as string, adminUser: adminUser as string }
    return {
      child,
      caller: await Caller.open({ ...platform, adminPassword: new Secret('admin', adminPassword as string) }),
    }
  }

  async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  it('finds its VMs as they run at the next start; what nobody starts again is found by their owner tag', async () => {
    const database = join(home, 'killed.db')
    const provider = createLabProvider()
    onTestFinished(() => provider.close())
    const tagged = async () => (await provider.list()).map(({ name }) => name).toSorted()

    const first = await launch(database)
    const { vms } = await first.caller.pool('killed', 2)
    const ids = idsOf(vms)
    await first.caller.verb('start', ids.slice(0, 1), {}, TIMEOUT_MS)
    const key = await first.caller.get<Json>(`/domain/${ids[0]}/spice-key`)
    expect(await tagged()).toEqual([])
    await kill(first.child, 'SIGKILL')
    expect(await domains()).toEqual(['killed-1', 'killed-2'])
    expect(await tagged()).toEqual(['killed-1', 'killed-2'])

    const second = await launch(database)
    expect(await second.caller.settled(ids)).toEqual([1, 0])
    expect(await second.caller.get(`/domain/${ids[0]}/spice-key`)).toEqual(key)
    expect(await tagged()).toEqual([])
    await kill(second.child, 'SIGKILL')

    for (const { host, uuid } of await provider.list()) await provider.destroy({ host, uuid })
    expect(await domains()).toEqual([])
    const third = await launch(database)
    expect(await third.caller.settled(ids)).toEqual([0, 0])
    expect(await domains()).toEqual(['killed-1', 'killed-2'])
    await kill(third.child, 'SIGTERM')
    expect([third.child.exitCode, await domains()]).toEqual([0, []])
  })
})

const SPICE = { ok: 0, denied: 7 }
/** The link message with which a SPICE client begins: magic, version 2.2, size, main channel, no capabilities. */
const SPICE_HELLO = Buffer.concat([
  Buffer.from('REDQ', 'latin1'),
  Buffer.from(new Uint32Array([2, 2, 18]).buffer),
  Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0]),
])
const SPICE_KEY = { start: 20, end: 182 }

/** What a SPICE server says to a ticket (SPICE protocol, "Link stage"): {@link SPICE}. */
async function spiceLogin(ip: string, port: number, ticket: string): Promise<number> {
  return await talk(ip, port, async (read, socket) => {
    socket.write(SPICE_HELLO)
    const header = await read(16)
    const reply = Buffer.concat([header, await read(header.readUInt32LE(12))])
    const key = reply.subarray(SPICE_KEY.start, SPICE_KEY.end)
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' })
    socket.write(publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, Buffer.from(`${ticket}\0`, 'utf8')))
    return (await read(4)).readUInt32LE()
  })
}

/** Number of security types, then the one: a password (RFC 6143 §7.1.2). */
const VNC_PASSWORD = [1, 2]

/** The security types a VNC server asks for. */
async function vncSecurity(ip: string, port: number): Promise<number[]> {
  return await talk(ip, port, async (read, socket) => {
    socket.write(await read(12))
    return [...(await read(2))]
  })
}

async function talk<T>(
  ip: string,
  port: number,
  work: (read: (bytes: number) => Promise<Buffer>, socket: Socket) => Promise<T>,
): Promise<T> {
  const socket = connect(port, ip)
  let known = Buffer.alloc(0)
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  try {
    return await work(async (bytes) => {
      while (known.length < bytes) {
        const { value, done } = await chunks.next()
        if (done) throw new Error(`${ip}:${port} hung up`)
        known = Buffer.concat([known, value])
      }
      const read = known.subarray(0, bytes)
      known = known.subarray(bytes)
      return read
    }, socket)
  } finally {
    socket.destroy()
  }
}
