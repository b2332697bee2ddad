import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { configureLogging, pollUntil } from '../../../framework/core/index.ts'
import type { HostObserver, ObservedLink } from '../../../framework/hosts/index.ts'
import { MetricsRelay, type RelayAddress } from '../../../framework/metrics/relay-client.ts'
import { parseRecords, relayFrame, replay, type RelayRecord } from '../../../framework/metrics/relay-record.ts'
import { RelayServer } from '../../../framework/metrics/relay-server.ts'

class Told implements HostObserver {
  readonly events: unknown[][] = []
  linkOpened(link: ObservedLink, how: unknown): void {
    this.events.push(['opened', link.host, link.role, how])
  }
  linkClosed(link: ObservedLink, reason: Error | undefined): void {
    this.events.push(['closed', link.host, link.role, reason !== undefined])
  }
  stateChanged({ host, from, to }: { host: string; from: string; to: string }): void {
    this.events.push(['state', host, from, to])
  }
  callSettled(link: ObservedLink, call: unknown): void {
    this.events.push(['call', link.host, link.role, call])
  }
  poolCounted(host: string, what: string, by: number): void {
    this.events.push(['pool', host, what, by])
  }
  poolTimed(host: string, what: string, durationMs: number): void {
    this.events.push([what, host, durationMs])
  }
}

const newAddress = (): RelayAddress => ({
  path: `\0atp-test-${randomBytes(8).toString('hex')}`,
  key: randomBytes(16).toString('hex'),
})
const CONTROL = { host: 'lab-1', role: 'control' } as const
const CALL = { operation: 'monitor-command', outcome: 'ok', durationMs: 1.5, queuedMs: 0.25 } as const

async function pair() {
  const told = new Told()
  const address = newAddress()
  const server = await RelayServer.listen(address, async () => told)
  onTestFinished(() => server.close())
  const until = (count: number) =>
    pollUntil('events', { timeoutMs: 5000, intervalMs: 1 }, async () => told.events[count - 1] && told.events)
  return { told, address, server, until }
}

const logged: string[] = []
async function captureLog(): Promise<void> {
  logged.length = 0
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => logged.push(String(chunk)) > 0)
  await configureLogging('warning')
}
afterEach(() => vi.restoreAllMocks())

