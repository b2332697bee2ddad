/** What an agent does on every transport, against a server's end that speaks bare frames. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Agent, type InputSink, type InputSource, type Verifier } from '../../../guest/core/index.ts'
import { runAgent } from '../../../guest/agent/run.ts'
import { parseEndpoint } from '../../../guest/agent/transports/endpoint.ts'
import { MESSAGE_MAX_BYTES, type VerifierEvent } from '../../../guest/protocol/index.ts'
import { PageTransport } from '../../../guest/web/websocket-transport.ts'
import { sleep } from '../../../framework/core/index.ts'
import { LabCa } from '../../support/remote-host/index.ts'
import { Peer, WAYS, type ServerKeys } from './peer.ts'

let folder: string
let keys: ServerKeys
let ca: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'atp-guest-'))
  const authority = new LabCa(folder, 'guest tests')
  const server = authority.issue('server', { use: 'server', names: ['IP:127.0.0.1'] })
  keys = { key: readFileSync(server.key), cert: readFileSync(server.cert) }
  ca = readFileSync(authority.cert, 'utf8')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A source whose input a test makes. */
class Scripted implements InputSource {
  readonly device = 'keyboard'
  readonly sinks = new Set<InputSink>()

  async watch(sink: InputSink) {
    this.sinks.add(sink)
    return () => void this.sinks.delete(sink)
  }

  key(code: number, value: number, guestNs: bigint): void {
    for (const sink of this.sinks) sink.onInput({ kind: 'key', code, value, guestNs })
  }
}

/** Verifies what the test allows, when it allows it. */
class Gate implements Verifier {
  readonly verifierType = 'gate'
  readonly asked: string[] = []
  readonly #open = new Map<string, (details: object) => void>()

  verify({ event_id, action }: VerifierEvent) {
    this.asked.push(event_id)
    if (action === 'fail') throw new Error('as it was told to')
    if (action === 'nonsense') return Promise.resolve('yes' as never)
    return new Promise<{ verified: true; details: Record<string, unknown> }>((resolve) => {
      this.#open.set(event_id, (details) => resolve({ verified: true, details: { ...details } }))
    })
  }

  let(eventId: string, details: object = {}): void {
    this.#open.get(eventId)?.(details)
  }
}

/** The transport of the web verifier, over the same interface as browsers have. */
const BROWSER = "a browser's websocket"

/** As {@link runAgent} does it. */
async function runPage(agent: Agent, endpoint: string, autoReconnect: boolean, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const transport = new PageTransport({ onSent: () => {}, onReceived: () => {} })
    try {
      await transport.connect(endpoint, { signal })
      await agent.serve(transport, { signal })
      if (!autoReconnect) return
    } catch (error) {
      if (signal.aborted) return
      if (!autoReconnect) throw error
    }
    await sleep(10, signal).catch(() => {})
  }
}

