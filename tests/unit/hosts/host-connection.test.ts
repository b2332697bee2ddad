import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { configError, connectError, remoteError } from '../../../framework/core/index.ts'
import { HostConnection, type HostConnectionOptions, type StateChange } from '../../../framework/hosts/index.ts'
import { PROGRAM, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { refused, ScriptedHypervisor, URI } from './scripted-hypervisor.ts'

/** A busy machine takes its time. */
const SOON = { interval: 5, timeout: 10_000 }

let hypervisor: ScriptedHypervisor
let opened: HostConnection[]
let changes: StateChange[]
beforeEach(() => {
  hypervisor = new ScriptedHypervisor()
  opened = []
  changes = []
})
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(opened.map((host) => host.close()))
})

function create(options: HostConnectionOptions = {}): HostConnection {
  const host = HostConnection.create({ id: 'h', uri: URI }, { openTransport: hypervisor.openTransport, ...options })
  host.onStateChange((change) => changes.push(change))
  opened.push(host)
  return host
}

async function connected(options: HostConnectionOptions = {}): Promise<HostConnection> {
  const host = create(options)
  await host.connect()
  return host
}

const path = () => changes.map(({ to }) => to)
const reaches = (host: HostConnection, state: string) => expect.poll(() => host.state, SOON).toBe(state)
/** Lets everything happen that waits for no timer. */
const turns = async (count = 60) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
const fakeTime = () =>
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })

