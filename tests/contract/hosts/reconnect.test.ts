import { renameSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectError } from '../../../framework/core/index.ts'
import { HostConnection, type HostConnectionOptions, type StateChange } from '../../../framework/hosts/index.ts'
import type { Domain } from '../../../framework/protocols/libvirt/index.ts'
import { QmpProtocol } from '../../../framework/protocols/qmp/protocol.ts'
import type { ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { TranscriptRecorder } from '../../../framework/protocols/transcript.ts'
import { openChannel } from '../../../framework/protocols/virtio-serial/index.ts'
import {
  CHANNEL,
  missingHostPart,
  newResources,
  ownResources,
  PausableProxy,
  RemoteHost,
  tinyDomain,
  type Way,
} from '../../support/remote-host/index.ts'

/** `VIR_ERR_OPERATION_INVALID` */
const NOT_RUNNING = 55
const LISTEN = ['tcp', 'tls', 'ssh'] as const
const QUERY = '{"execute":"query-status"}'

const missing = missingHostPart(LISTEN)
if (missing) console.warn(`tests of hosts that come back are skipped: ${missing}`)

describe.skipIf(missing)('a host that is lost', () => {
  let remote: RemoteHost
  let vm: Domain
  let host: HostConnection
  let target: ProtocolTarget
  let changes: StateChange[]
  let hosts: HostConnection[]

  beforeAll(async () => {
    remote = await RemoteHost.start({ listen: LISTEN })
  })
  afterAll(() => remote?.stop())
  beforeEach(async () => {
    hosts = []
    await connect('unix')
    const control = await host.client('control')
    vm = await control.defineXml(tinyDomain('vm-测试'))
    vm = await control.create(vm, { paused: true })
    target = await host.target(vm)
  })
  afterEach(async () => {
    await remote.daemon.kill('SIGCONT')
    if (!remote.daemon.alive) await remote.daemon.launch()
    const cleaner = await HostConnection.open(remote.info('unix'))
    try {
      const control = await cleaner.client('control')
      for (const domain of await control.listDomains()) {
        // A daemon that was killed right after it started a VM may give it up when it is back.
        const gone = (error: { context?: { libvirtCode?: number } }) => {
          if (error.context?.libvirtCode !== NOT_RUNNING) throw error
        }
        if (domain.id >= 0) await control.destroy(domain).catch(gone)
        await control.undefine(domain)
      }
    } finally {
      await Promise.all([cleaner, ...hosts].map((one) => one.close()))
    }
  })

  async function connect(way: Way, options: HostConnectionOptions = {}, at?: { port: number }): Promise<void> {
    host = await HostConnection.open(remote.info(way, at), options)
    hosts.push(host)
    changes = []
    host.onStateChange((change) => changes.push(change))
    if (vm) target = await host.target(vm)
  }

  const reaches = (state: string, timeout = 15_000) =>
    expect.poll(() => host.state, { interval: 5, timeout }).toBe(state)
  const path = () => changes.map(({ to }) => to).filter((to, index, all) => to !== all[index - 1])

  it('rejects 50 pending calls at once, and is usable with events when its daemon is back', async () => {
    const events: string[] = []
    const lifecycle: string[] = []
    await target.onMonitorEvent(({ event }) => events.push(event))
    await host.onLifecycle(vm, ({ event, reconciled }) => lifecycle.push(`${event}${reconciled ? '*' : ''}`))
    process.kill(remote.daemon.qemuPid(vm.name), 'SIGSTOP')
    const pending = Promise.allSettled(Array.from({ length: 50 }, () => target.monitorCommand(QUERY)))
    await (await host.client('calls')).getState(vm)
    expect(host.stats().roles.calls).toMatchObject({ pending: 50 })
    const killedMs = performance.now()
    await remote.daemon.kill('SIGKILL')
    for (const outcome of await pending) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    }
    expect(performance.now() - killedMs).toBeLessThan(1000)
    expect(host.stats().roles.calls).toMatchObject({ pending: 0, inFlight: 0 })
    process.kill(remote.daemon.qemuPid(vm.name), 'SIGCONT')
    const status = target.monitorCommand(QUERY)
    const launching = remote.daemon.launch()
    expect(await status).toContain('"running":false')
    await launching
    expect(path()).toEqual(['reconnecting', 'connected'])
    await target.monitorCommand('{"execute":"cont"}')
    await expect.poll(() => [events, lifecycle], { timeout: 10_000 }).toEqual([['RESUME'], ['resumed']])
    expect(host.stats()).toMatchObject({ registrations: 2, roles: { control: { eventHandlers: 2, losses: 1 } } })
  })

  it('is waited for while it is down longer than several attempts', async () => {
    await remote.daemon.kill('SIGKILL')
    await expect.poll(() => changes.at(-1)?.attempt, { timeout: 10_000 }).toBe(5)
    await expect(host.client('calls', { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'ATP_HOST_UNREACHABLE',
      cause: { code: 'ATP_TRANSPORT_CONNECT' },
    })
    expect(await host.checkHealth()).toMatchObject({ healthy: false })
    const launching = remote.daemon.launch()
    await reaches('connected')
    await launching
    expect(await host.checkHealth()).toMatchObject({ healthy: true })
  })

  it('that hangs is given up by its keepalive, and comes back when it goes on', async () => {
    await connect('unix', { keepaliveIntervalMs: 200, keepaliveCount: 3 })
    await target.monitorCommand(QUERY)
    await remote.daemon.kill('SIGSTOP')
    const call = target.monitorCommand(QUERY, { timeoutMs: 20_000 })
    await expect(call).rejects.toMatchObject({ branch: 'connect', retryable: true })
    expect(host.state).toBe('reconnecting')
    await remote.daemon.kill('SIGCONT')
    expect(await target.monitorCommand(QUERY)).toContain('return')
    expect(path()).toEqual(['reconnecting', 'connected'])
  })

  it('that hangs is given up by the heartbeat where there is no keepalive', async () => {
    await connect('unix', { keepaliveIntervalMs: 0, heartbeatIntervalMs: 100, heartbeatTimeoutMs: 300 })
    await remote.daemon.kill('SIGSTOP')
    await reaches('reconnecting')
    expect(changes[0]).toMatchObject({ error: { code: 'ATP_HOST_HEARTBEAT' } })
    await remote.daemon.kill('SIGCONT')
    await reaches('connected')
  })

  it('across a link that went dead without a word comes back with it', async () => {
    const proxy = await PausableProxy.start({ host: '127.0.0.1', port: remote.port('tcp') })
    try {
      await connect(
        'tcp',
        { keepaliveIntervalMs: 200, keepaliveCount: 3, connectTimeoutMs: 2000 },
        { port: proxy.port },
      )
      expect(await target.monitorCommand(QUERY)).toContain('return')
      proxy.pause()
      await reaches('reconnecting')
      proxy.resume()
      await reaches('connected')
      expect(await target.monitorCommand(QUERY)).toContain('return')
    } finally {
      await proxy.stop()
    }
  })

  it('whose socket was moved away and back is found again', async () => {
    const { socketPath } = remote.daemon
    const clients = await Promise.all([host.client('control'), host.client('calls')])
    renameSync(socketPath, `${socketPath}.away`)
    try {
      for (const client of clients) client.drop(connectError('ATP_TRANSPORT_LOST', 'cut', { retryable: true }))
      await expect.poll(() => changes.at(-1)?.attempt, { timeout: 10_000 }).toBe(5)
    } finally {
      renameSync(`${socketPath}.away`, socketPath)
    }
    const backMs = performance.now()
    await reaches('connected')
    expect(performance.now() - backMs).toBeLessThan(1400)
  })

  it('tells what happened to its VMs in between', async () => {
    const control = await host.client('control')
    const doomed = await control.createXml(tinyDomain('doomed'), { paused: true })
    const all: string[] = []
    const own: string[] = []
    await host.onLifecycle(undefined, ({ domain, event, reconciled }) =>
      all.push(`${domain.name} ${event}${reconciled ? '*' : ''}`),
    )
    await host.onLifecycle(doomed, ({ event }) => own.push(event))
    const pid = remote.daemon.qemuPid('doomed')
    await remote.daemon.kill('SIGKILL')
    process.kill(pid, 'SIGKILL')
    await reaches('reconnecting')
    const launching = remote.daemon.launch()
    await reaches('connected')
    await launching
    // The daemon finds out too, and may be the first to say so.
    await expect.poll(() => own, { timeout: 10_000 }).toEqual(['stopped'])
    expect(all.filter((text) => text.startsWith('doomed stopped'))).toHaveLength(1)
  })

  it('keeps one registration a kind through 20 restarts, and leaves nothing behind', async () => {
    let events = 0
    for (let index = 0; index < 10; index++) {
      await target.onMonitorEvent(() => events++)
      await host.onLifecycle(vm, () => {})
      await host.onReboot(vm, () => {})
    }
    const before = ownResources()
    const active = () => process.getActiveResourcesInfo().toSorted()
    await target.monitorCommand(QUERY)
    const activeBefore = active()
    for (let round = 1; round <= 20; round++) {
      await remote.daemon.kill('SIGKILL')
      await reaches('reconnecting')
      await remote.daemon.launch()
      expect(await target.monitorCommand(QUERY)).toContain('return')
      expect(host.stats()).toMatchObject({
        registrations: 3,
        handlers: 30,
        roles: { control: { eventHandlers: 3, losses: round, pending: 0 }, calls: { pending: 0, streams: 0 } },
      })
    }
    await target.monitorCommand('{"execute":"cont"}')
    await expect.poll(() => events, { timeout: 10_000 }).toBe(10)
    // Connections are other ones now, and each has a socket; nothing else is left.
    expect(newResources(before).length).toBeLessThanOrEqual(4)
    await expect.poll(() => active().filter((name) => name === 'FSEvent'), { timeout: 10_000 }).toEqual([])
    await expect.poll(() => active().length, { timeout: 10_000 }).toBeLessThanOrEqual(activeBefore.length + 2)
  }, 120_000)

  it('gives its channels back when it is back', async () => {
    const transcript = new TranscriptRecorder()
    const channel = await openChannel(target, CHANNEL, { transcript })
    const ended = channel.receive()
    const refusal = expect(ended).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_LOST', retryable: true })
    await remote.daemon.kill('SIGKILL')
    await refusal
    expect(transcript.entries.at(-1)?.text).toContain('the channel ended')
    const launching = remote.daemon.launch()
    const again = await openChannel(target, CHANNEL)
    await launching
    again.close()
  })

  it('gives its channels back also when its daemon does not know yet that the link is dead', async () => {
    const proxy = await PausableProxy.start({ host: '127.0.0.1', port: remote.port('tcp') })
    try {
      await connect('tcp', { keepaliveIntervalMs: 0, heartbeatIntervalMs: 0 }, { port: proxy.port })
      const stream = await target.openChannel(CHANNEL)
      const ended = new Promise((resolve) => stream.start({ onData: () => {}, onClose: resolve }))
      proxy.pause()
      ;(await host.client('channels')).drop(connectError('ATP_TRANSPORT_LOST', 'cut', { retryable: true }))
      await ended
      setTimeout(() => proxy.resume(), 1500)
      const again = await target.openChannel(CHANNEL, { timeoutMs: 20_000 })
      again.destroy()
      expect(host.state).toBe('connected')
    } finally {
      await proxy.stop()
    }
  })

  it('lets QMP go on: not connected in between, connected again, the gap in the transcript', async () => {
    const transcript = new TranscriptRecorder()
    const qmp = new QmpProtocol({ transcript })
    await qmp.connect(target)
    const { client } = qmp
    const missed = client.waitForEvent('RESUME', { timeoutMs: 3000 })
    const refusal = expect(missed).rejects.toMatchObject({ code: 'ATP_QMP_MISSED', retryable: true })
    await client.queryStatus()
    process.kill(remote.daemon.qemuPid(vm.name), 'SIGSTOP')
    const pending = client.queryStatus()
    const lost = expect(pending).rejects.toMatchObject({ branch: 'connect', retryable: true })
    await remote.daemon.kill('SIGKILL')
    await lost
    await expect.poll(() => qmp.isConnected(), { timeout: 10_000 }).toBe(false)
    process.kill(remote.daemon.qemuPid(vm.name), 'SIGCONT')
    const launching = remote.daemon.launch()
    expect(await client.queryStatus()).toMatchObject({ running: false })
    await launching
    expect(qmp.isConnected()).toBe(true)
    await refusal
    const received = qmp.receive({ timeoutMs: 10_000 })
    await qmp.send(Buffer.from('{"execute":"cont"}'))
    expect(JSON.parse(Buffer.from(await received).toString())).toMatchObject({ event: 'RESUME' })
    const gap = transcript.entries.filter(({ text }) => text.startsWith('<the connection to the host'))
    expect(gap.map(({ text }) => /lost|restored/.exec(text)?.[0])).toEqual(['lost', 'restored'])
    await qmp.disconnect()
    expect(qmp.isConnected()).toBe(false)
  })

  it.each(['tls', 'ssh', 'ssh-netcat'] as const)('comes back over %s', async (way) => {
    await connect(way)
    const events: string[] = []
    await target.onMonitorEvent(({ event }) => events.push(event))
    expect(await target.monitorCommand(QUERY)).toContain('return')
    await remote.daemon.kill('SIGKILL')
    await reaches('reconnecting')
    const launching = remote.daemon.launch()
    expect(await target.monitorCommand(QUERY)).toContain('return')
    await launching
    await target.monitorCommand('{"execute":"cont"}')
    await expect.poll(() => events, { timeout: 10_000 }).toEqual(['RESUME'])
  })
})
