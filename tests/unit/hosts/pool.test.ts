import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ConnectionPool, type PooledConnection, type PoolSettings } from '../../../framework/hosts/index.ts'
import { denied, down, type FakeConnection, fakes } from './fake-connection.ts'

type Lease = PooledConnection<FakeConnection>

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  expect(vi.getTimerCount(), 'timers left behind').toBe(0)
  vi.useRealTimers()
})

/** Lets everything happen that needs no time. */
const settle = () => vi.advanceTimersByTimeAsync(0)

type Options = PoolSettings & { random?: () => number; maxRetries?: number }

function pool(settings: Options = {}, arriving = true) {
  const { made, create } = fakes(arriving)
  return { made, pool: new ConnectionPool({ host: 'h', create, ...settings }) }
}

async function names(target: ConnectionPool<FakeConnection>, count: number): Promise<string> {
  let text = ''
  for (let i = 0; i < count; i++) {
    const lease = await target.acquire()
    text += lease.connection.name
    lease.release()
  }
  return text
}

async function warm(settings: Options, arriving = true) {
  const it = pool(settings, arriving)
  it.pool.warm()
  await settle()
  return it
}

describe('settings of a pool', () => {
  it.each([
    [{ min: -1 }, /min is -1/],
    [{ min: 1.5 }, /min is 1.5/],
    [{ max: 0 }, /max is 0/],
    [{ min: 3, max: 2 }, /min \(3\) is above max \(2\)/],
    [{ maxUsesPerConnection: 0 }, /maxUsesPerConnection is 0/],
    [{ strategy: 'best' as never }, /strategy is "best"/],
    [{ idleTimeoutMs: -1 }, /idleTimeoutMs is -1/],
    [{ idleTimeoutMs: Infinity }, /idleTimeoutMs is Infinity/],
    [{ acquireTimeoutMs: Number.NaN }, /acquireTimeoutMs is NaN/],
  ])('%j are refused', (settings, message) => {
    expect(() => pool(settings)).toThrow(expect.objectContaining({ code: 'ATP_POOL_SETTINGS' }))
    expect(() => pool(settings)).toThrow(message)
  })

  it('limits can be raised', async () => {
    const { made, pool: target } = await warm({ min: 5, max: 20, maxUsesPerConnection: 1 })
    expect(target.metrics()).toMatchObject({ total: 5, idle: 5 })
    const leases: Lease[] = []
    for (let i = 0; i < 40; i++) {
      leases.push(await target.acquire())
      await settle()
    }
    expect(made).toHaveLength(20)
    expect(target.metrics()).toMatchObject({ total: 20, active: 20, uses: 40 })
    await target.close()
  })
})

describe('the choice among usable connections', () => {
  it('round robin takes turns, and goes on with those that are left', async () => {
    const { made, pool: target } = await warm({ min: 3, strategy: 'round-robin' })
    expect(await names(target, 7)).toBe('abcabca')
    made[1]!.become('reconnecting', down())
    expect(await names(target, 4)).toBe('caca')
    made[1]!.become('connected')
    expect(await names(target, 4)).toBe('bcab')
    await target.close()
  })

  it('least connections goes by real uses', async () => {
    const { pool: target } = await warm({ min: 3 })
    const held: Lease[] = []
    for (let i = 0; i < 6; i++) held.push(await target.acquire())
    expect(held.map((lease) => lease.connection.name).join('')).toBe('abcabc')
    held[1]!.release()
    expect((await target.acquire()).connection.name).toBe('b')
    held[2]!.release()
    held[5]!.release()
    expect(await names(target, 1)).toBe('c')
    await target.close()
  })

  it('random is even, seeded, and among usable ones only', async () => {
    let seed = 7
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
    const { made, pool: target } = await warm({ min: 3, strategy: 'random', random })
    const counts = new Map<string, number>()
    for (const name of await names(target, 3000)) counts.set(name, (counts.get(name) ?? 0) + 1)
    for (const name of 'abc') expect(counts.get(name)).toBeGreaterThan(900)
    made[0]!.become('reconnecting')
    expect(await names(target, 200)).toMatch(/^(?=.*b)(?=.*c)[bc]+$/)
    await target.close()
  })
})

