import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import type { Domain, LibvirtClient, OpenOptions } from '../../../framework/protocols/libvirt/index.ts'
import {
  CHANNEL,
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
/** Gives a silent peer up after (3 + 1) × 250 ms. */
const KEEPALIVE: Partial<OpenOptions> = { keepaliveIntervalMs: 250, keepaliveCount: 3 }
/** The bound with room for a machine that is busy. */
const SILENT_MS = 3000
const QUERY = '{"execute":"query-status"}'

const missing = missingHostPart(LISTEN)
if (missing) console.warn(`tests of faults of the transports are skipped: ${missing}`)

describe.skipIf(missing)('faults over', () => {
  let host: RemoteHost
  let vm: Domain

  beforeAll(async () => {
    host = await RemoteHost.start({ listen: LISTEN })
    const client = await openClient(host.info('unix'))
    vm = await client.defineXml(tinyDomain('vm'))
    await client.create(vm, { paused: true })
    await client.close()
  })
  afterAll(async () => {
    await host?.stop()
  })
  afterEach(async () => {
    process.kill(host.daemon.qemuPid(vm.name), 'SIGCONT')
    if (!host.daemon.alive) await host.daemon.launch()
  })

  /** Calls whose answers do not come, an open channel and a subscription. */
  async function busy(
    client: LibvirtClient,
  ): Promise<{ settled: Promise<PromiseSettledResult<unknown>[]>; ended: Promise<unknown> }> {
    await client.onLifecycle(vm, () => {})
    const channel = await client.openChannel(vm, CHANNEL)
    const ended = new Promise((resolve) => channel.start({ onData: () => {}, onClose: resolve }))
    const calls = Array.from({ length: 10 }, () => client.monitorCommand(vm, QUERY))
    return { settled: Promise.allSettled(calls), ended }
  }

  function expectLost(client: LibvirtClient, outcomes: PromiseSettledResult<unknown>[]): void {
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    }
    expect(client.stats()).toMatchObject({ pending: 0, streams: 0 })
  }

  describe.each(['unix', 'tcp', 'tls', 'ssh', 'ssh-netcat'] as const satisfies readonly Way[])('%s', (way) => {
    it('a daemon that is killed rejects all that is pending within a second; a new connection has calls and events', async () => {
      const before = ownResources()
      const client = await openClient(host.info(way))
      process.kill(host.daemon.qemuPid(vm.name), 'SIGSTOP')
      const { settled, ended } = await busy(client)
      await client.supportsFeature(10)
      await host.daemon.kill('SIGKILL')
      const killed = performance.now()
      expectLost(client, await settled)
      expect(await ended).toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
      expect(performance.now() - killed).toBeLessThan(1000)
      await expect(client.hostname()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
      await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
      // The link may be up while the daemon is not, so a connection fails in its own way on each.
      await expect(openClient(host.info(way), { timeoutMs: 5000 })).rejects.toMatchObject({ branch: 'connect' })
      process.kill(host.daemon.qemuPid(vm.name), 'SIGCONT')
      await host.daemon.launch()
      const restarted = performance.now()
      const again = await openClient(host.info(way))
      await pollUntil('the monitor', { timeoutMs: 5000 }, () => again.monitorCommand(vm, QUERY))
      const seen: string[] = []
      await again.onLifecycle(vm, ({ event }) => seen.push(event))
      await again.resume(vm)
      await again.suspend(vm)
      await expect.poll(() => seen, { timeout: 5000 }).toEqual(['resumed', 'suspended'])
      expect(performance.now() - restarted).toBeLessThan(5000)
      await again.close()
    })

    it('a daemon that stands still is given up within the bound, and answers again when it goes on', async () => {
      const client = await openClient(host.info(way), KEEPALIVE)
      await host.daemon.kill('SIGSTOP')
      const stopped = performance.now()
      try {
        const calls = Promise.allSettled([client.hostname(), client.getXml(vm)])
        expect(await client.closed).toMatchObject({ code: 'ATP_LIBVIRT_SILENT' })
        expect(performance.now() - stopped).toBeLessThan(SILENT_MS)
        expectLost(client, await calls)
      } finally {
        await host.daemon.kill('SIGCONT')
      }
      const again = await openClient(host.info(way), { timeoutMs: 5000 })
      expect(await again.getState(vm)).toMatchObject({ state: 'paused' })
      await again.close()
    })
  })

  describe.each(['tcp', 'tls', 'ssh'] as const)('%s across a link', (way) => {
    let link: PausableProxy

    beforeAll(async () => {
      link = await PausableProxy.start({ host: '127.0.0.1', port: host.port(way) })
      if (way === 'ssh') host.sshd.trust('host-key', link.port)
    })
    afterAll(() => link?.stop())

    it('that goes silent: given up within the bound', async () => {
      const before = ownResources()
      const client = await openClient(host.info(way, { port: link.port }), KEEPALIVE)
      link.pause()
      const silent = performance.now()
      const settled = Promise.allSettled([client.hostname(), client.getXml(vm)])
      expect(await client.closed).toMatchObject({ code: 'ATP_LIBVIRT_SILENT' })
      expect(performance.now() - silent).toBeLessThan(SILENT_MS)
      expectLost(client, await settled)
      link.resume()
      await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
    })

    it('that is slow for less than the bound: nothing is lost', async () => {
      const client = await openClient(host.info(way, { port: link.port }), {
        keepaliveIntervalMs: 1000,
        keepaliveCount: 3,
      })
      const seen: string[] = []
      await client.onLifecycle(vm, ({ event }) => seen.push(event))
      link.pause()
      const calls = [client.resume(vm), client.suspend(vm), client.hostname()]
      setTimeout(() => link.resume(), 1500)
      await Promise.all(calls)
      await expect.poll(() => seen, { timeout: 5000 }).toEqual(['resumed', 'suspended'])
      await client.close()
    })

    it('that is cut: everything pending is rejected at once', async () => {
      const client = await openClient(host.info(way, { port: link.port }))
      process.kill(host.daemon.qemuPid(vm.name), 'SIGSTOP')
      const { settled } = await busy(client)
      await client.supportsFeature(10)
      link.cut()
      const cut = performance.now()
      expectLost(client, await settled)
      expect(performance.now() - cut).toBeLessThan(1000)
    })
  })
})
