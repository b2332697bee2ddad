import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import {
  hostInfo,
  TransportManager,
  type HostConnection,
  type HostConnectionOptions,
  type HostSettings,
  type TransportManagerOptions,
} from '../../../framework/hosts/index.ts'
import { denied, down, FakeConnection } from './fake-connection.ts'

const uri = (id: string) => `qemu+tcp://${id}.example/system`
const host = (id: string): HostSettings => ({ id, uri: uri(id) })
const nameOf = (connection: HostConnection) => (connection as unknown as FakeConnection).name

/** A manager of fakes, which are named after their hosts and come up unless their host is in `absent`. */
function manager(options: TransportManagerOptions = {}, absent = new Set<string>()) {
  const made: FakeConnection[] = []
  const given: HostConnectionOptions[] = []
  const target = new TransportManager({
    create: ({ id }, connectionOptions) => {
      const fake = new FakeConnection(id)
      made.push(fake)
      given.push(connectionOptions)
      queueMicrotask(() => (absent.has(id) ? fake.refuse() : fake.arrive()))
      return fake as unknown as HostConnection
    },
    ...options,
  })
  return { target, made, given, of: (id: string) => made.filter((fake) => fake.name === id) }
}
const settle = () => vi.advanceTimersByTimeAsync(0)
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  expect(vi.getTimerCount(), 'timers left behind').toBe(0)
  vi.useRealTimers()
})

describe('a host as a value', () => {
  it('is reached by ssh where only its address is known', () => {
    expect(hostInfo({ id: 'a', host: '192.168.1.10' })).toEqual({ id: 'a', uri: 'qemu+ssh://192.168.1.10/system' })
    expect(hostInfo({ id: 'a', host: 'fe80::1' }).uri).toBe('qemu+ssh://[fe80::1]/system')
    expect(hostInfo({ id: 'a', host: 'x', uri: 'qemu:///system' }).uri).toBe('qemu:///system')
  })

  it('never changes', () => {
    const allow = ['netcat' as const]
    const access = { allow, tls: { ca: '/ca' }, sasl: { user: 'u', password: new Secret('p', 'geheim') } }
    const labels = ['gpu', '三号机架']
    const info = hostInfo({ id: 'a', host: 'x', labels, access })
    for (const part of [info, info.labels, info.access, info.access?.allow, info.access?.tls, info.access?.sasl])
      expect(Object.isFrozen(part)).toBe(true)
    expect(Object.isFrozen(allow), 'what was given stays the giver’s').toBe(false)
    labels.pop()
    expect(info).toEqual({ id: 'a', uri: 'qemu+ssh://x/system', labels: ['gpu', '三号机架'], access })
  })

  it.each([
    [{ id: '', host: 'x' }, 'ATP_HOST_INVALID'],
    [{ id: 'a' }, 'ATP_HOST_INVALID'],
    [{ id: 'a', host: '-oProxyCommand=touch x' }, 'ATP_LIBVIRT_URI'],
  ])('%j is none', (declaration, code) => {
    expect(() => hostInfo(declaration)).toThrow(expect.objectContaining({ code }))
  })
})