describe('growth and shrinking', () => {
  it('grows when all are busy, up to max, serving meanwhile from what is there', async () => {
    const { made, pool: target } = await warm({ max: 3, maxUsesPerConnection: 2 }, false)
    made[0]!.arrive()
    const leases = [await target.acquire(), await target.acquire()]
    expect(made).toHaveLength(1)
    // The third one is served at once although the connection it asked for is not there yet.
    leases.push(await target.acquire())
    expect(leases.map((lease) => lease.connection.name).join('')).toBe('aaa')
    expect(target.metrics()).toMatchObject({ total: 2, active: 1, connecting: 1 })
    leases.push(await target.acquire(), await target.acquire())
    expect(made, 'one at a time').toHaveLength(2)
    made[1]!.arrive()
    await settle()
    leases.push(await target.acquire())
    expect(leases.at(-1)?.connection.name).toBe('b')
    expect(made).toHaveLength(3)
    made[2]!.arrive()
    for (let i = 0; i < 20; i++) leases.push(await target.acquire())
    await settle()
    expect(made).toHaveLength(3)
    expect(target.metrics()).toMatchObject({ total: 3, active: 3, connecting: 0, uses: 26 })
    await target.close()
  })

  it('growth that fails costs nobody anything and is tried again after a pause', async () => {
    const { made, pool: target } = await warm({ max: 2, maxUsesPerConnection: 1, random: () => 0 }, false)
    made[0]!.arrive()
    await target.acquire()
    await target.acquire()
    made[1]!.refuse()
    await settle()
    expect((await target.acquire()).connection.name).toBe('a')
    expect(target.metrics()).toMatchObject({ total: 1, failed: 1, uses: 3 })
    await vi.advanceTimersByTimeAsync(49)
    expect(made).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(made).toHaveLength(3)
    // A refusal for good is not repeated in a hurry.
    made[2]!.refuse(denied())
    await vi.advanceTimersByTimeAsync(59_999)
    expect(made).toHaveLength(3)
    await vi.advanceTimersByTimeAsync(1)
    expect(made).toHaveLength(4)
    await target.close()
  })

  it('closes what was idle for too long, down to min', async () => {
    const { made, pool: target } = await warm({ min: 1, max: 3, maxUsesPerConnection: 1, idleTimeoutMs: 1000 })
    const leases: Lease[] = []
    for (let i = 0; i < 4; i++) {
      leases.push(await target.acquire())
      await settle()
    }
    expect(leases.map((lease) => lease.connection.name).join('')).toBe('aabc')
    expect(target.metrics()).toMatchObject({ total: 3, active: 3 })
    await vi.advanceTimersByTimeAsync(5000)
    expect(target.metrics(), 'in use').toMatchObject({ total: 3 })
    const [first, second, ...others] = leases
    others[0]!.release()
    await vi.advanceTimersByTimeAsync(600)
    others[1]!.release()
    await vi.advanceTimersByTimeAsync(399)
    expect(target.metrics()).toMatchObject({ total: 3 })
    await vi.advanceTimersByTimeAsync(1)
    expect(target.metrics()).toMatchObject({ total: 2 })
    await vi.advanceTimersByTimeAsync(600)
    expect(target.metrics()).toMatchObject({ total: 1, active: 1 })
    first!.release()
    second!.release()
    await vi.advanceTimersByTimeAsync(100_000)
    expect(target.metrics()).toMatchObject({ total: 1, idle: 1 })
    expect(made.filter((one) => one.closed)).toHaveLength(2)
    expect(made.filter((one) => one.watched)).toHaveLength(1)
    await target.close()
  })

  it('the default: one is kept, the others go after five minutes', async () => {
    const { pool: target } = await warm({})
    const leases = await Promise.all(Array.from({ length: 5 }, () => target.acquire()))
    await settle()
    expect(target.metrics()).toMatchObject({ total: 2 })
    for (const lease of leases) lease.release()
    await vi.advanceTimersByTimeAsync(299_999)
    expect(target.metrics()).toMatchObject({ total: 2 })
    await vi.advanceTimersByTimeAsync(1)
    expect(target.metrics()).toMatchObject({ total: 1 })
    await target.close()
  })

  it('a lost connection goes before a usable one', async () => {
    const { made, pool: target } = await warm({ min: 1, max: 2, maxUsesPerConnection: 1, idleTimeoutMs: 1000 })
    const leases = [await target.acquire(), await target.acquire()]
    await settle()
    made[0]!.become('reconnecting')
    for (const lease of leases) lease.release()
    await vi.advanceTimersByTimeAsync(1000)
    expect(target.metrics()).toMatchObject({ total: 1, idle: 1 })
    expect(made[0]).toMatchObject({ closed: true })
    await target.close()
  })

  it('the minimum is kept: one that gave up is replaced', async () => {
    const { made, pool: target } = await warm({ min: 2, random: () => 0 })
    made[0]!.become('reconnecting', down())
    await settle()
    expect(made).toHaveLength(2)
    made[0]!.become('failed', down())
    expect(target.metrics()).toMatchObject({ total: 1, failed: 1 })
    await vi.advanceTimersByTimeAsync(50)
    expect(target.metrics()).toMatchObject({ total: 2, idle: 2, failed: 1 })
    expect(made[0]).toMatchObject({ closed: true, watched: false })
    await target.close()
  })
})

