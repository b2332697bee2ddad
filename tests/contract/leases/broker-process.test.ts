import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil, sleep } from '../../../framework/core/index.ts'
import {
  BrokerClient,
  isBrokerAlive,
  stopBroker,
  sweep,
  type LastWill,
  type Lease,
  type LeaseRequest,
} from '../../../framework/leases/index.ts'
import { FakeProvider, type FakeConfig } from '../../unit/leases/fake-provider.ts'

const PROVIDER = new URL('../../unit/leases/fake-provider.ts', import.meta.url).href
const CLIENT = fileURLToPath(new URL('client-process.ts', import.meta.url))

let dir: string
let stateDir: string
let config: FakeConfig
let provider: FakeProvider
const children: ChildProcess[] = []
const clients: BrokerClient[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'atp-lease-'))
  stateDir = join(dir, 'state')
  configure()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await stopBroker(stateDir)
  const left = provider.read().filter((vm) => vm.owner.run !== 'foreign')
  rmSync(dir, { recursive: true })
  expect(left).toEqual([])
})

function configure(more: Partial<FakeConfig> = {}): void {
  const host = (id: string) => ({ id, uri: `qemu+${id}:///session`, capacity: 2, labels: [] })
  config = { dir: join(dir, 'hypervisors'), hosts: [host('a'), host('b')], createMs: 5, destroyMs: 5, ...more }
  provider = new FakeProvider(config)
}
const options = (run = 'r', kind: 'run' | 'worker' | 'cli' = 'worker', idleMs = 30_000) => ({
  stateDir,
  run,
  kind,
  start: { provider: PROVIDER, config, idleMs },
  timeoutMs: 20_000,
})
async function connect(...how: Parameters<typeof options>): Promise<BrokerClient> {
  const client = await BrokerClient.connect(options(...how))
  clients.push(client)
  return client
}
const ask = (count = 1, name?: string): LeaseRequest => ({
  holder: 'a test',
  vms: Array.from({ length: count }, () => (name === undefined ? {} : { name })),
})
const soon = (what: string, timeoutMs: number, condition: () => boolean) =>
  pollUntil(what, { timeoutMs, intervalMs: 5, maxIntervalMs: 20 }, async () => condition() || undefined)

/** Starts a client process; resolves when it holds its leases. */
async function clientProcess(kind: 'run' | 'worker', run: string, requests: LeaseRequest[], wills: LastWill[] = []) {
  const child = spawn(process.execPath, [CLIENT, JSON.stringify({ connect: options(run, kind), requests, wills })], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () =>
    JSON.parse((await lines.next()).value as string) as { broker: number; leases: Lease[]; lost?: string }
  return { child, next, ...(await next()) }
}

describe('starting', () => {
  it('gives clients that come at the same time one broker', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => clientProcess('worker', 'r', [])))
    expect(new Set(all.map((one) => one.broker)).size).toBe(1)
    expect(isBrokerAlive(all[0]?.broker as number)).toBe(true)
  })

  it('keeps socket and directory to the user', async () => {
    await connect()
    expect(statSync(stateDir).mode & 0o777).toBe(0o700)
    expect(statSync(join(stateDir, 'broker.sock')).mode & 0o777).toBe(0o600)
  })

  it('leads to a session of its own', async () => {
    const { pid } = await connect()
    // proc(5): pid (comm) state ppid pgrp session
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) as string
    const session = fields.split(' ')[3]
    expect(Number(session)).toBe(pid)
  })

  it('needs somebody who says how', async () => {
    const { start: _start, ...rest } = options()
    await expect(BrokerClient.connect(rest)).rejects.toMatchObject({ code: 'ATP_BROKER_ABSENT' })
  })

  it('is refused where the socket’s path would be too long', async () => {
    await expect(BrokerClient.connect({ ...options(), stateDir: join(dir, 'x'.repeat(100)) })).rejects.toMatchObject({
      code: 'ATP_BROKER_STATE_DIR',
      message: expect.stringContaining('Linux allows 107'),
    })
  })

  it('tells each client why the provider failed, with its code', async () => {
    configure({ down: 'libvirtd is not installed' })
    await expect(connect()).rejects.toMatchObject({ message: expect.stringContaining('libvirtd is not installed') })
    await expect(
      BrokerClient.connect({ ...options(), start: { provider: 'file:///nowhere.ts' } }),
    ).rejects.toMatchObject({ code: 'ATP_BROKER_PROVIDER' })
  })

  it('tells why the process itself failed, with its log', async () => {
    const bad = { ...options(), start: { ...options().start, idleMs: 'soon' as never } }
    await expect(BrokerClient.connect(bad)).rejects.toMatchObject({
      code: 'ATP_BROKER_START',
      message: expect.stringContaining('--idle-ms'),
    })
  })

  it('replaces a broker of another configuration once nobody uses it', async () => {
    const first = await connect()
    const before = config
    configure({ createMs: 6 })
    await expect(connect()).rejects.toMatchObject({
      code: 'ATP_BROKER_VERSION',
      message: expect.stringContaining('atp lab down'),
    })
    first.close()
    await pollUntil('a new broker', { timeoutMs: 10_000 }, async () => connect())
    expect(clients.at(-1)?.pid).not.toBe(first.pid)
    config = before
  })

  it('serves locks and attached VMs without a provider', async () => {
    const client = await BrokerClient.connect({ ...options(), start: {} })
    clients.push(client)
    const granted = await client.lease({ holder: 't', vms: [{ name: 'win', host: 'h', ownership: 'attached' }] })
    expect(granted.vms).toMatchObject([{ name: 'win', uuid: '', host: { id: 'h' } }])
    await expect(client.lease(ask())).rejects.toMatchObject({ code: 'ATP_LEASE_IMPOSSIBLE' })
  })

  it('is waited for while it has no VMs of its own and others hold its locks', async () => {
    const locker = await BrokerClient.connect({ ...options(), start: {} })
    clients.push(locker)
    let connected = false
    const waiting = connect().then((client) => {
      connected = true
      return client
    })
    await sleep(300)
    expect(connected).toBe(false)
    locker.close()
    expect((await waiting).hosts.length).toBeGreaterThan(0)
  })

  it('serves those who need no provider by any broker', async () => {
    const client = await connect()
    const other = await BrokerClient.connect({ ...options(), start: {} })
    clients.push(other)
    expect(other.pid).toBe(client.pid)
  })
})

