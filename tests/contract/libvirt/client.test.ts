import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostConnection } from '../../../framework/hosts/index.ts'
import {
  LibvirtClient,
  OWNER_NAMESPACE,
  OWNER_PREFIX,
  ownerElement,
  ownerOf,
  parseDomainXml,
  withOwner,
  type Domain,
} from '../../../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { CHANNEL, missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'

const missing = missingPart()
if (missing) console.warn(`libvirt contract tests are skipped: ${missing}`)

describe.skipIf(missing)('a real libvirt daemon', () => {
  let daemon: PrivateDaemon
  let client: LibvirtClient
  let vm: Domain

  beforeAll(async () => {
    daemon = await PrivateDaemon.start()
    client = await LibvirtClient.open(await connectUnix(daemon.socketPath), { path: '/session' })
    vm = await client.createXml(tinyDomain('vm-测试'), { autodestroy: true })
  })
  afterAll(async () => {
    await client?.close()
    await daemon?.stop()
  })

  it('tells about itself', async () => {
    expect(await client.hostname()).toBe(daemon.virsh('hostname').trim())
    expect(await client.libVersion()).toBeGreaterThan(1_000_000)
    expect(await client.supportsFeature(10)).toBe(true)
  })

  it('lists, finds and describes VMs exactly as virsh does', async () => {
    const defined = await client.defineXml(tinyDomain('off'))
    const uuids = daemon.virsh('list', '--all', '--uuid').split('\n').filter(Boolean)
    expect((await client.listDomains()).map(({ uuid }) => uuid).toSorted()).toEqual(uuids.toSorted())
    expect(await client.lookupByName(vm.name)).toEqual(vm)
    expect(await client.lookupByUuid(vm.uuid)).toEqual(vm)
    expect(await client.lookupById(vm.id)).toEqual(vm)
    await expect(client.lookupById(2_000_000_000)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
    // virsh ends what it prints with a newline of its own.
    expect(`${await client.getXml(vm)}\n`).toBe(daemon.virsh('dumpxml', vm.name))
    expect(parseDomainXml(await client.getXml(vm))).toMatchObject({ name: vm.name, uuid: vm.uuid })
    await client.undefine(defined)
    await expect(client.lookupByName('off')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
    await expect(client.getState(defined)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
  })

  it('takes a screenshot in the format it names', async () => {
    const { contentType, bytes } = await client.screenshot(vm)
    const magic = Buffer.from(bytes.subarray(0, 8))
    if (contentType === 'image/png') expect(magic.toString('hex')).toBe('89504e470d0a1a0a')
    else expect([contentType, magic.toString('latin1', 0, 2)]).toEqual(['image/x-portable-pixmap', 'P6'])
    await expect.poll(() => client.stats().streams, { timeout: 10_000 }).toBe(0)
  })

  it('passes monitor commands and their errors through', async () => {
    expect(JSON.parse(await client.monitorCommand(vm, '{"execute":"query-status"}'))).toMatchObject({
      return: { status: 'running' },
    })
    expect(JSON.parse(await client.monitorCommand(vm, '{"execute":"没有"}'))).toMatchObject({
      error: { class: 'CommandNotFound' },
    })
    expect(await client.humanMonitorCommand(vm, 'info version')).toMatch(/^\d+\.\d+/)
    await expect(client.monitorCommand(vm, '{')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
  })

  it('says that there is no agent', async () => {
    const ping = client.agentCommand(vm, '{"execute":"guest-ping"}', { timeoutMs: 1000 })
    await expect(ping).rejects.toMatchObject({ code: 'ATP_LIBVIRT_AGENT_UNRESPONSIVE', retryable: true })
  })

  it('delivers every event once, in order: 200 pauses are 400 events', async () => {
    const seen: string[] = []
    const monitor: string[] = []
    const unsubscribe = await client.onLifecycle(vm, ({ event }) => seen.push(event))
    const unsubscribeMonitor = await client.onMonitorEvent(vm, ({ event }) => monitor.push(event))
    for (let round = 0; round < 200; round++) {
      await client.suspend(vm)
      await client.resume(vm)
    }
    await expect.poll(() => seen.length, { timeout: 5000 }).toBe(400)
    await expect.poll(() => monitor.length, { timeout: 5000 }).toBe(400)
    expect(seen).toEqual(Array.from({ length: 400 }, (_, at) => (at % 2 === 0 ? 'suspended' : 'resumed')))
    expect(monitor).toEqual(Array.from({ length: 400 }, (_, at) => (at % 2 === 0 ? 'STOP' : 'RESUME')))
    await unsubscribe()
    await unsubscribeMonitor()
    await client.suspend(vm)
    await client.resume(vm)
    expect(seen).toHaveLength(400)
    expect(client.stats()).toMatchObject({ eventHandlers: 0, pending: 0 })
  })

  it('tells of resets, and delivers monitor events of one name only where asked', async () => {
    const seen: string[] = []
    const unsubscribe = await client.onMonitorEvent(undefined, ({ event }) => seen.push(event), { event: 'RESET' })
    const unsubscribeReboot = await client.onReboot(vm, ({ domain }) => seen.push(`reboot of ${domain.name}`))
    // Paused: firmware that runs may reset the machine again by itself.
    await client.suspend(vm)
    await client.reset(vm)
    await expect.poll(() => seen.toSorted(), { timeout: 10_000 }).toEqual(['RESET', `reboot of ${vm.name}`])
    await unsubscribe()
    await unsubscribeReboot()
    await client.resume(vm)
  })

  it('keeps the owner tag of a VM', async () => {
    const owner = { run: '运行 "1"', lease: 'l-1', pid: 42, expires: 1_795_170_178_123 }
    const tagged = await client.createXml(withOwner(tinyDomain('tagged'), owner), { paused: true, autodestroy: true })
    expect(await client.getState(tagged)).toEqual({ state: 'paused', reason: 1 })
    expect(ownerOf(await client.getXml(tagged))).toEqual(owner)
    const next = { ...owner, run: 'next' }
    const metadata = { uri: OWNER_NAMESPACE, key: OWNER_PREFIX }
    await client.setMetadata(tagged, { ...metadata, xml: ownerElement(next) })
    expect(ownerOf(await client.getXml(tagged))).toEqual(next)
    await client.setMetadata(tagged, { ...metadata, xml: undefined })
    expect(ownerOf(await client.getXml(tagged))).toBeUndefined()
    expect(await client.getMetadata(tagged, OWNER_NAMESPACE)).toBeUndefined()
    await client.destroy(tagged)
  })

  it('saves a VM and restores it paused or running', async () => {
    const saved = await client.createXml(tinyDomain('saved'), { autodestroy: true })
    const file = `${daemon.root}/home/saved`
    await client.save(saved, file)
    await expect(client.getState(saved)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
    await client.restore(file, { paused: true })
    expect(await client.getState(saved)).toMatchObject({ state: 'paused' })
    await client.resume(saved)
    await client.destroy(saved)
    await client.restore(file, { running: true })
    expect(await client.getState(saved)).toMatchObject({ state: 'running' })
    await client.destroy(saved)
    await expect(client.restore(`${file}.none`)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
  })

  it('starts a persistent VM for as long as the connection lives', async () => {
    const short = await LibvirtClient.open(await connectUnix(daemon.socketPath), { path: '/session' })
    const defined = await short.defineXml(tinyDomain('short'))
    const started = await short.create(defined, { autodestroy: true, paused: true })
    expect(started.id).toBeGreaterThan(0)
    await short.close()
    await expect.poll(async () => (await client.getState(defined)).state, { timeout: 10_000 }).toBe('shutoff')
    await client.undefine(defined)
  })

  it('refuses changes on a read-only connection', async () => {
    const reader = await LibvirtClient.open(await connectUnix(daemon.socketPath), { path: '/session', readOnly: true })
    expect(await reader.getState(vm)).toMatchObject({ state: 'running' })
    await expect(reader.suspend(vm)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE', context: { libvirtCode: 29 } })
    await reader.close()
  })

  it('lends a channel to one client at a time', async () => {
    const channel = await client.openChannel(vm, CHANNEL)
    await expect(client.openChannel(vm, CHANNEL)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_BUSY' })
    channel.destroy()
    const again = await client.openChannel(vm, CHANNEL)
    again.destroy(new Error('aborted'))
    await again.released
    await expect(client.openChannel(vm, 'none')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    expect(client.stats().streams).toBe(0)
  })

  it('tells a channel’s reader that the VM is gone', async () => {
    const doomed = await client.createXml(tinyDomain('doomed'), { autodestroy: true })
    const channel = await client.openChannel(doomed, CHANNEL)
    const ended = new Promise<Error | undefined>((resolve) => channel.start({ onData: () => {}, onClose: resolve }))
    await client.destroy(doomed)
    await ended
    await channel.released
    expect(client.stats().streams).toBe(0)
  })

  it('serves every role through a host connection', async () => {
    const host = await HostConnection.open({ id: 'h', uri: `qemu+unix:///session?socket=${daemon.socketPath}` })
    const target = await host.target(vm.name)
    const events: string[] = []
    const unsubscribe = await target.onMonitorEvent(({ event }) => events.push(event))
    expect(JSON.parse(await target.monitorCommand('{"execute":"stop"}'))).toEqual(
      expect.objectContaining({ return: {} }),
    )
    expect(await target.humanMonitorCommand('cont')).toBe('')
    await expect.poll(() => events, { timeout: 10_000 }).toEqual(['STOP', 'RESUME'])
    await unsubscribe()
    expect(await target.xml()).toContain(vm.uuid)
    ;(await target.openChannel(CHANNEL)).destroy()
    const clients = await Promise.all((['control', 'calls', 'channels'] as const).map((role) => host.client(role)))
    expect(new Set(clients).size).toBe(3)
    await clients[1]?.close()
    expect(await target.monitorCommand('{"execute":"query-status"}')).toContain('running')
    await host.close()
    await expect(host.client('calls')).rejects.toMatchObject({ code: 'ATP_HOST_CLOSED' })
    const shared = await HostConnection.open({ id: 'h', uri: host.uri }, { connections: 'shared' })
    expect(await shared.client('calls')).toBe(await shared.client('control'))
    await expect(shared.target('none')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN' })
    await shared.close()
  })
})