describe('uses', () => {
  it('are counted until they are released, once', async () => {
    const { pool: target } = await warm({})
    const lease = await target.acquire()
    await vi.advanceTimersByTimeAsync(10)
    {
      using second = await target.acquire()
      expect(second.connection).toBe(lease.connection)
      expect(target.metrics()).toMatchObject({ uses: 2, usesTotal: 2, active: 1, idle: 0 })
    }
    expect(target.metrics()).toMatchObject({ uses: 1 })
    lease.release()
    lease.release()
    expect(target.metrics()).toMatchObject({ uses: 0, usesTotal: 2, active: 0, idle: 1 })
    await target.close()
  })

  it('a task that throws gives its connection back', async () => {
    const { pool: target } = await warm({})
    const failing = target.use(() => {
      expect(target.metrics().uses).toBe(1)
      throw new RangeError('no')
    })
    await expect(failing).rejects.toThrow(new RangeError('no'))
    expect(target.metrics().uses).toBe(0)
    expect(await target.use(({ name }) => name.toUpperCase())).toBe('A')
    await target.close()
  })

  it('a task that outlives its limit keeps its connection in use', async () => {
    const { pool: target } = await warm({})
    const gate = Promise.withResolvers<void>()
    let aborted: AbortSignal | undefined
    const slow = target.use(
      (_connection, signal) => {
        aborted = signal
        return gate.promise
      },
      { timeoutMs: 50 },
    )
    const outcome = expect(slow).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    await vi.advanceTimersByTimeAsync(50)
    await outcome
    expect(aborted?.aborted).toBe(true)
    expect(target.metrics().uses).toBe(1)
    gate.resolve()
    await settle()
    expect(target.metrics().uses).toBe(0)
    await target.close()
  })

  it('one of three dies: no task fails twice', async () => {
    const { made, pool: target } = await warm({ min: 3, max: 3 })
    const runs = new Map<number, string[]>()
    const gates = Array.from({ length: 12 }, () => Promise.withResolvers<void>())
    const tasks = gates.map((gate, task) =>
      target.use(
        async ({ name }) => {
          const tried = runs.get(task) ?? []
          runs.set(task, [...tried, name])
          if (tried.length === 0) await gate.promise
          return name
        },
        { idempotent: true },
      ),
    )
    await settle()
    const victims = [...runs].filter(([, tried]) => tried[0] === 'b').map(([task]) => task)
    expect(victims).toHaveLength(4)
    made[1]!.become('reconnecting', down())
    for (const [task, gate] of gates.entries()) {
      if (victims.includes(task)) gate.reject(down('lost'))
      else gate.resolve()
    }
    const outcomes = await Promise.all(tasks)
    expect(outcomes).not.toContain('b')
    for (const task of victims) expect(runs.get(task)).toEqual(['b', expect.stringMatching(/^[ac]$/)])
    expect([...runs.values()].filter((tried) => tried.length === 2)).toHaveLength(victims.length)
    expect(target.metrics().uses).toBe(0)
    await target.close()
  })

  it.each([
    ['not said to be idempotent', false, down('lost'), 1],
    ['its own error', true, new Error('own'), 1],
    ['an error that will come again', true, denied(), 1],
    ['lost both times', true, down('lost'), 2],
  ])('a task is not run again: %s', async (_why, idempotent, error, times) => {
    const { pool: target } = await warm({ min: 2 })
    let runs = 0
    const running = target.use(
      () => {
        runs++
        throw error
      },
      { idempotent },
    )
    await expect(running).rejects.toBe(error)
    expect(runs).toBe(times)
    await target.close()
  })

  it('the only connection serves the second attempt as well', async () => {
    const { pool: target } = await warm({ max: 1 })
    const seen: string[] = []
    const result = await target.use(
      ({ name }) => {
        if (seen.push(name) === 1) throw down('lost')
        return 'done'
      },
      { idempotent: true },
    )
    expect([result, seen.join('')]).toEqual(['done', 'aa'])
    await target.close()
  })
})

