import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import type { Domain, LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import {
  echoDomain,
  missingHostPart,
  newResources,
  openClient,
  ownResources,
  PausableProxy,
  RemoteHost,
  tinyDomain,
  type Way,
} from '../../support/remote-host/index.ts'

const LISTEN = ['tcp', 'tls', 'ssh'] as const
const WAYS = ['unix', 'tcp', 'tls', 'ssh', 'ssh-netcat'] as const satisfies readonly Way[]

const missing = missingHostPart(LISTEN)
if (missing) console.warn(`tests of the transports are skipped: ${missing}`)

const addresses = Object.values(networkInterfaces()).flat()
const ipv6 = addresses.some((address) => address?.address === '::1')
if (!ipv6) console.warn('tests of the transports over IPv6 are skipped: this machine has no ::1')

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe.skipIf(missing)('the same daemon over', () => {
  let host: RemoteHost
  /** Keeps the VMs; they are made over the Unix socket, so that every way finds the same ones. */
  let owner: LibvirtClient
  let vm: Domain
  let echo: Domain

  beforeAll(async () => {
    host = await RemoteHost.start({ listen: LISTEN })
    owner = await openClient(host.info('unix'))
    vm = await owner.createXml(tinyDomain('vm-测试'), { paused: true, autodestroy: true })
    echo = await owner.createXml(echoDomain(host.daemon, 'echo'), { paused: true, autodestroy: true })
  })
  afterAll(async () => {
    await owner?.close()
    await host?.stop()
  })

  describe.each(WAYS)('%s', (way) => {
    let client: LibvirtClient
    let before: Set<string>

    beforeAll(async () => {
      before = ownResources()
      client = await openClient(host.info(way))
    })
    afterAll(async () => {
      await client?.close()
      // Ends of processes come later.
      await pollUntil('the end of what the connection had', { timeoutMs: 5000 }, async () =>
        newResources(before).length === 0 ? true : undefined,
      )
    })

    it('lists and describes VMs exactly as virsh does on this way', async () => {
      const uuids = host.virsh(way, 'list', '--all', '--uuid').split('\n').filter(Boolean)
      expect((await client.listDomains()).map(({ uuid }) => uuid).toSorted()).toEqual(uuids.toSorted())
      expect(await client.lookupByName(vm.name)).toEqual(vm)
      // virsh ends what it prints with a newline of its own.
      expect(`${await client.getXml(vm)}\n`).toBe(host.virsh(way, 'dumpxml', vm.name))
    })

    it('passes monitor commands and refusals', async () => {
      expect(JSON.parse(await client.monitorCommand(vm, '{"execute":"query-status"}'))).toMatchObject({
        return: { running: false },
      })
      await expect(client.monitorCommand(vm, '{')).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
    })

    it('answers calls made in one moment in one moment', async () => {
      const startedMs = performance.now()
      for (let round = 0; round < 20; round++)
        await Promise.all(Array.from({ length: 8 }, () => client.getState(round % 2 ? vm : echo)))
      // What the daemon overlooks waits for the next sign of life, seconds later.
      expect(performance.now() - startedMs).toBeLessThan(4000)
    })

    it('delivers events once and in order', async () => {
      const lifecycle: string[] = []
      const monitor: string[] = []
      const unsubscribe = [
        await client.onLifecycle(vm, ({ event }) => lifecycle.push(event)),
        await client.onMonitorEvent(vm, ({ event }) => monitor.push(event)),
      ]
      for (let round = 0; round < 25; round++) {
        await client.resume(vm)
        await client.suspend(vm)
      }
      await expect.poll(() => lifecycle.length + monitor.length, { timeout: 10_000 }).toBe(100)
      expect(lifecycle).toEqual(Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? 'resumed' : 'suspended')))
      expect(monitor).toEqual(Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? 'RESUME' : 'STOP')))
      for (const end of unsubscribe) await end()
    })

    it('carries a stream of a megabyte: a screenshot is that of virsh', async () => {
      const { bytes } = await client.screenshot(vm)
      const file = `${host.daemon.root}/screenshot`
      host.virsh(way, 'screenshot', vm.name, file)
      expect(sha256(bytes)).toBe(sha256(readFileSync(file)))
      await expect.poll(() => client.stats().streams, { timeout: 10_000 }).toBe(0)
    })

    it('carries a stream in both directions at once', async () => {
      await client.resume(echo)
      const console = await client.openConsole(echo, undefined)
      const sent = randomBytes(6000)
      const received: Uint8Array[] = []
      let sizeBytes = 0
      const complete = new Promise<void>((resolve, reject) => {
        console.start({
          onData: (chunk) => {
            received.push(chunk)
            sizeBytes += chunk.length
            if (sizeBytes >= sent.length) resolve()
          },
          onClose: () => reject(new Error(`the console ended after ${sizeBytes} bytes`)),
        })
      })
      await console.write(sent)
      await complete
      expect(sha256(Buffer.concat(received))).toBe(sha256(sent))
      console.destroy()
      await console.released
      await client.suspend(echo)
    })

    it('carries questions and answers of three megabytes', async () => {
      const text = '大'.repeat(1_048_576)
      const xml = tinyDomain('large').replace('<memory', `<description>${text}</description><memory`)
      const large = await client.defineXml(xml)
      try {
        const answer = await client.getXml(large)
        expect(answer.length).toBeGreaterThan(1_048_576)
        expect(sha256(Buffer.from(`${answer}\n`))).toBe(sha256(Buffer.from(host.virsh('unix', 'dumpxml', 'large'))))
      } finally {
        await client.undefine(large)
      }
    })

    it('ends calls when their caller gives up, and goes on', async () => {
      const qemu = host.daemon.qemuPid(vm.name)
      process.kill(qemu, 'SIGSTOP')
      try {
        const stop = new AbortController()
        const aborted = client.monitorCommand(vm, '{"execute":"query-status"}', { signal: stop.signal })
        const late = client.monitorCommand(vm, '{"execute":"query-status"}', { timeoutMs: 100 })
        setTimeout(() => stop.abort(), 50)
        await expect(aborted).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
        await expect(late).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
        expect(await client.getState(vm)).toMatchObject({ state: 'paused' })
      } finally {
        process.kill(qemu, 'SIGCONT')
      }
      expect(await client.monitorCommand(vm, '{"execute":"query-status"}')).toContain('"running":false')
      expect(client.stats()).toMatchObject({ pending: 0, queued: 0 })
    })

    it('leaves neither socket nor process behind when it closes', async () => {
      const before = ownResources()
      const short = await openClient(host.info(way))
      expect(newResources(before)).not.toEqual([])
      await short.close()
      await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
      await expect(short.hostname()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED', retryable: false })
    })
  })

  describe.each(['tcp', 'tls', 'ssh'] as const)('%s, while connecting', (way) => {
    it('gives up on a peer that is silent, and when told to', async () => {
      const silent = await PausableProxy.start({ host: '127.0.0.1', port: host.port(way) })
      silent.pause()
      const before = ownResources()
      try {
        const info = host.info(way, { port: silent.port })
        const started = performance.now()
        const timedOut = expect(openClient(info, { timeoutMs: 500 })).rejects.toMatchObject({ branch: 'timeout' })
        const aborted = expect(openClient(info, { signal: AbortSignal.timeout(500) })).rejects.toMatchObject({
          code: 'ATP_INTERRUPTED',
        })
        await Promise.all([timedOut, aborted])
        expect(performance.now() - started).toBeLessThan(2500)
        await silent.stop()
        await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
      } finally {
        await silent.stop()
      }
    })

    it('says that nobody listens', async () => {
      const gone = await PausableProxy.start({ host: '127.0.0.1', port: host.port(way) })
      const { port } = gone
      await gone.stop()
      await expect(openClient(host.info(way, { port }))).rejects.toMatchObject({ branch: 'connect' })
    })
  })

  describe.skipIf(!ipv6).each(['tcp', 'tls', 'ssh'] as const)('%s and IPv6', (way) => {
    let proxy: PausableProxy

    beforeEach(async () => {
      proxy = await PausableProxy.start({ host: '127.0.0.1', port: host.port(way) }, { host: '::1' })
      return () => proxy.stop()
    })

    it('works', async () => {
      if (way === 'ssh') host.sshd.trust('host-key', proxy.port)
      const client = await openClient(host.info(way, { host: '[::1]', port: proxy.port }))
      expect(await client.lookupByName(vm.name)).toEqual(vm)
      await client.close()
    })
  })
})