describe('a client', () => {
  it('that is killed loses its VMs within 2 s', async () => {
    const { child } = await clientProcess('worker', 'r', [ask(2)])
    expect(provider.read()).toHaveLength(2)
    child.kill('SIGKILL')
    await soon('the VMs to go', 2000, () => provider.read().length === 0)
  })

  it('loses them also when its whole process group is killed, the broker having been its child', async () => {
    const { child, broker } = await clientProcess('run', 'r', [ask(2)])
    process.kill(-(child.pid as number), 'SIGKILL')
    await soon('the VMs to go', 2000, () => provider.read().length === 0)
    expect(isBrokerAlive(broker)).toBe(true)
  })

  it('that is killed while its VMs are being made leaves none', async () => {
    configure({ createMs: 300 })
    const watcher = await connect('other')
    const child = spawn(process.execPath, [CLIENT, JSON.stringify({ connect: options(), requests: [ask(4)] })], {
      stdio: 'ignore',
    })
    children.push(child)
    await soon('the making to begin', 5000, () => provider.read().length > 0)
    child.kill('SIGKILL')
    await pollUntil('the VMs to go', { timeoutMs: 2000 }, async () =>
      (await watcher.status()).vms.length === 0 ? true : undefined,
    )
    expect(provider.read()).toEqual([])
  })

  it('of kind run takes its workers’ VMs along when it is killed', async () => {
    const owner = await clientProcess('run', 'r', [])
    const worker = await clientProcess('worker', 'r', [ask(1)])
    const other = await clientProcess('worker', 'other', [ask(1)])
    owner.child.kill('SIGKILL')
    await soon('the worker’s VM to go', 2000, () => provider.read().length === 1)
    expect(provider.read()[0]?.name).toBe(other.leases[0]?.vms[0]?.name)
    expect(worker.child.exitCode).toBeNull()
  })

  it('that sends nonsense is dropped; the others do not notice', async () => {
    const client = await connect()
    const { id } = await client.lease(ask())
    for (const nonsense of [
      'GET / HTTP/1.1\r\n\r\n',
      '{"id":1,"verb":"lease"}\n',
      '{"id":1,"verb":"status"}\n',
      'x'.repeat(2 * 1024 * 1024),
    ]) {
      const socket = connectSocket(join(stateDir, 'broker.sock'))
      socket.on('error', () => {})
      socket.write(nonsense)
      await new Promise((resolve) => socket.once('close', resolve))
    }
    expect((await client.status()).vms).toMatchObject([{ lease: id }])
  })

  it('hears in time: abort, deadline, broker’s refusal', async () => {
    const client = await connect()
    await client.lease(ask(1, 'vm-001'))
    const abort = new AbortController()
    const given = client.lease(ask(1, 'vm-001'), { signal: abort.signal })
    abort.abort()
    await expect(given).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    await expect(client.lease(ask(1, 'vm-001'), { timeoutMs: 30 })).rejects.toMatchObject({ code: 'ATP_LEASE_TIMEOUT' })
    await expect(client.lease(ask(5))).rejects.toMatchObject({
      code: 'ATP_LEASE_IMPOSSIBLE',
      branch: 'config',
      remedy: expect.stringContaining('hosts: a'),
    })
    expect((await client.status()).waiting).toEqual([])
  })

  it('waits for a named VM in the order of asking', async () => {
    const order: number[] = []
    const first = await connect()
    const held = await first.lease(ask(1, 'vm-001'))
    const waiting = []
    for (const index of [1, 2, 3]) {
      const client = await connect()
      waiting.push(
        client.lease(ask(1, 'vm-001')).then(async ({ id }) => {
          order.push(index)
          await client.release(id)
        }),
      )
      await pollUntil('it to wait', { timeoutMs: 2000 }, async () =>
        (await first.status()).waiting.length === index ? true : undefined,
      )
    }
    await first.release(held.id)
    await Promise.all(waiting)
    expect(order).toEqual([1, 2, 3])
    expect(await first.drain('r')).toBe(0)
  })
})

