import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import {
  hostInfo,
  HostsWatch,
  TransportManager,
  type HostConnection,
  type HostInfo,
  type HostSettings,
} from '../../../framework/hosts/index.ts'
import { missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'

const missing = missingPart()
if (missing) console.warn(`transport manager tests are skipped: ${missing}`)

const IDS = ['a', 'b', 'c'] as const
type Id = (typeof IDS)[number]

/** The names of the host's VMs: each has one of its own. */
const list = async (connection: HostConnection, signal: AbortSignal) =>
  (await (await connection.client('control', { signal })).listDomains({ signal })).map(({ name }) => name)

describe.skipIf(missing)('a manager of three hosts', () => {
  const daemons = {} as Record<Id, PrivateDaemon>
  const hosts = {} as Record<Id, HostInfo>
  let manager: TransportManager

  beforeAll(async () => {
    for (const id of IDS) {
      daemons[id] = await PrivateDaemon.start()
      hosts[id] = hostInfo({ id, uri: `qemu+unix:///session?socket=${daemons[id].socketPath}` })
      daemons[id].virsh('define', daemons[id].file('vm.xml', tinyDomain(`虚拟机-${id}`)))
    }
  })
  afterAll(async () => {
    for (const daemon of Object.values(daemons)) await daemon.stop()
  })
  afterEach(async () => manager?.close())

  const manage = (settings: Partial<HostSettings> = {}, ids: readonly Id[] = IDS) => {
    manager = new TransportManager({ drainTimeoutMs: 2000 })
    for (const id of ids) manager.addHost({ ...hosts[id], ...settings })
    return manager
  }

  it('runs a task on all of them, and one that fails hides no other', async () => {
    manage()
    const failing = async (connection: HostConnection, signal: AbortSignal) => {
      const names = await list(connection, signal)
      if (connection.id === 'b') throw new Error('b fails')
      return names
    }
    expect(await manager.executeOnHosts(['c', 'b', 'a'], failing)).toEqual([
      { host: 'c', status: 'fulfilled', value: ['虚拟机-c'] },
      { host: 'b', status: 'rejected', error: new Error('b fails') },
      { host: 'a', status: 'fulfilled', value: ['虚拟机-a'] },
    ])
    const { hosts: each, total } = manager.statistics()
    expect(each.map(({ host, tasks, calls }) => [host, tasks.tasks, tasks.errors, calls.operations])).toEqual([
      ['a', 1, 0, expect.objectContaining({ 'connect-list-all-domains': expect.objectContaining({ calls: 1 }) })],
      ['b', 1, 1, expect.anything()],
      ['c', 1, 0, expect.anything()],
    ])
    expect(total).toMatchObject({
      hosts: 3,
      connections: { total: 3, idle: 3, failed: 0 },
      tasks: { tasks: 3, errors: 1 },
    })
    expect(total.calls.errors).toBe(0)
    expect(total.calls.meanMs).toBeGreaterThan(0)
  })

  it('hands out connections, more of them under load, and closes them when they are idle', async () => {
    manage({ pool: { max: 3, maxUsesPerConnection: 2, idleTimeoutMs: 300 } }, ['a'])
    const figures = () => manager.statistics().hosts[0]!.connections
    const leases = [await manager.getLibvirtConnection('a')]
    for (const total of [1, 2, 2, 3, 3, 3]) {
      leases.push(await manager.getLibvirtConnection('a'))
      await pollUntil('the growth', { timeoutMs: 10_000 }, async () => {
        const { total: there, connecting } = figures()
        return (there === total && connecting === 0) || undefined
      })
    }
    expect(new Set(leases.map((lease) => lease.connection)).size).toBe(3)
    expect(figures()).toMatchObject({ total: 3, active: 3, uses: 7 })
    expect(await list(leases.at(-1)!.connection, AbortSignal.timeout(5000))).toEqual(['虚拟机-a'])
    for (const lease of leases) lease.release()
    await pollUntil('the shrinking', { timeoutMs: 10_000 }, async () => figures().total === 1 || undefined)
    expect(figures()).toMatchObject({ total: 1, idle: 1, failed: 0 })
  })

  it('a connection that dies under tasks costs none of them its result', async () => {
    manage({ pool: { min: 3, max: 3 } }, ['a'])
    await pollUntil('the connections', { timeoutMs: 20_000 }, async () => {
      return manager.statistics().hosts[0]!.connections.idle === 3 || undefined
    })
    const victim = await manager.getLibvirtConnection('a')
    const client = await victim.connection.client('control')
    const runs: string[][] = []
    const tasks = Array.from({ length: 30 }, (_, index) =>
      manager.executeOnHost(
        'a',
        async (connection, signal) => {
          ;(runs[index] ??= []).push(connection === victim.connection ? 'victim' : 'other')
          let names: string[] = []
          for (let round = 0; round < 20; round++) names = await list(connection, signal)
          return names
        },
        { idempotent: true },
      ),
    )
    await pollUntil('calls under way', { timeoutMs: 5000, intervalMs: 1 }, async () => {
      return manager.statistics().total.calls.calls > 60 || undefined
    })
    client.drop(new Error('cut by the test'))
    expect(await Promise.all(tasks)).toEqual(tasks.map(() => ['虚拟机-a']))
    const rerun = runs.filter((tried) => tried.length > 1)
    expect(rerun.length, 'calls were under way on it').toBeGreaterThan(0)
    for (const tried of rerun) expect(tried).toEqual(['victim', 'other'])
    victim.release()
    expect(manager.statistics().total.connections).toMatchObject({ uses: 0 })
  })

  it('a host that dies fails alone, others stand in for it, and it is used again when it is back', async () => {
    manage()
    await manager.executeOnHosts(IDS, list)
    await daemons.b.kill('SIGKILL')
    try {
      const outcomes = await manager.executeOnHosts(IDS, list, { timeoutMs: 1500 })
      expect(outcomes.map(({ host, status }) => `${host} ${status}`)).toEqual([
        'a fulfilled',
        'b rejected',
        'c fulfilled',
      ])
      const [, lost] = outcomes
      expect(lost).toMatchObject({ error: { verdict: 'infrastructure' } })
      const standIn = await manager.executeOnAny(['b', 'c'], list, { idempotent: true, timeoutMs: 20_000 })
      expect(standIn).toEqual({ host: 'c', value: ['虚拟机-c'] })
      const waiting = manager.executeOnHost('b', list, { timeoutMs: 60_000 })
      await daemons.b.launch()
      expect(await waiting).toEqual(['虚拟机-b'])
      const { connections } = manager.statistics().hosts[1]!
      expect(connections, 'its connection came back or was replaced').toMatchObject({ uses: 0, waiting: 0 })
    } finally {
      if (!isAlive(daemons.b.pid)) await daemons.b.launch()
    }
  })

  it('a host that is down at first is reached when it is up', async () => {
    await daemons.c.kill('SIGKILL')
    try {
      manage()
      await expect(manager.executeOnHost('c', list)).rejects.toMatchObject({
        code: 'ATP_POOL_UNAVAILABLE',
        message: expect.stringContaining('host "c" in 4 attempts'),
        cause: { code: 'ATP_TRANSPORT_CONNECT' },
      })
      expect(await manager.executeOnHost('a', list)).toEqual(['虚拟机-a'])
    } finally {
      await daemons.c.launch()
    }
    expect(await manager.executeOnHost('c', list)).toEqual(['虚拟机-c'])
  })

  it('follows a file of hosts', async () => {
    const folder = mkdtempSync('/tmp/atp-hosts-')
    const file = `${folder}/hosts.json`
    const write = (text: string) => {
      writeFileSync(`${folder}/.new`, text)
      renameSync(`${folder}/.new`, file)
    }
    const errors: string[] = []
    manage({}, [])
    write(JSON.stringify([hosts.a, hosts.b]))
    const watch = await HostsWatch.start({
      path: file,
      load: () => JSON.parse(readFileSync(file, 'utf8')) as HostSettings[],
      apply: (loaded) => void manager.apply(loaded),
      onError: (error) => void errors.push((error as Error).message),
      intervalMs: 20,
    })
    const ids = (wanted: string) =>
      pollUntil(`hosts ${wanted}`, { timeoutMs: 5000 }, async () => {
        return (
          manager
            .hosts()
            .map(({ id }) => id)
            .toSorted()
            .join('') === wanted || undefined
        )
      })
    try {
      const lease = await manager.getLibvirtConnection('a')
      write(JSON.stringify([hosts.b, hosts.c]))
      await ids('bc')
      expect(await manager.executeOnHost('c', list)).toEqual(['虚拟机-c'])
      expect(await list(lease.connection, AbortSignal.timeout(5000)), 'a drains').toEqual(['虚拟机-a'])
      lease.release()
      write(JSON.stringify([hosts.b, hosts.b]))
      await pollUntil('the error', { timeoutMs: 5000 }, async () => errors.length > 0 || undefined)
      expect(errors).toEqual([expect.stringContaining('two hosts "b"')])
      await ids('bc')
      write(JSON.stringify([hosts.a]))
      await ids('a')
    } finally {
      await watch.close()
      rmSync(folder, { recursive: true })
    }
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