describe('a first connection', () => {
  it('goes from disconnected over connecting to connected, and back when closed', async () => {
    const host = create()
    expect(host.state).toBe('disconnected')
    await host.connect()
    await host.connect()
    expect(hypervisor.dials).toBe(1)
    await host.close()
    await host.close()
    expect(path()).toEqual(['connecting', 'connected', 'disconnected'])
    expect(changes[1]).toMatchObject({ host: 'h', from: 'connecting' })
    await turns()
    expect(hypervisor.daemons.every(({ ended }) => ended)).toBe(true)
  })

  it('is made by the first use, once for all who ask', async () => {
    const host = create()
    const clients = await Promise.all([host.client('calls'), host.client('calls'), host.client('control')])
    expect(clients[0]).toBe(clients[1])
    expect(clients[0]).not.toBe(clients[2])
    expect(hypervisor.dials).toBe(2)
    expect(host.stats()).toMatchObject({ state: 'connected', uses: 3, roles: { channels: { state: 'disconnected' } } })
  })

  it('is one for all roles where that is asked for', async () => {
    const host = await connected({ connections: 'shared' })
    expect(await host.client('channels')).toBe(await host.client('control'))
    expect(Object.keys(host.stats().roles)).toEqual(['control'])
  })

  it('to a host that is down rejects with the reason; the next use tries again', async () => {
    hypervisor.kill()
    const host = create()
    await expect(host.connect()).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT' })
    expect(host.state).toBe('disconnected')
    await expect(host.client('control')).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT' })
    hypervisor.start()
    await host.client('control')
    expect(path()).toEqual(['connecting', 'disconnected', 'connecting', 'disconnected', 'connecting', 'connected'])
  })

  it('that no second attempt can mend fails, until connect starts anew', async () => {
    hypervisor.kill(remoteError('ATP_LIBVIRT_AUTH', 'wrong password'))
    const host = create()
    await expect(host.connect()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_AUTH' })
    expect(host.state).toBe('failed')
    await expect(host.client('calls')).rejects.toMatchObject({
      code: 'ATP_HOST_UNREACHABLE',
      branch: 'connect',
      retryable: false,
      context: { host: 'h', uri: URI },
      cause: { code: 'ATP_LIBVIRT_AUTH' },
    })
    expect(hypervisor.dials).toBe(1)
    hypervisor.start()
    await host.connect()
    expect(host.state).toBe('connected')
  })

  it('takes no longer than its limit', async () => {
    hypervisor.onDial = (daemon) => (daemon.intercept = () => true)
    const host = create({ connectTimeoutMs: 60 })
    await expect(host.connect({ timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ATP_HOST_UNREACHABLE',
      retryable: true,
    })
    await expect(host.connect()).rejects.toMatchObject({ branch: expect.stringMatching(/connect|timeout/) })
    await reaches(host, 'disconnected')
    await turns()
    expect(hypervisor.daemons[0]?.ended).toBe(true)
  })

  it('is closed after attempts that nobody waits for any more', async () => {
    const attempts: PromiseWithResolvers<never>[] = []
    let lost = false
    let over = false
    const host = await connected({
      openTransport: (uri, options) => {
        if (!lost) return hypervisor.openTransport!(uri, options)
        const attempt = Promise.withResolvers<never>()
        attempts.push(attempt)
        options.signal?.addEventListener('abort', () => {
          // A program takes its time to end.
          setTimeout(() => {
            over = true
            attempt.reject(refused())
          }, 50)
        })
        return attempt.promise
      },
    })
    await host.client('calls')
    lost = true
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    await expect.poll(() => host.stats().roles.calls?.state, SOON).toBe('reconnecting')
    const waiting = host.client('calls').catch(() => {})
    await expect.poll(() => attempts.length, SOON).toBe(2)
    attempts[0]?.reject(remoteError('ATP_LIBVIRT_AUTH', 'wrong password'))
    await reaches(host, 'failed')
    await waiting
    await host.close()
    expect(over).toBe(true)
  })

  it('refuses a URI it cannot read', () => {
    expect(() => HostConnection.create({ id: 'h', uri: 'xen:///' })).toThrow(
      expect.objectContaining({ code: 'ATP_LIBVIRT_URI' }),
    )
  })

  it('that opens is closed again when it fails', async () => {
    hypervisor.kill()
    const opening = HostConnection.open({ id: 'h', uri: URI }, { openTransport: hypervisor.openTransport })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_TRANSPORT_CONNECT' })
  })
})

describe('a lost connection', () => {
  it('rejects what is pending, repeats none of it, and comes back', async () => {
    const host = await connected()
    const vm = hypervisor.addVm('a')
    const target = await host.target(vm)
    hypervisor.answer = (call) => call.procedure === 1
    const pending = Promise.allSettled(Array.from({ length: 50 }, () => target.monitorCommand('{}')))
    await turns()
    hypervisor.answer = undefined
    hypervisor.kill()
    hypervisor.start()
    for (const outcome of await pending) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_CLOSED', retryable: true } })
    }
    expect(host.stats().roles).toMatchObject({ calls: { pending: 0, inFlight: 0 } })
    expect(await target.monitorCommand('{}')).toBe('{"return":{}}')
    expect(hypervisor.asked.filter((what) => what === 'monitor')).toHaveLength(1)
    expect(path()).toEqual(['connecting', 'connected', 'reconnecting', 'connected'])
    expect(changes[2]).toMatchObject({ attempt: 1, error: { code: 'ATP_LIBVIRT_ENDED' } })
    expect(changes[2]?.retryInMs).toBeLessThanOrEqual(50)
    expect(host.stats().roles).toMatchObject({ control: { connects: 2, losses: 1 }, calls: { connects: 2, losses: 1 } })
  })

  it('is waited for within the caller’s limits', async () => {
    const host = await connected()
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    await expect(host.client('calls', { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'ATP_HOST_UNREACHABLE',
      retryable: true,
      message: expect.stringContaining('within 30 ms'),
      cause: { code: expect.stringMatching(/^ATP_(TRANSPORT_CONNECT|LIBVIRT_ENDED)$/) },
      context: { host: 'h', uri: URI, attempts: expect.any(Number) },
    })
    const abort = new AbortController()
    const [given, waiting] = [host.client('calls', { signal: abort.signal }), host.client('calls')]
    abort.abort()
    await expect(given).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    hypervisor.start()
    expect((await waiting).ended).toBe(false)
  })

  it('is tried after 50, 100 and 200 ms, then after 1 s and twice as long each time up to 60 s', async () => {
    const host = await connected({ heartbeatIntervalMs: 0, keepaliveIntervalMs: 0 })
    fakeTime()
    hypervisor.kill()
    await turns()
    for (let retry = 1; retry <= 12; retry++) {
      const { attempt, retryInMs } = changes.at(-1) as StateChange
      expect([attempt, hypervisor.dials]).toEqual([retry, retry])
      const fullMs = [50, 100, 200, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000][retry - 1] as number
      expect(retryInMs).toBeGreaterThan(fullMs * 0.74)
      expect(retryInMs).toBeLessThanOrEqual(fullMs)
      await vi.advanceTimersByTimeAsync((retryInMs as number) - 1)
      expect(hypervisor.dials).toBe(retry)
      await vi.advanceTimersByTimeAsync(1)
      await turns()
    }
    hypervisor.start()
    await vi.advanceTimersByTimeAsync(60_000)
    await turns()
    expect(host.state).toBe('connected')
    hypervisor.kill()
    await turns()
    expect(changes.at(-1)).toMatchObject({ attempt: 1 })
  })

  it('is tried more often while somebody waits, and those attempts do not count', async () => {
    const host = await connected({ heartbeatIntervalMs: 0, keepaliveIntervalMs: 0, maxAttempts: 5 })
    fakeTime()
    hypervisor.kill()
    await turns()
    const waiting = host.client('control').catch((error: unknown) => error)
    for (let step = 0; step < 40; step++) {
      await vi.advanceTimersByTimeAsync(50)
      await turns(5)
    }
    expect(hypervisor.dials).toBeGreaterThan(9)
    expect(changes.at(-1)).toMatchObject({ to: 'reconnecting', attempt: 5 })
    for (let step = 0; step < 40; step++) {
      await vi.advanceTimersByTimeAsync(50)
      await turns(5)
    }
    expect(await waiting).toMatchObject({ code: 'ATP_HOST_UNREACHABLE', retryable: false })
    expect(host.state).toBe('failed')
  })

  it('fails after the last attempt; who asks then is refused at once; connect starts anew', async () => {
    const host = await connected({ maxAttempts: 2 })
    await host.client('calls')
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    const waiting = host.client('calls')
    await expect(waiting).rejects.toMatchObject({
      code: 'ATP_HOST_UNREACHABLE',
      message: expect.stringContaining('after 2 attempts'),
      cause: { code: 'ATP_TRANSPORT_CONNECT' },
    })
    expect(path()).toEqual(['connecting', 'connected', 'reconnecting', 'reconnecting', 'failed'])
    expect(host.stats().roles.calls).toMatchObject({ state: 'failed' })
    const before = hypervisor.dials
    await expect(host.client('calls')).rejects.toMatchObject({ code: 'ATP_HOST_UNREACHABLE', retryable: false })
    expect(hypervisor.dials).toBe(before)
    hypervisor.start()
    await host.connect()
    expect((await host.client('calls')).ended).toBe(false)
  })

  it('fails at once where a person has to do something', async () => {
    const host = await connected()
    hypervisor.kill(remoteError('ATP_LIBVIRT_AUTH', 'the password was changed'))
    await reaches(host, 'failed')
    expect(changes.at(-1)).toMatchObject({ error: { code: 'ATP_LIBVIRT_AUTH' } })
    expect(await host.checkHealth()).toMatchObject({
      healthy: false,
      reason: { code: 'ATP_HOST_UNREACHABLE', cause: { code: 'ATP_LIBVIRT_AUTH' } },
    })
  })

  it.each([
    ['a certificate', configError('ATP_TRANSPORT_TLS', 'unknown CA'), 'failed'],
    ['a host key', connectError('ATP_SSH_HOST_KEY', 'changed'), 'failed'],
    ['rights on a socket that is just being made', connectError('ATP_TRANSPORT_CONNECT', 'EACCES'), 'reconnecting'],
    ['a bug', new TypeError('x is not a function'), 'failed'],
  ])('by the reason: %s', async (_, error, state) => {
    const host = await connected()
    hypervisor.kill(error)
    await expect.poll(() => hypervisor.dials, SOON).toBe(2)
    await turns()
    expect(host.state).toBe(state)
  })

  it('stays lost where it is not to come back by itself', async () => {
    const host = await connected({ autoReconnect: false })
    await host.client('calls')
    hypervisor.kill()
    hypervisor.start()
    await reaches(host, 'disconnected')
    await expect(host.client('control')).rejects.toMatchObject({ code: 'ATP_HOST_UNREACHABLE' })
    expect(hypervisor.dials).toBe(2)
    await host.connect()
    expect((await host.client('calls')).ended).toBe(false)
    expect(path()).toEqual(['connecting', 'connected', 'disconnected', 'connecting', 'connected'])
  })

  it('of another role comes back alone: the host stays connected', async () => {
    const host = await connected()
    const calls = await host.client('calls')
    hypervisor.daemons[1]?.stream.destroy()
    await calls.closed
    expect(host.stats().roles.calls).toMatchObject({ state: 'reconnecting', losses: 1 })
    const again = await host.client('calls')
    expect(again).not.toBe(calls)
    expect(path()).toEqual(['connecting', 'connected'])
    await again.close()
    expect(await host.client('calls')).not.toBe(again)
  })

  it('of another role is not tried while the host is down', async () => {
    const host = await connected()
    await Promise.all([host.client('calls'), host.client('channels')])
    hypervisor.kill()
    await expect.poll(() => changes.at(-1)?.attempt, SOON).toBe(4)
    // Three by the host; each of the others may have tried once before it knew.
    expect(hypervisor.dials).toBeLessThanOrEqual(3 + 3 + 2)
    hypervisor.start()
    await host.client('channels')
    await expect.poll(() => host.stats().roles.calls?.state, SOON).toBe('connected')
  })

  it('is noticed by whoever hears of it first', async () => {
    const host = await connected()
    const client = await host.client('control')
    hypervisor.answer = () => true
    const call = client.hostname().catch(() => host.client('control'))
    await turns()
    hypervisor.answer = undefined
    hypervisor.kill()
    hypervisor.start()
    expect(await call).not.toBe(client)
  })

  it('during its own restoration is an attempt that failed', async () => {
    const host = await connected()
    await host.onLifecycle(undefined, () => {})
    let losses = 0
    hypervisor.answer = (call, daemon) => {
      if (call.procedure !== REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY || losses === 2) return false
      losses++
      daemon.stream.destroy()
      return true
    }
    hypervisor.kill()
    hypervisor.start()
    await expect.poll(() => path().filter((state) => state === 'connected').length, SOON).toBe(2)
    expect(losses).toBe(2)
    expect(host.stats().roles.control).toMatchObject({ connects: 2, losses: 1, eventHandlers: 1 })
    await turns()
    expect(hypervisor.daemons.filter(({ ended }) => !ended)).toHaveLength(1)
  })

  it('is told to the protocols of its VMs once, and its return once', async () => {
    const host = await connected()
    const target = await host.target(hypervisor.addVm('a'))
    const told: string[] = []
    const unlisten = target.onConnection?.(({ state, error }) =>
      told.push(`${state} ${(error as { code?: string })?.code}`),
    )
    hypervisor.kill()
    await expect.poll(() => changes.at(-1)?.attempt, SOON).toBe(2)
    hypervisor.start()
    await host.client('control')
    expect(told).toEqual(['lost ATP_LIBVIRT_ENDED', 'restored undefined'])
    unlisten?.()
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    expect(told).toHaveLength(2)
  })
})

describe('closing', () => {
  it('ends what waits for a connection, in whatever state', async () => {
    hypervisor.onDial = (daemon) => (daemon.intercept = () => true)
    const connecting = create()
    const waiting = [connecting.connect(), connecting.client('calls'), connecting.onReboot(undefined, () => {})]
    const outcomes = Promise.allSettled(waiting)
    await turns()
    await connecting.close()
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'ATP_HOST_CLOSED' } })
    hypervisor.onDial = undefined

    const host = await connected()
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    const lost = host.client('calls')
    const refusal = expect(lost).rejects.toMatchObject({ code: 'ATP_HOST_CLOSED' })
    await host.close()
    await refusal
    expect(host.state).toBe('disconnected')
    await expect(host.client('control')).rejects.toMatchObject({ code: 'ATP_HOST_CLOSED' })
    await expect(host.connect()).rejects.toMatchObject({ code: 'ATP_HOST_CLOSED' })
    expect(await host.checkHealth()).toMatchObject({ healthy: false, reason: { code: 'ATP_HOST_CLOSED' } })
  })

  it('while somebody goes on to the next role begins nothing', async () => {
    const host = create()
    const asked = host.client('calls')
    let closing: Promise<void> | undefined
    // After the control connection is there, and before the other one is begun.
    host.onStateChange(({ to }) => {
      if (to !== 'connected') return
      queueMicrotask(() => {
        closing = host.close()
      })
    })
    await expect(asked).rejects.toMatchObject({ code: 'ATP_HOST_CLOSED' })
    await closing
    expect(host.stats().roles.calls?.state).toBe('disconnected')
    expect(host.state).toBe('disconnected')
  })

  it('during restoration leaves no connection behind', async () => {
    const host = await connected()
    await host.onLifecycle(undefined, () => {})
    hypervisor.answer = (call) => call.procedure === REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY
    hypervisor.kill()
    hypervisor.start()
    await expect.poll(() => hypervisor.daemons.length, SOON).toBe(1)
    await turns()
    await host.close()
    await turns()
    expect(hypervisor.daemons[0]?.ended).toBe(true)
    expect(host.state).toBe('disconnected')
  })

  it('leaves no timers behind', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const host = await connected()
    await host.client('calls')
    hypervisor.kill()
    await reaches(host, 'reconnecting')
    expect(timers()).toBeGreaterThan(before)
    await host.close()
    await turns()
    expect(timers()).toBeLessThanOrEqual(before)
  })
})