describe('fifty clients', () => {
  it('share four VMs without exceeding any host, and leave nothing', async () => {
    const owner = await connect('r', 'run')
    const workers = await Promise.all(Array.from({ length: 50 }, () => connect()))
    await Promise.all(
      workers.map(async (client, index) => {
        const { id, vms } = await client.lease(ask(1 + (index % 3)), { timeoutMs: 20_000 })
        expect(new Set(vms.map((vm) => vm.uuid)).size).toBe(1 + (index % 3))
        if (index % 2) await client.release(id)
        else client.close()
      }),
    )
    // What a closed connection held is given back as soon as the broker hears of its end.
    await pollUntil('the end of all leases', { timeoutMs: 5000 }, async () =>
      (await owner.status()).vms.some((vm) => vm.state === 'leased') ? undefined : true,
    )
    expect(await owner.drain('r')).toBe(0)
    expect(provider.read()).toEqual([])
    const count = new Map<string, number>()
    for (const { event, host } of provider.events()) {
      if (event === 'create') count.set(host, (count.get(host) ?? 0) + 1)
      if (event === 'destroyed') count.set(host, (count.get(host) ?? 0) - 1)
      expect(count.get(host) ?? 0).toBeLessThanOrEqual(2)
    }
    expect(provider.events().filter(({ event }) => event === 'created')).toHaveLength(99)
  })
})

