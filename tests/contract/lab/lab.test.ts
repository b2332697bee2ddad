import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil, Secret, withDeadline } from '../../../framework/core/index.ts'
import { spiceServer } from '../../../framework/hosts/index.ts'
import type { OwnerTag } from '../../../framework/leases/api.ts'
import { parseDomainXml, type Domain, type LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { setTicket, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { lineFraming } from '../../../guest/protocol/index.ts'
import { daemonUser } from '../../../lab/daemon-user.ts'
import { daemonPid, labHost, openHost, vmPids, type LabHost } from '../../../lab/hosts.ts'
import { cpioArchive } from '../../../lab/image/cpio.ts'
import { ensureImage } from '../../../lab/image/build.ts'
import { giveIdentity, setClock } from '../../../lab/identity.ts'
import { createLabProvider, labDown, labPaths, labStatus, type LabProvider } from '../../../lab/index.ts'
import { profileOf, vmFiles } from '../../../lab/profile.ts'
import { ensureSnapshot, snapshotName, snapshotsOf } from '../../../lab/snapshot.ts'

// A lab of its own, so that these tests and the user's lab do not meet. Only the image is shared.
let home: string
let provider: LabProvider
let host: LabHost
let client: LibvirtClient

const owner = (run = 'test'): OwnerTag => ({ run, lease: 'l-1', pid: process.pid, expires: Date.now() + 600_000 })

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-lab-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
  provider = createLabProvider()
  host = labHost(labPaths(), 1)
  const hosts = await provider.hosts()
  expect(hosts.map(({ id }) => id)).toEqual(['lab-1', 'lab-2'])
  client = await openHost(host)
}, 300_000)

afterAll(async () => {
  await client?.close()
  await provider?.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
})

async function makeVm(name: string, { run = 'test', profile = 'ps2' } = {}): Promise<Domain> {
  const { uuid } = await provider.create({ host: host.id, name, profile, owner: owner(run) })
  onTestFinished(() => provider.destroy({ host: host.id, uuid }))
  return await client.lookupByUuid(uuid)
}

async function agent<T>(domain: Domain, execute: string, args: object = {}): Promise<T> {
  const text = await client.agentCommand(domain, JSON.stringify({ execute, arguments: args }), { timeoutMs: 20_000 })
  return (JSON.parse(text) as { return: T }).return
}

async function shell(domain: Domain, line: string): Promise<string> {
  const args = { path: '/bin/sh', arg: ['-c', line], 'capture-output': true }
  const { pid } = await agent<{ pid: number }>(domain, 'guest-exec', args)
  const done = await pollUntil(line, { timeoutMs: 20_000 }, async () => {
    const status = await agent<{ exited: boolean; 'out-data'?: string }>(domain, 'guest-exec-status', { pid })
    return status.exited ? status : undefined
  })
  return Buffer.from(done['out-data'] ?? '', 'base64')
    .toString('utf8')
    .trim()
}

/** What the guest verifier says first to whoever opens its port. */
async function hello(domain: Domain): Promise<unknown> {
  const stream = await client.openChannel(domain, 'atp.verifier.0')
  try {
    return await withDeadline(
      'a hello',
      { timeoutMs: 20_000 },
      () =>
        new Promise((resolve, reject) => {
          const decoder = lineFraming.decoder()
          stream.start({
            onData: (chunk) => {
              const [first] = decoder.push(chunk)
              if (first) resolve(JSON.parse(first))
            },
            onClose: (error) => reject(error ?? new Error('the port was closed')),
          })
        }),
    )
  } finally {
    stream.destroy()
  }
}

const sendKey = (domain: Domain, qcode: string, down: boolean) => {
  const events = [{ type: 'key', data: { down, key: { type: 'qcode', data: qcode } } }]
  return client.monitorCommand(domain, JSON.stringify({ execute: 'input-send-event', arguments: { events } }))
}

/** Presses a key for good; resolves when the guest's kernel has seen it. */
async function holdKey(domain: Domain, qcode: string): Promise<void> {
  await shell(domain, 'head -c 24 /dev/input/atp/ps2-keyboard > /tmp/key 2>/dev/null & until pidof head; do :; done')
  await sendKey(domain, qcode, true)
  await shell(domain, 'until [ -s /tmp/key ]; do usleep 10000; done')
}

/** Strokes for the shell on the guest's first console. */
async function type(domain: Domain, qcodes: string): Promise<void> {
  for (const qcode of qcodes.split(' ')) {
    await sendKey(domain, qcode, true)
    await sendKey(domain, qcode, false)
  }
}

const guestClockErrorMs = async (domain: Domain) => {
  const before = Date.now()
  const guestMs = (await agent<number>(domain, 'guest-get-time')) / 1e6
  return Math.max(0, before - guestMs, guestMs - Date.now())
}