describe('a connection that gives up while it is in use', () => {
  it('is replaced at once, and closed when nobody holds it any more', async () => {
    const { made, pool: target } = await warm({ random: () => 0 })
    const lease = await target.acquire()
    made[0]!.become('failed', down())
    expect(target.metrics()).toMatchObject({ total: 0, uses: 1, failed: 1 })
    await vi.advanceTimersByTimeAsync(50)
    expect((await target.acquire()).connection.name).toBe('b')
    expect(made[0]).toMatchObject({ closed: false })
    lease.release()
    expect(made[0]).toMatchObject({ closed: true, watched: false })
    expect(target.metrics()).toMatchObject({ total: 1, uses: 1 })
    await target.close()
  })

  it('is waited for where the pool drains, and closed with it', async () => {
    const { made, pool: target } = await warm({})
    await target.acquire()
    made[0]!.become('disconnected', down())
    const closing = target.close({ drainTimeoutMs: 100 })
    await vi.advanceTimersByTimeAsync(99)
    expect(made[0]).toMatchObject({ closed: false })
    await vi.advanceTimersByTimeAsync(1)
    expect(await closing).toBe(1)
    expect(made[0]).toMatchObject({ closed: true, watched: false })
  })

  it('that cannot be closed harms nobody', async () => {
    const { made, pool: target } = await warm({})
    made[0]!.close = () => Promise.reject(new Error('stuck'))
    expect(await target.close()).toBe(0)
  })
})