describe('the hosts of a manager', () => {
  it('come, are listed, and go', async () => {
    const { target, of } = manager()
    target.addHost(hostInfo({ id: 'host1', host: '192.168.1.100', uri: 'qemu+tcp://192.168.1.100/system' }))
    target.addHost(host('host2'))
    expect(target.hosts()).toEqual([{ id: 'host1', uri: 'qemu+tcp://192.168.1.100/system' }, host('host2')])
    expect([target.hasHost('host2'), target.hasHost('host3')]).toEqual([true, false])
    await settle()
    expect(of('host1')).toMatchObject([{ state: 'connected' }])
    expect(await target.removeHost('host1')).toBe(0)
    expect(of('host1')).toMatchObject([{ closed: true }])
    expect(target.hosts()).toEqual([host('host2')])
    await target.close()
    expect(of('host2')).toMatchObject([{ closed: true }])
  })

  it.each<[string, HostSettings, string]>([
    ['taken', host('a'), 'ATP_HOST_DUPLICATE'],
    ['without a usable URI', { id: 'b', uri: 'xen:///system' }, 'ATP_LIBVIRT_URI'],
    ['that weakens security', { id: 'b', uri: 'qemu+ssh://x/system?netcat=nc' }, 'ATP_LIBVIRT_URI'],
    ['without a usable pool', { ...host('b'), pool: { max: 0 } }, 'ATP_POOL_SETTINGS'],
  ])('one %s is refused', async (_what, refused, code) => {
    const { target, made } = manager()
    target.addHost(host('a'))
    expect(() => target.addHost(refused)).toThrow(expect.objectContaining({ code }))
    expect(made).toHaveLength(1)
    await target.close()
  })

  it('an unknown one is named with the nearest', async () => {
    const { target } = manager()
    const unknown = (remedy: string) => ({ code: 'ATP_HOST_UNKNOWN', remedy })
    await expect(target.executeOnHost('kvm-1', () => 1)).rejects.toMatchObject(unknown('known: none'))
    target.addHost(host('kvm-1'))
    target.addHost(host('lab'))
    await expect(target.executeOnHost('kvm-11', () => 1)).rejects.toMatchObject(unknown('did you mean "kvm-1"?'))
    await expect(target.getLibvirtConnection('zzzzzz')).rejects.toMatchObject(unknown('known: kvm-1, lab'))
    await expect(target.removeHost('zzzzzz')).rejects.toMatchObject(unknown('known: kvm-1, lab'))
    await target.close()
  })

  it('their settings reach pool and connections; the manager’s hold where a host says nothing', async () => {
    const { target, given, of } = manager({ pool: { min: 3 } })
    target.addHost(host('a'))
    target.addHost({
      ...host('b'),
      pool: { min: 2 },
      connection: { connections: 'shared', heartbeatIntervalMs: 60_000 },
    })
    expect([of('a').length, of('b').length]).toEqual([3, 2])
    expect(given[0]).toEqual({ observe: expect.anything() })
    expect(given[4]).toMatchObject({ connections: 'shared', heartbeatIntervalMs: 60_000 })
    await target.close()
  })

  it('one that is not to reconnect by itself does when it is used', async () => {
    const { target, of } = manager()
    target.addHost({ ...host('a'), connection: { autoReconnect: false } })
    await settle()
    of('a')[0]!.become('disconnected', down())
    await vi.advanceTimersByTimeAsync(1_000_000)
    expect(of('a')).toHaveLength(1)
    expect(await target.executeOnHost('a', nameOf)).toBe('a')
    expect(of('a')).toHaveLength(2)
    await target.close()
  })

  it('one that takes long to connect is waited for as long', async () => {
    const { target } = manager({}, new Set(['a']))
    target.addHost({ ...host('a'), connection: { connectTimeoutMs: 50 }, pool: { max: 1 } })
    await settle()
    const outcome = expect(target.getLibvirtConnection('a')).rejects.toThrow('within 50 ms')
    await vi.advanceTimersByTimeAsync(50)
    await outcome
    await target.close()
  })

  it('one that is down disturbs nobody, and is reached when it is up', async () => {
    const absent = new Set(['a'])
    const { target } = manager({}, absent)
    target.addHost(host('a'))
    target.addHost(host('b'))
    await settle()
    expect(await target.executeOnHost('b', nameOf)).toBe('b')
    absent.clear()
    expect(await target.executeOnHost('a', nameOf)).toBe('a')
    await target.close()
  })

  it('one that is removed drains', async () => {
    const { target, of } = manager()
    target.addHost(host('a'))
    const lease = await target.getLibvirtConnection('a')
    const removing = target.removeHost('a', { drainTimeoutMs: 1000 })
    await expect(target.executeOnHost('a', () => 1)).rejects.toMatchObject({ code: 'ATP_HOST_UNKNOWN' })
    await vi.advanceTimersByTimeAsync(999)
    expect(of('a')[0]).toMatchObject({ closed: false, state: 'connected' })
    lease.release()
    expect(await removing).toBe(0)
    expect(of('a')[0]).toMatchObject({ closed: true })
    target.addHost(host('a'))
    expect(await target.executeOnHost('a', nameOf)).toBe('a')
    const stuck = target.executeOnHost('a', () => wait(10_000))
    await settle()
    const cutting = target.removeHost('a')
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await cutting, 'it ended in time').toBe(0)
    await stuck
    await target.close()
  })

  it('closing ends what drains, too', async () => {
    const { target, of } = manager()
    target.addHost(host('a'))
    await target.getLibvirtConnection('a')
    const removing = target.removeHost('a')
    await target.close()
    await removing
    expect(of('a')[0]).toMatchObject({ closed: true })
    const closed = { code: 'ATP_HOSTS_CLOSED' }
    expect(() => target.addHost(host('b'))).toThrow(expect.objectContaining(closed))
    await expect(target.executeOnHost('a', () => 1)).rejects.toMatchObject(closed)
    expect(() => target.apply([])).toThrow(expect.objectContaining(closed))
  })
})