describe('a broker', () => {
  it('that is killed is noticed, and the next one removes its VMs', async () => {
    const { broker, next } = await clientProcess('worker', 'r', [ask(2)])
    const foreign = { run: 'foreign', lease: '', pid: broker, expires: Date.now() + 60_000 }
    process.kill(broker, 'SIGKILL')
    expect(await next()).toEqual({ lost: 'ATP_BROKER_LOST' })
    expect(provider.read()).toHaveLength(2)
    const client = await connect()
    expect(provider.read()).toEqual([])
    expect((await client.sweep()).removed).toHaveLength(2)
    // A living broker's VMs stay, of whatever state directory it is.
    await provider.create({ host: 'a', name: 'vm-090', owner: { ...foreign, pid: client.pid } })
    expect((await sweep(provider)).removed).toEqual([])
    expect((await client.sweep()).removed.map((vm) => vm.name)).toEqual(['vm-090'])
  })

  it('that is killed rejects what its clients wait for', async () => {
    const client = await connect()
    await client.lease(ask(4))
    const waiting = client.lease(ask(1))
    process.kill(client.pid, 'SIGKILL')
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_BROKER_LOST', verdict: 'infrastructure' })
    await expect(client.status()).rejects.toMatchObject({ code: 'ATP_BROKER_LOST' })
    await connect()
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('destroys everything on %s and tells its clients', async (signal) => {
    const client = await connect()
    await client.lease(ask(2))
    const waiting = client.lease(ask(4))
    process.kill(client.pid, signal)
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_BROKER_CLOSING' })
    await soon('its end', 5000, () => !isBrokerAlive(client.pid))
    expect(provider.read()).toEqual([])
  })

  it('ends when nobody needs it, and the next client gets a new one', async () => {
    const client = await connect('r', 'worker', 50)
    await client.lease(ask(1))
    client.close()
    await soon('its end', 5000, () => !isBrokerAlive(client.pid))
    expect(provider.read()).toEqual([])
    const next = await connect('r', 'worker', 50)
    expect(next.pid).not.toBe(client.pid)
  })

  it('ends after a client that never said anything, too', async () => {
    const client = await connect('r', 'worker', 50)
    const silent = connectSocket(join(stateDir, 'broker.sock'))
    await new Promise((resolve) => silent.once('connect', resolve))
    client.close()
    await expect(soon('its end', 300, () => !isBrokerAlive(client.pid))).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    silent.destroy()
    await soon('its end', 5000, () => !isBrokerAlive(client.pid))
  })

  it('stays for standbys, and its successor keeps them too until they are stopped', async () => {
    const client = await connect('up', 'cli', 50)
    await client.setStandbys({ ps2: 1 })
    client.close()
    await soon('the standbys', 5000, () => provider.read().length === 2)
    process.kill(client.pid, 'SIGKILL')
    await soon('its end', 5000, () => !isBrokerAlive(client.pid))
    const next = await connect('r', 'worker', 50)
    expect((await next.sweep()).removed).toHaveLength(2)
    await pollUntil('new standbys', { timeoutMs: 5000 }, async () =>
      (await next.status()).vms.filter((vm) => vm.state === 'standby').length === 2 ? true : undefined,
    )
    await next.stopStandbys()
    next.close()
    await soon('its end', 5000, () => !isBrokerAlive(next.pid))
    expect(provider.read()).toEqual([])
  })

  it('that is stopped forgets its standbys', async () => {
    const client = await connect('up', 'cli')
    await client.setStandbys({ ps2: 1 })
    await soon('the standbys', 5000, () => provider.read().length === 2)
    expect(await stopBroker(stateDir)).toBe(true)
    expect(provider.read()).toEqual([])
    expect(await stopBroker(stateDir)).toBe(false)
    expect((await (await connect()).status()).standbys).toEqual({})
  })

  it('of another version is not used', async () => {
    const client = await connect()
    const socket = connectSocket(join(stateDir, 'broker.sock'))
    socket.write(
      `${JSON.stringify({ id: 1, verb: 'hello', protocol: 1, version: '0.0.1', run: 'r', kind: 'cli', pid: process.pid })}\n`,
    )
    const { value: line } = (await createInterface({ input: socket })[Symbol.asyncIterator]().next()) as {
      value: string
    }
    expect(JSON.parse(line)).toMatchObject({
      id: 1,
      error: { code: 'ATP_BROKER_VERSION', retryable: false, context: { pid: client.pid } },
    })
    socket.destroy()
  })

  it('survives settings that cannot be read', async () => {
    ;(await connect()).close()
    await stopBroker(stateDir)
    writeFileSync(join(stateDir, 'settings.json'), '{"standbys":')
    expect((await (await connect()).status()).standbys).toEqual({})
  })
})

describe('a last will', () => {
  const removal = (name: string) => {
    const path = join(dir, name)
    writeFileSync(path, '')
    return { what: name, module: new URL('remove-file.ts', import.meta.url).href, data: path }
  }
  const exists = (name: string) => existsSync(join(dir, name))

  it('is carried out when its maker is killed, and not when it was withdrawn', async () => {
    const { child } = await clientProcess('worker', 'r', [], [removal('pool')])
    const other = await connect()
    const withdraw = await other.will(removal('kept'))
    await withdraw()
    other.close()
    child.kill('SIGKILL')
    await soon('the clean-up', 10_000, () => !exists('pool'))
    expect(exists('kept')).toBe(true)
  })

  it('of a whole run is carried out when the run is killed, and counted when it is drained', async () => {
    const owner = await clientProcess('run', 'r', [])
    const worker = await connect('r')
    await worker.will(removal('pool'))
    owner.child.kill('SIGKILL')
    await soon('the clean-up', 10_000, () => !exists('pool'))
    await worker.will(removal('late'))
    expect(await worker.drain('r')).toBe(1)
    expect(exists('late')).toBe(false)
  })

  it('that cannot be carried out keeps nobody', async () => {
    const client = await connect()
    await client.will({ what: 'nothing', module: 'file:///nowhere/at-all.ts', data: null })
    expect(await client.drain('r')).toBe(1)
    expect((await client.status()).clients).toHaveLength(1)
  })

  it('keeps a broker until it is carried out', async () => {
    const client = await connect()
    await client.will(removal('pool'))
    await stopBroker(stateDir)
    expect(exists('pool')).toBe(false)
  })
})