describe('health', () => {
  it('is a round trip, or the reason why there is none', async () => {
    const host = create()
    expect(await host.checkHealth()).toMatchObject({ healthy: false, reason: { code: 'ATP_HOST_UNREACHABLE' } })
    expect(hypervisor.dials).toBe(0)
    await host.connect()
    expect(await host.checkHealth()).toEqual({ healthy: true, latencyMs: expect.any(Number) })
    hypervisor.answer = (call, daemon) => {
      daemon.send(call.refuse(1, 'not now'))
      return true
    }
    expect(await host.checkHealth()).toMatchObject({ healthy: true })
    hypervisor.answer = () => true
    expect(await host.checkHealth({ timeoutMs: 20 })).toMatchObject({
      healthy: false,
      reason: { code: 'ATP_LIBVIRT_TIMEOUT' },
    })
    const abort = new AbortController()
    const asking = host.checkHealth({ signal: abort.signal })
    abort.abort()
    await expect(asking).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })

  it('is watched by a heartbeat on every open connection: silence ends that connection', async () => {
    const host = await connected({ heartbeatIntervalMs: 20, heartbeatTimeoutMs: 500 })
    await host.client('calls')
    await expect.poll(() => host.stats().roles.calls?.heartbeatMs, SOON).toBeGreaterThan(0)
    expect(host.stats().roles.control?.heartbeatMs).toBeGreaterThan(0)
    const silent = hypervisor.daemons[0]
    hypervisor.answer = (_, daemon) => daemon === silent
    await reaches(host, 'reconnecting')
    expect(changes.at(-1)).toMatchObject({ error: { code: 'ATP_HOST_HEARTBEAT', retryable: true } })
    await reaches(host, 'connected')
    expect(host.stats().roles.calls).toMatchObject({ losses: 0 })
  })

  it('is doubted because of calls that hold every slot only after several beats', async () => {
    const host = await connected({ heartbeatIntervalMs: 20, heartbeatTimeoutMs: 100 })
    const vm = hypervisor.addVm('a')
    const client = await host.client('control')
    hypervisor.answer = () => true
    const stuckMs = performance.now()
    const stuck = Promise.allSettled(Array.from({ length: 4 }, () => client.getState(vm)))
    await expect.poll(() => changes.at(-1), SOON).toMatchObject({ error: { code: 'ATP_HOST_HEARTBEAT' } })
    expect(performance.now() - stuckMs).toBeGreaterThan(300)
    for (const outcome of await stuck) expect(outcome.status).toBe('rejected')
  })
})