describe('a new list of hosts', () => {
  it('adds, removes, replaces, and leaves alone', async () => {
    const { target, of } = manager()
    const secret = (value: string) => ({ access: { sasl: { user: 'u', password: new Secret('s', value) } } })
    const before = ['same', 'gone', 'moved', 'pooled', 'rekeyed', 'allowed'].map(host)
    for (const one of before)
      target.addHost(one.id === 'rekeyed' || one.id === 'same' ? { ...one, ...secret('old') } : one)
    await settle()
    const changes = target.apply([
      { ...host('same'), ...secret('old'), pool: undefined } as never,
      host('new'),
      { id: 'moved', uri: 'qemu+tls://moved.example/system' },
      { ...host('pooled'), pool: { max: 2 } },
      { ...host('rekeyed'), ...secret('neu') },
      { ...host('allowed'), access: { allow: ['no_verify'] } },
    ])
    expect(changes).toMatchObject({
      added: ['new'],
      removed: ['gone'],
      changed: ['moved', 'pooled', 'rekeyed', 'allowed'],
      unchanged: ['same'],
    })
    await changes.drained
    await settle()
    expect(of('same')).toMatchObject([{ closed: false }])
    expect(of('gone')).toMatchObject([{ closed: true }])
    for (const id of ['moved', 'pooled', 'rekeyed', 'allowed'])
      expect(of(id)).toMatchObject([{ closed: true }, { closed: false }])
    expect(of('new')).toMatchObject([{ state: 'connected' }])
    expect(
      target
        .hosts()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(['allowed', 'moved', 'new', 'pooled', 'rekeyed', 'same'])
    await target.close()
  })

  it('takes over other labels without another connection', async () => {
    const { target, of, given } = manager()
    target.addHost({ ...host('a'), labels: ['old'] })
    await settle()
    expect(target.apply([{ ...host('a'), labels: ['新'] }])).toMatchObject({ changed: [], unchanged: ['a'] })
    expect(target.hosts()).toEqual([{ ...host('a'), labels: ['新'] }])
    expect(of('a')).toMatchObject([{ state: 'connected', closed: false }])
    expect(given).toHaveLength(1)
    await target.close()
  })

  it('lets tasks of a changed host finish where they began', async () => {
    const { target, of } = manager()
    target.addHost(host('a'))
    const lease = await target.getLibvirtConnection('a')
    const { drained } = target.apply([{ ...host('a'), pool: { max: 1 } }])
    await settle()
    expect(await target.executeOnHost('a', (connection) => (connection as unknown) === of('a')[1])).toBe(true)
    expect(of('a')[0]).toMatchObject({ closed: false })
    lease.release()
    await drained
    expect(of('a')[0]).toMatchObject({ closed: true })
    await target.close()
  })

  it.each<[string, HostSettings[], string]>([
    ['an id twice', [host('b'), host('b')], 'ATP_HOST_DUPLICATE'],
    ['a bad URI', [host('b'), { id: 'c', uri: 'qemu+tcp:///system' }], 'ATP_LIBVIRT_URI'],
    ['no id', [host('b'), { id: '', uri: uri('x') }], 'ATP_HOST_INVALID'],
    ['a pool that does not fit the manager’s', [host('b'), { ...host('c'), pool: { min: 20 } }], 'ATP_POOL_SETTINGS'],
  ])('with %s changes nothing', async (_what, hosts, code) => {
    const { target, made } = manager({ pool: { max: 15 } })
    target.addHost(host('a'))
    expect(() => target.apply(hosts)).toThrow(expect.objectContaining({ code }))
    await settle()
    expect(target.hosts()).toEqual([host('a')])
    expect(made).toMatchObject([{ name: 'a', closed: false }])
    await target.close()
  })
})

describe('a task on several hosts', () => {
  it('yields results in the order asked for; one failure hides no other; it takes as long as the slowest', async () => {
    const { target } = manager()
    for (const id of ['a', 'b', 'c']) target.addHost(host(id))
    const failure = new Error('b fails')
    const takesMs: Record<string, number> = { a: 30, b: 10, c: 50 }
    const startedMs = performance.now()
    let endedMs = 0
    const running = target
      .executeOnHosts(['c', 'nope', 'b', 'a'], async (connection) => {
        const name = nameOf(connection)
        await wait(takesMs[name] as number)
        if (name === 'b') throw failure
        return name.toUpperCase()
      })
      .finally(() => (endedMs = performance.now()))
    await vi.advanceTimersByTimeAsync(1000)
    expect(await running).toEqual([
      { host: 'c', status: 'fulfilled', value: 'C' },
      { host: 'nope', status: 'rejected', error: expect.objectContaining({ code: 'ATP_HOST_UNKNOWN' }) },
      { host: 'b', status: 'rejected', error: failure },
      { host: 'a', status: 'fulfilled', value: 'A' },
    ])
    expect(endedMs - startedMs).toBeCloseTo(50, 0)
    expect(target.statistics().total.connections.uses).toBe(0)
    await target.close()
  })

  it('works on no more hosts at once than it may', async () => {
    const { target } = manager({ concurrency: 3 })
    const ids = Array.from({ length: 10 }, (_, index) => `h${index}`)
    for (const id of ids) target.addHost(host(id))
    let now = 0
    let most = 0
    const task = async () => {
      most = Math.max(most, ++now)
      await wait(10)
      now--
    }
    const all = target.executeOnHosts(ids, task)
    await vi.advanceTimersByTimeAsync(39)
    expect(most).toBe(3)
    await vi.advanceTimersByTimeAsync(1)
    expect((await all).map(({ host: id }) => id)).toEqual(ids)
    const wide = target.executeOnHosts(ids, task, { concurrency: 10 })
    await vi.advanceTimersByTimeAsync(10)
    await wide
    expect(most).toBe(10)
    await target.close()
  })

  it.each([0, -1, 1.5, Number.NaN])('on %d hosts at once is refused, not begun', async (concurrency) => {
    const { target } = manager()
    target.addHost(host('a'))
    const task = vi.fn()
    const refusal = { code: 'ATP_USAGE', message: expect.stringContaining(`concurrency is ${concurrency}`) }
    await expect(target.executeOnHosts(['a'], task, { concurrency })).rejects.toMatchObject(refusal)
    expect(() => manager({ concurrency })).toThrow(expect.objectContaining(refusal))
    expect(task).not.toHaveBeenCalled()
    await settle()
    expect(await target.executeOnHosts(['a'], () => 1, { concurrency: Infinity })).toMatchObject([{ value: 1 }])
    await target.close()
  })

  it('ends everywhere when its signal aborts, also where it waits for its turn', async () => {
    const { target } = manager({ concurrency: 1 })
    for (const id of ['a', 'b']) target.addHost(host(id))
    const controller = new AbortController()
    let begun = 0
    const running = target.executeOnHosts(['a', 'b'], () => (begun++, new Promise(() => {})), {
      signal: controller.signal,
    })
    await settle()
    controller.abort()
    for (const outcome of await running)
      expect(outcome).toMatchObject({ status: 'rejected', error: { code: 'ATP_INTERRUPTED' } })
    expect(begun).toBe(1)
    await target.close()
  })

  it('each host has its limit from its own beginning', async () => {
    const { target } = manager({ concurrency: 1 })
    for (const id of ['a', 'b']) target.addHost(host(id))
    const running = target.executeOnHosts(['a', 'b'], () => wait(30), { timeoutMs: 40 })
    await vi.advanceTimersByTimeAsync(60)
    expect(await running).toMatchObject([{ status: 'fulfilled' }, { status: 'fulfilled' }])
    await target.close()
  })
})

describe('a task on any of several hosts', () => {
  it('goes to a usable one, the less used first', async () => {
    const { target } = manager({}, new Set(['down']))
    for (const id of ['down', 'a', 'b']) target.addHost(host(id))
    await settle()
    const lease = await target.getLibvirtConnection('a')
    expect(await target.executeOnAny(['down', 'a', 'b'], nameOf)).toEqual({ host: 'b', value: 'b' })
    lease.release()
    expect(await target.executeOnAny(['down', 'a', 'b'], nameOf)).toEqual({ host: 'a', value: 'a' })
    await target.close()
  })

  it('goes to the next where a host is down or its connection dies', async () => {
    const { target } = manager()
    for (const id of ['a', 'b', 'c']) target.addHost(host(id))
    await settle()
    const tried: string[] = []
    const dies = (connection: HostConnection) => {
      tried.push(nameOf(connection))
      if (nameOf(connection) !== 'c') throw down('lost')
      return 'done'
    }
    expect(await target.executeOnAny(['a', 'b', 'c'], dies, { idempotent: true })).toEqual({ host: 'c', value: 'done' })
    expect(tried.join('')).toBe('aabbc')
    tried.length = 0
    await expect(target.executeOnAny(['a', 'b', 'c'], dies)).rejects.toThrow('lost')
    expect(tried.join(''), 'it may have done half of its work').toBe('a')
    await target.close()
  })

  it('hands on the task’s own errors', async () => {
    const { target } = manager()
    for (const id of ['a', 'b']) target.addHost(host(id))
    const failing = target.executeOnAny(
      ['a', 'b'],
      () => {
        throw denied()
      },
      { idempotent: true },
    )
    await expect(failing).rejects.toThrow(denied().message)
    await target.close()
  })

  it('says why none can be used', async () => {
    const { target } = manager({}, new Set(['a', 'b']))
    for (const id of ['a', 'b']) target.addHost(host(id))
    const outcome = expect(target.executeOnAny(['a', 'b'], nameOf)).rejects.toMatchObject({
      code: 'ATP_HOSTS_UNAVAILABLE',
      message: expect.stringContaining('none of the hosts can be used: a, b'),
      retryable: true,
      cause: { errors: [{ code: 'ATP_POOL_UNAVAILABLE' }, { code: 'ATP_POOL_UNAVAILABLE' }] },
    })
    await vi.advanceTimersByTimeAsync(60_000)
    await outcome
    await expect(target.executeOnAny(['a', 'x'], nameOf)).rejects.toMatchObject({ code: 'ATP_HOST_UNKNOWN' })
    await target.close()
  })

  it('ends at its limit', async () => {
    const { target } = manager({ pool: { max: 1 } })
    target.addHost(host('a'))
    await settle()
    const outcome = expect(
      target.executeOnAny(['a'], () => new Promise(() => {}), { timeoutMs: 100 }),
    ).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    await vi.advanceTimersByTimeAsync(100)
    await outcome
    await target.close()
  })
})

describe('statistics', () => {
  it('count connections, tasks and calls of each host and of all', async () => {
    const seen: string[] = []
    const pooled: string[] = []
    const observe = {
      linkOpened: () => void seen.push('opened'),
      linkClosed: () => void seen.push('closed'),
      stateChanged: () => void seen.push('state'),
      callSettled: () => void seen.push('call'),
      poolCounted: (id: string, what: string, by: number) => void pooled.push(`${id} ${what} ${by}`),
      poolTimed: (id: string, what: string) => void pooled.push(`${id} ${what} timed`),
    }
    const { target, given } = manager({ observe })
    target.addHost(host('a'))
    target.addHost(host('b'))
    await settle()
    const slow = target.executeOnHost('a', () => wait(20))
    await vi.advanceTimersByTimeAsync(20)
    await slow
    await expect(target.executeOnHost('a', () => Promise.reject(new Error('x')))).rejects.toThrow('x')
    const controller = new AbortController()
    const cancelled = target.executeOnHost('b', () => new Promise(() => {}), { signal: controller.signal })
    await settle()
    expect(target.statistics().hosts[1]?.tasks).toMatchObject({ tasks: 0, running: 1 })
    controller.abort()
    await expect(cancelled).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    const link = { host: 'a', role: 'control' as const }
    const call = { operation: 'monitor-command', durationMs: 4, queuedMs: 0 }
    given[0]!.observe!.callSettled(link, { ...call, outcome: 'ok' })
    given[0]!.observe!.callSettled(link, { ...call, outcome: 'timeout' })
    given[1]!.observe!.callSettled({ ...link, host: 'b' }, { ...call, outcome: 'ok' })
    given[0]!.observe!.linkOpened(link, { durationMs: 1, reconnect: false })
    given[0]!.observe!.linkClosed(link, undefined)
    given[0]!.observe!.stateChanged({ host: 'a', from: 'disconnected', to: 'connected' })
    expect(seen).toEqual(['call', 'call', 'call', 'opened', 'closed', 'state'])
    expect(pooled.filter((text) => text.startsWith('a ')).slice(0, 7)).toEqual([
      'a connecting 1',
      'a connecting -1',
      'a idle 1',
      'a connect timed',
      'a uses 1',
      'a idle -1',
      'a active 1',
    ])
    expect(pooled.filter((text) => text === 'a acquire timed')).toHaveLength(2)

    const { hosts, total } = target.statistics()
    expect(hosts[0]).toMatchObject({
      host: 'a',
      uri: uri('a'),
      connections: { total: 1, idle: 1, usesTotal: 2, acquire: { count: 2 }, connect: { count: 1 } },
      tasks: { tasks: 2, running: 0, errors: 1, errorRate: 0.5, meanMs: expect.closeTo(10, 0) },
      calls: { calls: 2, errors: 1, errorRate: 0.5, operations: { 'monitor-command': { calls: 2 } } },
    })
    expect(hosts[1]).toMatchObject({ host: 'b', tasks: { tasks: 1, errors: 0, errorRate: 0 }, calls: { calls: 1 } })
    expect(total).toMatchObject({
      hosts: 2,
      connections: { total: 2, active: 1, idle: 1, uses: 1, usesTotal: 3, failed: 0, waiting: 0 },
      tasks: { tasks: 3, errors: 1 },
      calls: { calls: 3, errors: 1, p99Ms: expect.closeTo(4, 0) },
    })
    await target.close()
    expect(target.statistics()).toMatchObject({ hosts: [], total: { hosts: 0, tasks: { tasks: 0, errorRate: 0 } } })
  })
})
