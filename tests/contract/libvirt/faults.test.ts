import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { LibvirtClient, type Domain, type OpenOptions } from '../../../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { CHANNEL, missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'
import { writeToUnreadChannel } from '../../support/channel-checks.ts'

const missing = missingPart()
if (missing) console.warn(`libvirt fault tests are skipped: ${missing}`)

describe.skipIf(missing)('when things break', () => {
  let daemon: PrivateDaemon
  let owner: LibvirtClient
  let vm: Domain
  let other: Domain

  const open = async (options: Partial<OpenOptions> = {}) =>
    LibvirtClient.open(await connectUnix(daemon.socketPath), { path: '/session', ...options })

  beforeAll(async () => {
    daemon = await PrivateDaemon.start()
    owner = await open()
    vm = await owner.createXml(tinyDomain('vm'), { paused: true, autodestroy: true })
    other = await owner.createXml(tinyDomain('other'), { paused: true, autodestroy: true })
  })
  afterAll(async () => {
    await owner?.close()
    await daemon?.stop()
  })

  it('a VM whose QEMU hangs delays nobody else, and its calls settle when it goes on', async () => {
    const client = await open()
    const qemu = daemon.qemuPid('vm')
    process.kill(qemu, 'SIGSTOP')
    const stuck = Array.from({ length: 20 }, () => client.monitorCommand(vm, '{"execute":"query-status"}'))
    const settled = Promise.allSettled(stuck)
    try {
      const delaysMs: number[] = []
      for (let round = 0; round < 50; round++) {
        const started = performance.now()
        await client.getState(other)
        await client.monitorCommand(other, '{"execute":"query-status"}')
        delaysMs.push(performance.now() - started)
      }
      // The machine may be busy; a connection that waits for the VM stands still for 30 s.
      expect(Math.max(...delaysMs)).toBeLessThan(2000)
      expect(delaysMs.toSorted((a, b) => a - b)[25]).toBeLessThan(100)
      expect(client.stats()).toMatchObject({ inFlight: 1, queued: 19, pending: 20 })
    } finally {
      process.kill(qemu, 'SIGCONT')
    }
    expect((await settled).every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(client.stats()).toMatchObject({ inFlight: 0, queued: 0, pending: 0 })
    await client.close()
  })

  it('a VM whose QEMU hangs can still be destroyed, and its calls then settle', async () => {
    const client = await open()
    const hanging = await client.createXml(tinyDomain('hanging'), { paused: true, autodestroy: true })
    process.kill(daemon.qemuPid('hanging'), 'SIGSTOP')
    const stuck = Promise.allSettled([
      client.monitorCommand(hanging, '{"execute":"query-status"}'),
      client.screenshot(hanging),
    ])
    await client.destroy(hanging)
    for (const outcome of await stuck) expect(outcome.status).toBe('rejected')
    await client.close()
  }, 60_000)

  it('a channel the guest does not read costs its writer an error, not the connection', async () => {
    const pid = daemon.pid
    const outcome = await writeToUnreadChannel({ open, domain: vm, name: CHANNEL, aliveForMs: 2000 })
    expect(outcome.error).toMatchObject({ code: 'ATP_LIBVIRT_CHANNEL_STALLED' })
    expect(outcome.stats).toMatchObject({ streams: 0, pending: 0, inFlight: 0 })
    expect(outcome.reopenedMs).toBeLessThan(10_000)
    expect(daemon.pid).toBe(pid)
  })

  it('a client that is killed leaves neither its VMs nor its channels behind', async () => {
    const child = spawn(process.execPath, [`${import.meta.dirname}/doomed-client.ts`, daemon.socketPath, 'vm'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const client = await open()
    const mortal = await client.lookupByName('mortal')
    child.kill('SIGKILL')
    await pollUntil(
      'the end of the VM',
      { timeoutMs: 10_000 },
      async () => (await client.listDomains()).every(({ uuid }) => uuid !== mortal.uuid) || undefined,
    )
    const channel = await pollUntil('the channel’s release', { timeoutMs: 10_000 }, () =>
      client.openChannel(vm, CHANNEL),
    )
    channel.destroy()
    await client.close()
  })

  it('a daemon that stops answering is given up within the keepalive’s bound, and is back when it goes on', async () => {
    const client = await open({ keepaliveIntervalMs: 200, keepaliveCount: 3 })
    await daemon.kill('SIGSTOP')
    try {
      const started = performance.now()
      await expect(client.hostname()).rejects.toMatchObject({
        code: 'ATP_LIBVIRT_CLOSED',
        cause: { code: 'ATP_LIBVIRT_SILENT' },
      })
      expect(performance.now() - started).toBeLessThan(3000)
    } finally {
      await daemon.kill('SIGCONT')
    }
    const again = await open()
    expect(await again.getState(vm)).toMatchObject({ state: 'paused' })
    await again.close()
  })

  it('a daemon that is killed rejects what is pending; after its restart a new connection has calls and events', async () => {
    const client = await open()
    process.kill(daemon.qemuPid('vm'), 'SIGSTOP')
    const pending = Promise.allSettled(
      Array.from({ length: 10 }, () => client.monitorCommand(vm, '{"execute":"query-status"}')),
    )
    await client.getState(other)
    const started = performance.now()
    await daemon.kill('SIGKILL')
    for (const outcome of await pending) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    }
    expect(performance.now() - started).toBeLessThan(1000)
    expect(client.stats()).toMatchObject({ pending: 0, streams: 0 })
    process.kill(daemon.qemuPid('vm'), 'SIGCONT')
    await daemon.launch()
    const restarted = performance.now()
    const again = await open()
    await pollUntil('the monitor', { timeoutMs: 5000 }, () => again.monitorCommand(vm, '{"execute":"query-status"}'))
    const seen: string[] = []
    await again.onLifecycle(vm, ({ event }) => seen.push(event))
    await again.resume(vm)
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(['resumed'])
    expect(performance.now() - restarted).toBeLessThan(5000)
    await again.close()
  })
})