describe.each([...WAYS, BROWSER] as const)('%s', (way) => {
  let peer: Peer
  let source: Scripted
  let gate: Gate
  let agent: Agent
  let ending: AbortController
  let running: Promise<void>

  const run = (autoReconnect: boolean) => {
    if (way === BROWSER) return runPage(agent, peer.endpoint, autoReconnect, ending.signal)
    return runAgent(agent, {
      endpoint: parseEndpoint(peer.endpoint, way === 'virtio-serial' ? way : undefined),
      tls: { ca },
      autoReconnect,
      reconnectIntervalMs: 10,
      signal: ending.signal,
    })
  }
  const event = (event_id: string, action = 'wait', timeout_ms = 5000): VerifierEvent => ({
    v: 1,
    event_id,
    type: 'gate',
    action,
    timestamp: 0,
    metadata: { timeout_ms },
  })

  beforeEach(async () => {
    peer = await Peer.listen(way === BROWSER ? 'websocket' : way, folder, keys)
    source = new Scripted()
    gate = new Gate()
    ending = new AbortController()
    let ids = 0
    agent = new Agent({
      identity: { vm_id: '虚拟机-7', session: 's1', agent: { version: '1', platform: 'linux' }, level: 'kernel' },
      token: 'the token',
      verifiers: [gate],
      sources: [source],
      readClock: () => ({ guest_ns: '1700000000000000001', error_ns: '20' }),
      newId: () => `assigned-${++ids}`,
    })
    running = run(true)
    running.catch(() => {})
  })
  afterEach(async () => {
    ending.abort()
    await running.catch(() => {})
    await agent.close()
    await peer.close()
  })

  it('says hello, is welcome, answers pings and questions for the time', async () => {
    const server = await peer.accept()
    expect(await server.welcome()).toEqual({
      v: 1,
      type: 'hello',
      vm_id: '虚拟机-7',
      token: 'the token',
      session: 's1',
      verifiers: ['gate'],
      agent: { version: '1', platform: 'linux' },
      level: 'kernel',
      reads_clock: true,
    })
    server.send({ v: 1, type: 'ping', nonce: 5 })
    server.send({ v: 1, type: 'time', nonce: 6 })
    expect((await server.nextOf('ping')).message).toEqual({ v: 1, type: 'pong', nonce: 5 })
    expect((await server.nextOf('time')).message).toMatchObject({
      nonce: 6,
      guest_ns: '1700000000000000001',
      error_ns: '20',
    })
  })

  it('gives each of many events one result, whatever becomes of the others', async () => {
    const server = await peer.accept()
    await server.welcome()
    const ids = Array.from({ length: 50 }, (_, index) => `e${index}`)
    server.send(event('slow'))
    server.send(event('broken', 'fail'))
    server.send(event('odd', 'nonsense'))
    server.send(event('late', 'wait', 30))
    server.send({ ...event('foreign'), type: 'nobody' })
    server.sendText('{"event_type":"gate","data":{"action":"fail"}}')
    server.sendText('{"event_type":"gate","event_id":"sick","data":[]}')
    for (const id of ids) server.send(event(id))
    // Asked twice, answered once.
    server.send(event('slow'))
    server.send({ v: 1, type: 'ping', nonce: 1 })
    const results = new Map<string, unknown>()
    const take = async () => {
      const { message } = await server.nextOf('result')
      expect(results.has(message.event_id), message.event_id).toBe(false)
      results.set(message.event_id, message.details['code'] ?? message.details['error'] ?? message.verified)
    }
    // Immediate failures come before the pong, which comes before what waits.
    const early: string[] = []
    for (let next = await server.next(); next.kind !== 'ping'; next = await server.next()) {
      if (next.kind === 'result') {
        early.push(next.message.event_id)
        results.set(next.message.event_id, next.message.details['code'] ?? next.message.details['error'])
      }
    }
    for (const id of ids.toReversed()) gate.let(id)
    while (results.size < ids.length + 6) await take()
    gate.let('slow', { text: '做完了' })
    expect((await server.nextOf('result')).message).toMatchObject({
      event_id: 'slow',
      verified: true,
      details: { text: '做完了' },
    })
    expect(Object.fromEntries([...results].filter(([id]) => !/^e\d/.test(id)))).toEqual({
      broken: 'as it was told to',
      odd: 'ATP_VERIFIER_PLUGIN',
      late: 'ATP_VERIFIER_TIMEOUT',
      foreign: 'ATP_VERIFIER_TYPE',
      'assigned-1': 'as it was told to',
      sick: 'ATP_VERIFIER_MESSAGE',
    })
    expect(ids.map((id) => results.get(id))).toEqual(ids.map(() => true))
    expect(server.waiting).toBe(0)
  })

  it('follows an action while it goes on', async () => {
    const server = await peer.accept()
    await server.welcome()
    const common = { v: 1, type: 'expect', event_id: 'x', device: 'keyboard' } as const
    source.key(1, 1, 1n)
    server.send({ ...common, add: [['key', 30, 1]], last: false })
    expect((await server.nextOf('seen')).message).toMatchObject({ event_id: 'x', seen: [], unexpected: 0 })
    source.key(30, 1, 11n)
    source.key(99, 1, 12n)
    expect((await server.nextOf('seen')).message.seen).toEqual([[0, '11']])
    server.send({ ...common, add: [['key', 30, 0]], last: true })
    expect((await server.nextOf('seen')).message).toMatchObject({ seen: [], unexpected: 1 })
    source.key(30, 0, 13n)
    expect((await server.nextOf('seen')).message.seen).toEqual([[1, '13']])
    for (const sink of source.sinks) sink.onGap('the device was pulled out')
    expect((await server.nextOf('gap')).message).toMatchObject({ event_id: 'x', reason: 'the device was pulled out' })
    server.send({ v: 1, type: 'release', event_id: 'x' })
    expect((await server.nextOf('result')).message).toMatchObject({
      event_id: 'x',
      verified: false,
      details: { expected: 2, seen: 2, lost: 0, unexpected: 1, reordered: 0, gap: 'the device was pulled out' },
    })
    expect(source.sinks.size).toBe(0)
  })

  it('says at once when a device cannot be watched', async () => {
    const server = await peer.accept()
    await server.welcome()
    server.send({ v: 1, type: 'expect', event_id: 'm', device: 'mouse', add: [], last: false })
    expect((await server.nextOf('result')).message).toMatchObject({
      event_id: 'm',
      verified: false,
      details: { code: 'ATP_VERIFIER_DEVICE' },
    })
    server.send({ v: 1, type: 'release', event_id: 'm' })
    expect((await server.nextOf('result')).message).toMatchObject({ event_id: 'm', verified: false })
  })

  it('comes back after a lost connection, and what is asked again is not verified again', async () => {
    const first = await peer.accept()
    await first.welcome()
    first.send(event('a'))
    first.send(event('b'))
    first.send({ v: 1, type: 'expect', event_id: 'x', device: 'keyboard', add: [['key', 30, 1]], last: true })
    expect((await first.nextOf('seen')).message.event_id).toBe('x')
    gate.let('a')
    await first.nextOf('result')
    source.key(30, 1, 5n)
    await first.nextOf('seen')
    first.end()
    const second = await peer.accept()
    expect((await second.welcome()).session).toBe('s1')
    for (const id of ['a', 'b']) second.send(event(id))
    second.send({ v: 1, type: 'release', event_id: 'x' })
    const answers = [(await second.nextOf('result')).message, (await second.nextOf('result')).message]
    expect(answers.map(({ event_id, verified }) => [event_id, verified])).toEqual([
      ['a', true],
      ['x', true],
    ])
    gate.let('b')
    expect((await second.nextOf('result')).message).toMatchObject({ event_id: 'b', verified: true })
    expect(gate.asked).toEqual(['a', 'b'])
    expect(second.waiting).toBe(0)
  })

  it('leaves a server that sends garbage, and comes back', async () => {
    for (const garbage of [
      'this is no message',
      '{"type":"expect"}',
      `{"type":"x","v":${'1'.repeat(MESSAGE_MAX_BYTES)}}`,
    ]) {
      const server = await peer.accept()
      await server.welcome()
      server.sendText(garbage)
      await server.closed
    }
    const server = await peer.accept()
    await server.welcome()
    server.send({ v: 1, type: 'ping', nonce: 9 })
    expect((await server.nextOf('ping')).message.nonce).toBe(9)
  })

  it('tries again when it was refused, unless it was told not to', async () => {
    const refusal = { v: 1, type: 'refused', code: 'ATP_VERIFIER_TOKEN', message: 'the token is wrong' } as const
    const first = await peer.accept()
    await first.nextOf('hello')
    first.send(refusal)
    const second = await peer.accept()
    await second.nextOf('hello')
    ending.abort()
    await running
    ending = new AbortController()
    running = run(false)
    running.catch(() => {})
    const third = await peer.accept()
    await third.nextOf('hello')
    third.send(refusal)
    await expect(running).rejects.toMatchObject({
      code: 'ATP_VERIFIER_REFUSED',
      message: expect.stringContaining('the token is wrong') as string,
    })
  })
})