describe('waiting for a connection', () => {
  it('everybody who waits is served by the first that arrives', async () => {
    const { made, pool: target } = pool({ max: 2 }, false)
    const waiting = [target.acquire(), target.acquire(), target.acquire()]
    await settle()
    expect(target.metrics()).toMatchObject({ waiting: 3, connecting: 1, total: 1 })
    await vi.advanceTimersByTimeAsync(40)
    made[0]!.arrive()
    const leases = await Promise.all(waiting)
    expect(leases.map((lease) => lease.connection.name).join('')).toBe('aaa')
    expect(target.metrics()).toMatchObject({ waiting: 0, uses: 3 })
    expect(target.metrics().acquire).toMatchObject({ count: 3, meanMs: expect.closeTo(40, 0) })
    expect(target.metrics().connect).toMatchObject({ count: 1, p99Ms: expect.closeTo(40, 0) })
    await target.close()
  })

  it('a lost connection is waited for; a new one may come first', async () => {
    const { made, pool: target } = await warm({ max: 2 }, false)
    made[0]!.arrive()
    made[0]!.become('reconnecting', down())
    const waiting = target.acquire()
    await settle()
    expect(made).toHaveLength(2)
    made[1]!.arrive()
    expect((await waiting).connection.name).toBe('b')
    made[1]!.become('reconnecting', down())
    const again = target.acquire()
    made[0]!.become('connected')
    expect((await again).connection.name).toBe('a')
    await target.close()
  })

  it('ends after its limit with the last cause', async () => {
    const { made, pool: target } = await warm({ max: 1, acquireTimeoutMs: 2000 }, false)
    made[0]!.arrive()
    made[0]!.become('reconnecting', down('connection reset'))
    const waiting = target.acquire()
    const outcome = expect(waiting).rejects.toMatchObject({
      code: 'ATP_POOL_UNAVAILABLE',
      branch: 'connect',
      retryable: true,
      message: expect.stringMatching(/host "h" within 2000 ms: connection reset/),
      cause: { code: 'ATP_TRANSPORT_CONNECT' },
      context: { host: 'h', connections: 1 },
    })
    await vi.advanceTimersByTimeAsync(2000)
    await outcome
    const shorter = expect(target.acquire({ timeoutMs: 5 })).rejects.toThrow('within 5 ms')
    await vi.advanceTimersByTimeAsync(5)
    await shorter
    expect(target.metrics()).toMatchObject({ waiting: 0, uses: 0 })
    expect(made[0]!.hurried, 'joined by both').toBe(1)
    made[0]!.become('connected')
    expect(target.metrics()).toMatchObject({ uses: 0, idle: 1 })
    await target.close()
  })

  it('ends when its signal aborts, and hands nothing to who left', async () => {
    const { made, pool: target } = pool({}, false)
    const controller = new AbortController()
    const left = target.acquire({ signal: controller.signal })
    const stays = target.acquire()
    await settle()
    controller.abort()
    await expect(left).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    made[0]!.arrive()
    await stays
    expect(target.metrics().uses).toBe(1)
    await expect(target.acquire({ signal: controller.signal })).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    await target.close()
  })

  it('a host that comes up a little late is reached', async () => {
    const { made, pool: target } = pool({ random: () => 0 }, false)
    const waiting = target.acquire()
    await settle()
    made[0]!.refuse()
    await vi.advanceTimersByTimeAsync(50)
    made[1]!.refuse()
    await vi.advanceTimersByTimeAsync(99)
    expect(made).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1)
    made[2]!.arrive()
    expect((await waiting).connection.name).toBe('c')
    expect(target.metrics()).toMatchObject({ failed: 2, total: 1 })
    await target.close()
  })

  it('a host that was never reached is given up after four attempts', async () => {
    const { made, pool: target } = pool({ random: () => 0 }, false)
    const waiting = expect(target.acquire()).rejects.toMatchObject({
      code: 'ATP_POOL_UNAVAILABLE',
      message: expect.stringContaining('in 4 attempts: connection refused'),
    })
    for (const pauseMs of [0, 50, 100, 200]) {
      await vi.advanceTimersByTimeAsync(pauseMs)
      made.at(-1)!.refuse()
    }
    await waiting
    expect(made).toHaveLength(4)
    // The pool goes on for its minimum, less and less often.
    await vi.advanceTimersByTimeAsync(1000)
    expect(made).toHaveLength(5)
    made.at(-1)!.refuse()
    await vi.advanceTimersByTimeAsync(1999)
    expect(made).toHaveLength(5)
    // Whoever comes next need not wait for the end of the pause.
    const next = target.acquire()
    await settle()
    expect(made).toHaveLength(6)
    made.at(-1)!.arrive()
    expect((await next).connection.name).toBe('f')
    await target.close()
  })

  it('the pause between attempts ends at a minute', async () => {
    const { made, pool: target } = await warm({ random: () => 0 }, false)
    const pauses: number[] = []
    for (let i = 0; i < 12; i++) {
      made.at(-1)!.refuse()
      const count = made.length
      const startedMs = performance.now()
      await settle()
      while (made.length === count) await vi.advanceTimersToNextTimerAsync()
      pauses.push(Math.round(performance.now() - startedMs))
    }
    expect(pauses).toEqual([50, 100, 200, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
    await target.close()
  })

  it('a refusal for good is told at once and not repeated until somebody asks again', async () => {
    const { made, pool: target } = pool({}, false)
    const waiting = expect(Promise.allSettled([target.acquire(), target.acquire()])).resolves.toMatchObject([
      { reason: { code: 'ATP_POOL_UNAVAILABLE', retryable: false, cause: { message: 'no such key' } } },
      {
        reason: { message: expect.stringContaining('connection to host "h" at the first attempt: no such key\n  → ') },
      },
    ])
    await settle()
    made[0]!.refuse(denied())
    await waiting
    await vi.advanceTimersByTimeAsync(1_000_000)
    expect(made).toHaveLength(1)
    const next = target.acquire()
    await settle()
    made[1]!.arrive()
    expect((await next).connection.name).toBe('b')
    await target.close()
  })

  it('a pool that may not try by itself does when somebody asks, once', async () => {
    const { made, pool: target } = await warm({ maxRetries: 0 })
    made[0]!.become('disconnected', down())
    await vi.advanceTimersByTimeAsync(1_000_000)
    expect([made.length, target.metrics().total]).toEqual([1, 0])
    expect((await target.acquire()).connection.name).toBe('b')
    await target.close()
  })

  it('a pool with a limit of attempts keeps to it, also for who waits', async () => {
    const { made, pool: target } = pool({ maxRetries: 2, random: () => 0 }, false)
    const waiting = expect(target.acquire()).rejects.toThrow('in 3 attempts')
    for (const pauseMs of [0, 50, 100]) {
      await vi.advanceTimersByTimeAsync(pauseMs)
      made.at(-1)!.refuse()
    }
    await waiting
    await vi.advanceTimersByTimeAsync(1_000_000)
    expect(made).toHaveLength(3)
    await target.close()
  })

  it('without a limit it goes on for as long as it takes', async () => {
    const { made, pool: target } = await warm({ max: 1 }, false)
    made[0]!.arrive()
    made[0]!.become('reconnecting')
    const waiting = [target.acquire({ timeoutMs: Infinity }), target.acquire({ timeoutMs: 1e12 })]
    await vi.advanceTimersByTimeAsync(10_000_000)
    made[0]!.become('connected')
    for (const lease of await Promise.all(waiting)) expect(lease.connection.name).toBe('a')
    await target.close()
  })

  it('a connection that cannot even be made is such a refusal', async () => {
    const target = new ConnectionPool<FakeConnection>({
      host: 'h',
      create: () => {
        throw new TypeError('bad host')
      },
    })
    await expect(target.acquire()).rejects.toMatchObject({
      code: 'ATP_POOL_UNAVAILABLE',
      cause: new TypeError('bad host'),
    })
    expect(target.metrics()).toMatchObject({ total: 0, failed: 1, waiting: 0 })
    await target.close()
  })

  it('a first attempt that fails but goes on by itself is not given up', async () => {
    const { made, pool: target } = pool({ max: 1, acquireTimeoutMs: 500 }, false)
    const waiting = target.acquire()
    await settle()
    made[0]!.refuse(down(), 'reconnecting')
    await settle()
    expect(target.metrics()).toMatchObject({ total: 1, connecting: 1, failed: 0, waiting: 1 })
    made[0]!.become('connected')
    expect((await waiting).connection.name).toBe('a')
    await target.close()
  })
})

describe('the end of a pool', () => {
  it('refuses who waits and who comes, and closes all', async () => {
    const { made, pool: target } = pool({}, false)
    const waiting = target.acquire()
    await settle()
    const closed = { code: 'ATP_POOL_CLOSED', context: { host: 'h' } }
    const refused = expect(waiting).rejects.toMatchObject(closed)
    expect(await target.close()).toBe(0)
    await refused
    await expect(target.acquire()).rejects.toMatchObject(closed)
    await expect(target.use(() => 1)).rejects.toMatchObject(closed)
    expect(made).toMatchObject([{ closed: true, watched: false }])
    expect(target.metrics()).toMatchObject({ total: 0, failed: 0 })
    target.warm()
    expect(made).toHaveLength(1)
  })

  it('lets uses finish first', async () => {
    const { made, pool: target } = await warm({})
    const lease = await target.acquire()
    const closing = target.close({ drainTimeoutMs: 1000 })
    await vi.advanceTimersByTimeAsync(900)
    expect(made[0]!.closed).toBe(false)
    lease.release()
    expect(await closing).toBe(0)
    expect(made[0]!.closed).toBe(true)
  })

  it.each([Infinity, 1e12])('waits for uses for as long as %d ms', async (drainTimeoutMs) => {
    const { made, pool: target } = await warm({})
    const lease = await target.acquire()
    const closing = target.close({ drainTimeoutMs })
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(made[0]!.closed).toBe(false)
    lease.release()
    expect(await closing).toBe(0)
  })

  it('comes after that of connections that were given up before', async () => {
    const { made, pool: target } = await warm({ min: 0, max: 3 })
    const ends = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const lease = await target.acquire()
    made[0]!.close = () => ends[0]!.promise
    made[0]!.become('failed', down())
    lease.release()
    ;(await target.acquire()).release()
    made[1]!.close = () => ends[1]!.promise
    await vi.advanceTimersByTimeAsync(300_000)
    expect(target.metrics()).toMatchObject({ total: 0, failed: 1 })
    let closed = false
    const closing = target.close().then(() => (closed = true))
    ends[1]!.resolve()
    await settle()
    expect(closed).toBe(false)
    ends[0]!.resolve()
    await closing
  })

  it('counts the uses it cut off', async () => {
    const { made, pool: target } = await warm({})
    const leases = [await target.acquire(), await target.acquire()]
    const closing = target.close({ drainTimeoutMs: 1000 })
    await vi.advanceTimersByTimeAsync(1000)
    expect(await closing).toBe(2)
    expect(made[0]!.closed).toBe(true)
    for (const lease of leases) lease.release()
    expect(await target.close()).toBe(0)
  })

  it('may become less patient', async () => {
    const { made, pool: target } = await warm({})
    await target.acquire()
    const patient = target.close({ drainTimeoutMs: 60_000 })
    expect(await target.close()).toBe(1)
    expect(await patient).toBe(0)
    expect(made[0]!.closed).toBe(true)
  })

  it('a connection that breaks while the pool drains is not replaced', async () => {
    const { made, pool: target } = await warm({})
    const lease = await target.acquire()
    const closing = target.close({ drainTimeoutMs: 1000 })
    made[0]!.become('failed', down())
    lease.release()
    expect(await closing).toBe(0)
    expect(made).toHaveLength(1)
  })
})

describe('the observer of a pool', () => {
  const index = fc.nat({ max: 9 })
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('acquire', 'release', 'arrive', 'refuse', 'deny', 'lose', 'restore'), index }),
    fc.record({ do: fc.constant('wait' as const), index: fc.constantFrom(10, 200, 2000, 400_000) }),
  )

  it('knows the figures at any time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({ min: fc.nat({ max: 2 }), max: fc.integer({ min: 2, max: 4 }) }),
        fc.array(step, { maxLength: 40 }),
        async (limits, steps) => {
          const counts = { active: 0, idle: 0, connecting: 0, uses: 0, waiting: 0, failed: 0 }
          const times = { acquire: 0, connect: 0 }
          const { made, create } = fakes(false)
          const target = new ConnectionPool({
            host: 'h',
            create,
            ...limits,
            maxUsesPerConnection: 1,
            observe: {
              poolCounted: (_, what, by) => void (counts[what] += by),
              poolTimed: (_, what) => void times[what]++,
            },
          })
          const leases: Lease[] = []
          const waiting: Promise<unknown>[] = []
          for (const { do: action, index: at } of steps) {
            const member = made[at % Math.max(1, made.length)]
            if (action === 'acquire')
              waiting.push(
                target.acquire({ timeoutMs: 1000 }).then(
                  (lease) => leases.push(lease),
                  () => {},
                ),
              )
            else if (action === 'release') leases.splice(at % Math.max(1, leases.length), 1)[0]?.release()
            else if (action === 'wait') await vi.advanceTimersByTimeAsync(at)
            else if (member && !member.closed) {
              if (action === 'arrive' && member.state === 'connecting') member.arrive()
              if (action === 'refuse' && member.state === 'connecting') member.refuse()
              if (action === 'deny' && member.state === 'connecting') member.refuse(denied())
              if (action === 'lose' && member.state === 'connected') member.become('reconnecting', down())
              if (action === 'restore' && member.state === 'reconnecting') member.become('connected')
            }
            await settle()
            const { total, usesTotal, acquire, connect, ...figures } = target.metrics()
            expect(figures).toEqual(counts)
            expect(total).toBe(counts.active + counts.idle + counts.connecting)
            expect([acquire.count, connect.count]).toEqual([times.acquire, times.connect])
            expect(usesTotal).toBe(times.acquire)
          }
          await target.close()
          await Promise.all(waiting)
          for (const lease of leases) lease.release()
          expect({ ...counts, failed: 0 }).toEqual({
            active: 0,
            idle: 0,
            connecting: 0,
            uses: 0,
            waiting: 0,
            failed: 0,
          })
        },
      ),
    )
  })
})