describe('observers', () => {
  it('hear of connections, states and calls; a handler that throws harms nobody', async () => {
    const told: string[] = []
    const host = create({
      observe: {
        linkOpened: ({ role }, { reconnect }) => told.push(`${role} opened${reconnect ? ' again' : ''}`),
        linkClosed: ({ role }, reason) => told.push(`${role} closed ${(reason as { code?: string })?.code}`),
        stateChanged: ({ host: id, from, to }) => told.push(`${id} ${from} ${to}`),
        callSettled: ({ role }, { operation }) =>
          void (operation === 'lib-version' && told.push(`${role} ${operation}`)),
        poolCounted() {},
        poolTimed() {},
      },
    })
    const unlisten = host.onStateChange(() => {
      throw new Error('a bad handler')
    })
    await host.connect()
    hypervisor.kill()
    hypervisor.start()
    await reaches(host, 'reconnecting')
    await reaches(host, 'connected')
    unlisten()
    await host.close()
    expect(told).toEqual(
      [
        'control opened',
        'h disconnected connecting',
        'h connecting connected',
        'control closed ATP_LIBVIRT_ENDED',
        'h connected reconnecting',
        'control opened again',
        'h reconnecting connected',
        'control closed undefined',
        'h connected disconnected',
      ].toSorted((a, b) => told.indexOf(a) - told.indexOf(b)),
    )
  })

  it('hear of connections that are opened around VMs that hang, and of their end', async () => {
    const told: string[] = []
    const host = await connected({
      observe: {
        linkOpened: ({ role }, { durationMs }) => told.push(`${role} opened ${durationMs >= 0}`),
        linkClosed: ({ role }, reason) => told.push(`${role} closed ${(reason as { code?: string })?.code}`),
        stateChanged() {},
        callSettled() {},
        poolCounted() {},
        poolTimed() {},
      },
    })
    const client = await host.client('calls')
    told.length = 0
    hypervisor.answer = (call) => call.program === PROGRAM.QEMU
    const vms = ['vm-1', 'vm-2', 'vm-3', 'vm-4'].map((name) => hypervisor.addVm(name))
    const stuck = Promise.allSettled(vms.map((vm) => client.monitorCommand(vm, '{}')))
    await expect.poll(() => told, SOON).toEqual(['relief opened true'])
    await expect.poll(() => client.stats().connections, SOON).toBe(2)
    // The daemon ends it; another one follows.
    hypervisor.daemons.at(-1)?.stream.destroy()
    await expect.poll(() => told[1], SOON).toBe('relief closed ATP_STREAM_CLOSED')
    hypervisor.answer = undefined
    await host.close()
    await stuck
    const count = (word: string) => told.filter((text) => text.startsWith(`relief ${word}`)).length
    await expect.poll(() => count('closed'), SOON).toBe(count('opened'))
    expect(told).toContain('calls closed undefined')
  })

  it('count', async () => {
    const host = await connected()
    hypervisor.kill(refused())
    await reaches(host, 'reconnecting')
    expect(host.stats()).toMatchObject({
      state: 'reconnecting',
      registrations: 0,
      handlers: 0,
      roles: { control: { state: 'reconnecting', inFlight: 0, pending: 0, streams: 0, eventHandlers: 0, losses: 1 } },
    })
  })
})