describe('clones', () => {
  it('run with an identity of their own, the right time, and an agent that answers', async () => {
    const vms = await Promise.all([makeVm('vm-001'), makeVm('vm-002')])
    const identities = await Promise.all(
      vms.map((vm) => shell(vm, 'hostname; cat /etc/hostname /etc/machine-id /sys/class/dmi/id/product_uuid')),
    )
    expect(identities).toEqual(vms.map(({ name, uuid }) => `${name}\n${name}\n${uuid.replaceAll('-', '')}\n${uuid}`))
    for (const vm of vms) expect(await guestClockErrorMs(vm)).toBeLessThan(100)
  })

  it.each([
    ['ps2', ['ps2-keyboard', 'ps2-mouse', 'virtio-tablet']],
    ['virtio', ['ps2-keyboard', 'virtio-keyboard', 'virtio-mouse', 'virtio-tablet']],
    ['usb', ['ps2-keyboard', 'ps2-mouse', 'usb-keyboard', 'usb-mouse', 'usb-tablet']],
  ])('of profile %s have its input devices and every port', async (profile, inputs) => {
    const vm = await makeVm('vm-001', { profile })
    const linked = (await shell(vm, 'ls /dev/input/atp')).split('\n')
    expect(linked).toEqual(expect.arrayContaining(inputs))
    expect((await shell(vm, 'ls /dev/virtio-ports')).split('\n')).toEqual([
      'atp.channel.0',
      'atp.clock.0',
      'atp.evdev.0',
      'atp.evdev.1',
      'atp.evdev.2',
      'atp.identity.0',
      'atp.verifier.0',
      'org.qemu.guest_agent.0',
    ])
  })

  it('of profile spice are desktops: display, sound, USB, and ports to a SPICE client', async () => {
    const vm = await makeVm('vm-001', { profile: 'spice' })
    expect(await shell(vm, 'cat /sys/class/graphics/fb0/name')).toBe('qxldrmfb')
    expect(await shell(vm, 'aplay -l')).toContain('Intel ICH')
    expect(await shell(vm, 'ls /sys/bus/usb/drivers')).toContain('usb-storage')
    expect((await shell(vm, 'ls /dev/virtio-ports')).split('\n')).toEqual(
      expect.arrayContaining(['atp.port.0', 'com.redhat.spice.0', 'org.spice-space.webdav.0']),
    )
    const console = /<graphics type='spice' port='\d+' autoport='no' listen='127\.0\.0\.1'/
    expect(await client.getXml(vm)).toMatch(console)
  })

  it('of profile agent have Node, a network that ends at this machine, and a guest verifier that knows them', async () => {
    const vm = await makeVm('vm-001', { profile: 'agent' })
    expect(await hello(vm)).toMatchObject({ vm_id: vm.uuid, verifiers: ['keyboard', 'mouse', 'command'] })
    expect(await shell(vm, 'touch /mnt/node/x 2>&1; ip route')).toMatch(/Read-only.*\n10\.0\.2\.0\/24 dev eth0 .*$/)
    const web = createServer((_, response) => response.end('from the host'))
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void web.close())
    const { port } = web.address() as AddressInfo
    expect(await shell(vm, `wget -q -O - http://10.0.2.2:${port}/`)).toBe('from the host')
  }, 180_000)

  it('tell whose they are, and are gone with their files once destroyed', async () => {
    const vm = await makeVm('vm-003')
    const found = async () => (await provider.list()).filter(({ uuid }) => uuid === vm.uuid)
    expect(await found()).toMatchObject([{ host: host.id, name: 'vm-003', owner: { run: 'test', lease: 'l-1' } }])
    await provider.own({ host: host.id, uuid: vm.uuid }, { ...owner('other'), lease: 'l-2' })
    expect(await found()).toMatchObject([{ owner: { run: 'other', lease: 'l-2' } }])
    await provider.destroy({ host: host.id, uuid: vm.uuid })
    expect(await found()).toEqual([])
    expect(existsSync(vmFiles(host.folder, 'vm-003').folder)).toBe(false)
    await provider.destroy({ host: host.id, uuid: vm.uuid })
  })

  it('leave nothing when their making is interrupted', async () => {
    const stop = new AbortController()
    const making = provider.create({ host: host.id, name: 'vm-004', owner: owner() }, { signal: stop.signal })
    const folder = vmFiles(host.folder, 'vm-004').folder
    await pollUntil(
      'the start of the making',
      { intervalMs: 1, maxIntervalMs: 2 },
      async () => existsSync(folder) || undefined,
    )
    stop.abort()
    await expect(making).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect((await client.listDomains()).map(({ name }) => name)).not.toContain('vm-004')
    expect(existsSync(folder)).toBe(false)
  })

  it('have a screen and a serial console on record', async () => {
    const vm = await makeVm('vm-005')
    const { contentType, bytes } = await client.screenshot(vm)
    expect(contentType).toMatch(/^image\//)
    expect(bytes.length).toBeGreaterThan(1000)
    await shell(vm, 'echo hello from the guest > /dev/ttyS0')
    const log = await pollUntil('the serial log', { timeoutMs: 5000 }, async () => {
      const text = await readFile(vmFiles(host.folder, 'vm-005').serialLog, 'utf8')
      return text.includes('hello') ? text : undefined
    })
    expect(log).toContain('hello from the guest')
  })

  it('refuse an unknown profile and host', async () => {
    const request = { host: host.id, name: 'vm-006', owner: owner() }
    await expect(provider.create({ ...request, profile: 'vista' })).rejects.toMatchObject({ code: 'ATP_LAB_PROFILE' })
    await expect(provider.create({ ...request, host: 'moon' })).rejects.toMatchObject({ code: 'ATP_LAB_HOST' })
  })
})