describe('the relay', () => {
  it('tells the main process what a worker’s observer was told', async () => {
    const { address, until } = await pair()
    const relay = new MetricsRelay(address)
    relay.stateChanged({ host: 'lab-1', from: 'disconnected', to: 'connecting' })
    relay.linkOpened(CONTROL, { durationMs: 12.3456789, reconnect: true })
    relay.callSettled(CONTROL, CALL)
    relay.poolCounted('lab-1', 'idle', -1)
    relay.poolTimed('lab-1', 'acquire', 0.0004)
    relay.linkClosed(CONTROL, new Error('lost'))
    relay.stateChanged({ host: 'lab-1', from: 'connecting', to: 'disconnected' })
    await relay.flush()
    expect(await until(7)).toEqual([
      ['state', 'lab-1', 'disconnected', 'connecting'],
      ['opened', 'lab-1', 'control', { durationMs: 12.346, reconnect: true }],
      ['call', 'lab-1', 'control', CALL],
      ['pool', 'lab-1', 'idle', -1],
      ['acquire', 'lab-1', 0],
      ['closed', 'lab-1', 'control', true],
      ['state', 'lab-1', 'connecting', 'disconnected'],
    ])
  })

  it('passes thousands of calls on, without a flush and in order', async () => {
    const { address, until } = await pair()
    const relay = new MetricsRelay(address)
    for (let index = 0; index < 5003; index++) relay.callSettled(CONTROL, { ...CALL, durationMs: index })
    const events = await until(5003)
    expect(events.map(([, , , call]) => (call as { durationMs: number }).durationMs)).toEqual(
      Array.from({ length: 5003 }, (_, index) => index),
    )
  })

  it('ends what a worker had open when it is gone', async () => {
    const { address, until, told } = await pair()
    const stays = new MetricsRelay(address)
    stays.linkOpened({ host: 'lab-2', role: 'control' }, { durationMs: 1, reconnect: false })
    await stays.flush()
    await until(1)
    // A process that is killed mid-frame.
    const socket = connect(address.path)
    socket.write(relayFrame(address.key))
    const records: RelayRecord[] = [
      ['state', 'lab-1', 'disconnected', 'connecting'],
      ['state', 'lab-1', 'connecting', 'connected'],
      ['opened', 'lab-1', 'control', 1, false],
      ['opened', 'lab-1', 'calls', 1, false],
      ['opened', 'lab-1', 'calls', 1, false],
      ['closed', 'lab-1', 'calls', false],
      ['pool', 'lab-1', 'idle', 1],
      ['pool', 'lab-1', 'idle', -1],
      ['pool', 'lab-1', 'active', 1],
      ['pool', 'lab-1', 'uses', 3],
      ['pool', 'lab-1', 'failed', 2],
      ['acquire', 'lab-1', 7],
    ]
    socket.write(relayFrame(JSON.stringify(records)))
    socket.write(relayFrame(JSON.stringify(records)).subarray(0, 20))
    await until(13)
    socket.destroy()
    expect((await until(18)).slice(13)).toEqual([
      ['closed', 'lab-1', 'control', false],
      ['closed', 'lab-1', 'calls', false],
      ['state', 'lab-1', 'connected', 'disconnected'],
      ['pool', 'lab-1', 'active', -1],
      ['pool', 'lab-1', 'uses', -3],
    ])
    expect(told.events).toHaveLength(18)
  })

  it('refuses who does not know the key, and who says what is no record', async () => {
    await captureLog()
    const { address, told } = await pair()
    const good = relayFrame(JSON.stringify([['state', 'h', 'disconnected', 'connected']]))
    for (const bytes of [
      Buffer.concat([relayFrame('wrong'), good]),
      good,
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.concat([relayFrame(address.key), relayFrame('[["state","h","disconnected"]]')]),
      Buffer.concat([relayFrame(address.key), relayFrame('not json')]),
      Buffer.concat([relayFrame(address.key), Buffer.from([0x7f, 0xff, 0xff, 0xff])]),
    ]) {
      const socket = connect(address.path)
      socket.on('error', () => {})
      socket.write(bytes)
      await new Promise((closed) => socket.on('close', closed))
    }
    expect(told.events).toEqual([])
    expect(logged.filter((line) => line.includes('are refused'))).toHaveLength(6)
    expect(logged.join('')).not.toContain(address.key)
  })

  it('keeps figures back until there is somebody to be told', async () => {
    const told = new Told()
    const address = newAddress()
    const { promise, resolve } = Promise.withResolvers<HostObserver>()
    const server = await RelayServer.listen(address, () => promise)
    onTestFinished(() => server.close())
    const relay = new MetricsRelay(address)
    for (let index = 0; index < 2000; index++) relay.callSettled(CONTROL, CALL)
    await relay.flush()
    expect(told.events).toEqual([])
    resolve(told)
    await pollUntil('events', { timeoutMs: 5000, intervalMs: 1 }, async () => told.events[1999])
    expect(told.events).toHaveLength(2000)
  })

  it('says when the figures cannot be taken', async () => {
    await captureLog()
    const address = newAddress()
    const server = await RelayServer.listen(address, () => Promise.reject(new Error('nobody')))
    onTestFinished(() => server.close())
    const relay = new MetricsRelay(address)
    relay.callSettled(CONTROL, CALL)
    await relay.flush()
    await pollUntil('both warnings', { timeoutMs: 2000 }, async () => logged[1])
    expect(logged.join('')).toMatch(/refused: nobody/)
    expect(logged.join('')).toMatch(/missing from the metrics/)
  })

  it('does not connect before there are figures', async () => {
    const { address, server, told } = await pair()
    await new MetricsRelay(address).flush()
    expect(server.connections).toBe(0)
    expect(told.events).toEqual([])
  })

  it('never disturbs a worker whose main process is gone or does not read', async () => {
    await captureLog()
    const orphan = new MetricsRelay(newAddress())
    orphan.callSettled(CONTROL, CALL)
    await orphan.flush()
    await pollUntil('the warning', { timeoutMs: 2000 }, async () => logged[0])
    orphan.callSettled(CONTROL, CALL)
    await orphan.flush()
    expect(logged).toEqual([expect.stringMatching(/metrics: figures of this worker are missing .*ECONNREFUSED/)])

    const { path, key } = newAddress()
    const deaf = createServer({ pauseOnConnect: true }).listen(path)
    await once(deaf, 'listening')
    onTestFinished(() => void deaf.close())
    const relay = new MetricsRelay({ path, key })
    for (let index = 0; index < 120_000; index++) relay.callSettled(CONTROL, CALL)
    await relay.flush()
    expect(logged[1]).toMatch(/does not read/)
    expect(logged).toHaveLength(2)
  })
})

describe('records', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 })
  const role = fc.constantFrom('control' as const, 'calls' as const, 'channels' as const)
  const ms = fc.double({ min: 0, max: 1e6, noNaN: true })
  const outcome = fc.constantFrom('ok' as const, 'error' as const, 'timeout' as const, 'closed' as const)
  const record = fc.oneof(
    fc.tuple(fc.constant('opened' as const), text, role, ms, fc.boolean()),
    fc.tuple(fc.constant('closed' as const), text, role, fc.boolean()),
    fc.tuple(fc.constant('state' as const), text, text, text),
    fc.tuple(fc.constant('call' as const), text, role, text, outcome, ms, ms),
    fc.tuple(fc.constant('pool' as const), text, fc.constantFrom('idle', 'uses', 'failed'), fc.integer()),
    fc.tuple(fc.constantFrom('acquire' as const, 'connect' as const), text, ms),
  ) as fc.Arbitrary<RelayRecord>

  it('survive the way', () => {
    fc.assert(
      fc.property(fc.array(record), (records) => {
        const read = parseRecords(relayFrame(JSON.stringify(records)).subarray(4).toString())
        const [before, after] = [new Told(), new Told()]
        for (const one of records) replay(one, before)
        for (const one of read) replay(one, after)
        expect(after.events).toEqual(before.events)
      }),
    )
  })

  it('of any other form are refused', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!(Array.isArray(value) && value.length === 0))
        expect(() => parseRecords(JSON.stringify([value]))).toThrow(/the figures of a worker/)
      }),
    )
    for (const bad of [
      '{}',
      '[["constructor"]]',
      '[["call","h","calls","x","ok",1]]',
      '[["call","h","calls","x","ok",1,"2"]]',
    ])
      expect(() => parseRecords(bad)).toThrow(/the figures of a worker/)
  })
})