describe('an identity', () => {
  const filesOf = (vm: Domain) => vmFiles(host.folder, vm.name)
  const known = (vm: Domain) => shell(vm, 'hostname; cat /etc/machine-id')

  it('is given as often as wanted, whoever removed it or the program that takes it', async () => {
    const vm = await makeVm('vm-001')
    await shell(vm, 'hostname other; rm /etc/machine-id; date -s 2001-01-01; kill -9 $(pidof atp-identity)')
    await giveIdentity(vm, filesOf(vm), { timeoutMs: 20_000 })
    expect(await known(vm)).toBe(`vm-001\n${vm.uuid.replaceAll('-', '')}`)
    expect(await guestClockErrorMs(vm)).toBeLessThan(100)
    const long = { name: '桌'.repeat(30), uuid: '00000000-0000-4000-8000-000000000000' } as Domain
    await giveIdentity(long, filesOf(vm), {})
    expect(await known(vm)).toBe(`${'桌'.repeat(21)}\n00000000000040008000000000000000`)
  })

  it('stays when only the clock is set', async () => {
    const vm = await makeVm('vm-001')
    await shell(vm, 'hostname other; date -s 2001-01-01')
    await setClock(vm, filesOf(vm), {})
    expect(await guestClockErrorMs(vm)).toBeLessThan(100)
    expect(await known(vm)).toBe(`other\n${vm.uuid.replaceAll('-', '')}`)
  })

  it('is not given by a guest that refuses or does not answer, and that is said', async () => {
    const vm = await makeVm('vm-001')
    const refused = { code: 'ATP_LAB_GUEST_IDENTITY' }
    await shell(vm, 'rm /etc/machine-id; mkdir /etc/machine-id')
    const message = expect.stringContaining(`"vm-001" its identity failed: the guest's kernel answered error 21`)
    await expect(giveIdentity(vm, filesOf(vm), {})).rejects.toMatchObject({ ...refused, message: message as string })
    await client.suspend(vm)
    await expect(setClock(vm, filesOf(vm), { timeoutMs: 300 })).rejects.toMatchObject(refused)
    const stop = new AbortController()
    const setting = setClock(vm, filesOf(vm), { signal: stop.signal })
    stop.abort()
    await expect(setting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    await client.resume(vm)
    await setClock(vm, filesOf(vm), {})
  })
})

describe('recycling', () => {
  const recycle = (vm: Domain) => provider.recycle({ host: host.id, ...vm }, owner('standby'), { timeoutMs: 20_000 })

  it('takes away files, held keys, processes, clock step and console output of the lease before', async () => {
    const vm = await makeVm('vm-001', { run: 'standby' })
    for (let round = 0; round < 3; round += 1) {
      await shell(
        vm,
        'echo x > /root/left; echo x > /tmp/left; echo secret > /dev/ttyS0; date -s 2001-01-01; sleep 1000 >/dev/null 2>&1 &',
      )
      await holdKey(vm, 'shift')
      await recycle(vm)
      expect(await guestClockErrorMs(vm)).toBeLessThan(100)
      expect(await shell(vm, 'ls /root /tmp; pidof sleep')).toBe('/root:\n\n/tmp:')
      // With Shift still down this would be TOUCH TYPED.
      await type(vm, 't o u c h spc t y p e d ret')
      await pollUntil('what was typed', { timeoutMs: 10_000 }, async () =>
        (await shell(vm, 'ls /root')) === 'typed' ? true : undefined,
      )
      expect(await shell(vm, 'hostname')).toBe('vm-001')
      await shell(vm, 'echo next > /dev/ttyS0')
      const log = await pollUntil('the serial log', { timeoutMs: 5000 }, async () => {
        const text = await readFile(vmFiles(host.folder, 'vm-001').serialLog, 'latin1')
        return text.includes('next') ? text : undefined
      })
      expect(log.trim()).toBe('next')
    }
  })

  it('wakes a VM that was left suspended, and is seen so by libvirt', async () => {
    const vm = await makeVm('vm-001', { run: 'standby' })
    await client.suspend(vm)
    await recycle(vm)
    expect((await client.getState(vm)).state).toBe('running')
  })

  it('refuses while a client still holds a channel, and works once it let go', async () => {
    const vm = await makeVm('vm-001', { run: 'standby' })
    const other = await openHost(host)
    const stream = await other.openChannel(vm, 'atp.channel.0')
    await expect(recycle(vm)).rejects.toMatchObject({ code: 'ATP_LAB_CHANNEL_HELD' })
    stream.destroy()
    await recycle(vm)
    const again = await other.openChannel(vm, 'atp.channel.0')
    again.destroy()
    await other.close()
  })

  it('gives a desktop its console, display and password back', async () => {
    const vm = await makeVm('vm-001', { run: 'standby', profile: 'spice' })
    const monitorCommand = (json: string) => client.monitorCommand(vm, json)
    await setTicket({ name: vm.name, monitorCommand }, new Secret('of a lease', 'lease-before'))
    const { graphics } = parseDomainXml(await client.getXml(vm, { secure: true }))
    const { port, password } = graphics[0]!
    const open = async () => {
      const server = spiceServer({ kind: 'tcp', host: '127.0.0.1', port }, { password })
      const connection = new SpiceVmConnection(vm.name, { server })
      onTestFinished(() => connection.disconnectAll())
      await connection.connectMainChannel()
      return await connection.openChannel('display')
    }
    await expect(open()).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    await recycle(vm)
    expect((await (await open()).receive({ timeoutMs: 10_000 })).type).toBeGreaterThan(100)
    expect(await shell(vm, 'cat /sys/class/graphics/fb0/name')).toBe('qxldrmfb')
  })

  it('gives an agent its guest verifier back', async () => {
    const vm = await makeVm('vm-001', { run: 'standby', profile: 'agent' })
    await shell(vm, 'killall node; ip link set eth0 down')
    await recycle(vm)
    expect(await hello(vm)).toMatchObject({ vm_id: vm.uuid })
    expect(await shell(vm, 'ip link show dev eth0')).toContain('LOWER_UP')
  }, 180_000)

  it('refuses a VM that has no pristine state of its own', async () => {
    const vm = await makeVm('vm-001')
    await expect(recycle(vm)).rejects.toMatchObject({ code: 'ATP_LAB_RESET' })
  })
})

describe('a guest that never boots', () => {
  it('is reported with its last words, and nothing is left of it', async () => {
    const shared = await ensureImage(labPaths())
    const initrd = join(home, 'empty')
    await writeFile(initrd, cpioArchive([]))
    const image = { ...shared, id: 'broken', initrd }
    const source = { profile: profileOf(), image, domainType: 'qemu' as const, versions: { qemu: '', libvirt: '' } }
    const user = await daemonUser()
    const made = ensureSnapshot(host, source, { client, user, others: [] }, { timeoutMs: 50_000 })
    await expect(made).rejects.toMatchObject({
      code: 'ATP_LAB_GUEST_SILENT',
      message: expect.stringMatching(/Kernel panic|VFS|init/) as string,
    })
    expect((await client.listDomains()).map(({ name }) => name)).not.toContain('template-ps2')
    expect(await snapshotsOf(host)).not.toContain(snapshotName(source))
  })
})

describe('hosts', () => {
  it('are started once however many ask', async () => {
    const pid = await daemonPid(host)
    const others = [createLabProvider(), createLabProvider()]
    await Promise.all(others.map((other) => other.hosts()))
    await Promise.all(others.map((other) => other.close()))
    expect(await daemonPid(host)).toBe(pid)
  })

  it('find their VMs again after the daemon was killed', async () => {
    const vm = await makeVm('vm-007')
    process.kill((await daemonPid(host)) as number, 'SIGKILL')
    await client.closed
    expect(await vmPids(host)).toHaveLength(1)
    const found = await provider.list()
    expect(found).toMatchObject([{ name: 'vm-007', uuid: vm.uuid }])
    client = await openHost(host)
    expect((await client.getState(vm)).state).toBe('running')
  })

  it('report what there is', async () => {
    const vm = await makeVm('vm-008')
    const status = await labStatus()
    expect(status).toMatchObject({ home, missingPackages: [], kvm: { reason: expect.stringMatching(/./) as string } })
    expect(status.hosts[0]).toMatchObject({
      id: 'lab-1',
      pid: await daemonPid(host),
      vms: [{ name: 'vm-008', uuid: vm.uuid, owner: { run: 'test' } }],
    })
  })
})
