import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  Agent,
  MessageQueue,
  type AgentSetup,
  type InputSink,
  type InputSource,
  type Verifier,
  type VerifierTransport,
} from '../../../guest/core/index.ts'
import { ResultMemory } from '../../../guest/core/result-memory.ts'
import type { AgentMessage, ServerMessage, VerifierEvent, VerifyResult } from '../../../guest/protocol/index.ts'

/** A server in the same process. */
class Memory implements VerifierTransport {
  readonly sent: AgentMessage[] = []
  readonly #incoming = new MessageQueue()
  closedWith: Error | undefined
  isClosed = false

  async connect(): Promise<void> {}
  send(message: AgentMessage): void {
    if (this.isClosed) throw new Error('closed')
    this.sent.push(message)
  }
  receive(): Promise<string | undefined> {
    return this.#incoming.next()
  }
  close(error?: Error): void {
    this.isClosed = true
    this.closedWith ??= error
    this.#incoming.end(error)
  }
  say(message: ServerMessage): void {
    this.#incoming.push(JSON.stringify(message))
  }
  /** What was sent, by the type of the message or `result`. */
  of(type: string): AgentMessage[] {
    return this.sent.filter((message) => ('type' in message ? message.type : 'result') === type)
  }
}

class Scripted implements InputSource {
  readonly device = 'keyboard'
  readonly sinks = new Set<InputSink>()
  async watch(sink: InputSink) {
    this.sinks.add(sink)
    return () => void this.sinks.delete(sink)
  }
  key(code: number, value: number): void {
    for (const sink of this.sinks) sink.onInput({ kind: 'key', code, value, guestNs: 7n })
  }
}

const stuck: Verifier = { verifierType: 'stuck', verify: () => new Promise(() => {}) }
const quick: Verifier = { verifierType: 'quick', verify: async () => ({ verified: true, details: {} }) }
const source = () => new Scripted()
const agentWith = (setup: Partial<AgentSetup> = {}) =>
  new Agent({
    identity: { vm_id: 'vm', session: 's', agent: { version: '1', platform: 'linux' }, level: 'kernel' },
    verifiers: [stuck, quick],
    sources: [],
    newId: () => 'id',
    ...setup,
  })
const event = (event_id: string, type: string): VerifierEvent => ({
  v: 1,
  event_id,
  type,
  action: 'verify',
  timestamp: 0,
  metadata: { timeout_ms: 3_600_000 },
})
const settle = async () => {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve()
}

/** A conversation after its welcome. */
async function talk(agent: Agent) {
  const transport = new Memory()
  const served = agent.serve(transport).then(
    () => undefined,
    (error: unknown) => error,
  )
  transport.say({ v: 1, type: 'welcome' })
  await settle()
  return { transport, served }
}

describe('tracing', () => {
  it.each([
    [false, false, 0],
    [false, true, 0],
    [true, false, 0],
    [true, true, 2],
  ])('of an agent that allows it (%s), asked for by the server (%s)', async (tracing, on, count) => {
    const keyboard = source()
    const { transport } = await talk(agentWith({ sources: [keyboard], tracing }))
    transport.say({ v: 1, type: 'trace', on })
    await settle()
    keyboard.key(30, 1)
    keyboard.key(30, 0)
    await settle()
    expect(transport.of('raw')).toHaveLength(count)
    transport.say({ v: 1, type: 'trace', on: false })
    await settle()
    keyboard.key(30, 1)
    expect(transport.of('raw')).toHaveLength(count)
    expect(keyboard.sinks.size).toBe(0)
  })

  it('ends with the connection', async () => {
    const keyboard = source()
    const { transport, served } = await talk(agentWith({ sources: [keyboard], tracing: true }))
    transport.say({ v: 1, type: 'trace', on: true })
    await settle()
    expect(keyboard.sinks.size).toBe(1)
    transport.close()
    expect(await served).toBeUndefined()
    await settle()
    expect(keyboard.sinks.size).toBe(0)
  })
})

it('a server that sends the agent away later is left, with its reason', async () => {
  const { transport, served } = await talk(agentWith())
  transport.say({ v: 1, type: 'refused', code: 'ATP_VERIFIER_MESSAGE', message: 'that was garbage' })
  expect(await served).toMatchObject({
    code: 'ATP_VERIFIER_REFUSED',
    message: expect.stringContaining('that was garbage') as string,
  })
  expect(transport.isClosed).toBe(true)
})

describe('nothing of other input', () => {
  it('leaves the guest but its number', async () => {
    const keyboard = source()
    const { transport } = await talk(agentWith({ sources: [keyboard] }))
    transport.say({ v: 1, type: 'expect', event_id: 'x', device: 'keyboard', add: [['key', 30, 1]], last: true })
    await settle()
    const secret = [35, 23, 25, 25]
    for (const code of secret) for (const value of [1, 0]) keyboard.key(code, value)
    keyboard.key(30, 1)
    transport.say({ v: 1, type: 'release', event_id: 'x' })
    await settle()
    const said = JSON.stringify(transport.sent)
    for (const code of secret) expect(said).not.toMatch(new RegExp(`\\b${code}\\b`))
    expect(transport.of('result')).toMatchObject([{ verified: false, details: { seen: 1, unexpected: 8 } }])
  })
})

describe('limits', () => {
  it('an agent that works on a thousand events refuses more, and says so', async () => {
    const agent = agentWith()
    const { transport } = await talk(agent)
    for (let count = 0; count < 1001; count++) transport.say(event(`e${count}`, 'stuck'))
    transport.say(event('q', 'quick'))
    await vi.waitFor(() => expect(transport.of('result')).toHaveLength(2))
    expect(transport.of('result')).toMatchObject([
      { event_id: 'e1000', verified: false, details: { code: 'ATP_VERIFIER_BUSY' } },
      { event_id: 'q', verified: false, details: { code: 'ATP_VERIFIER_BUSY' } },
    ])
    await agent.close()
    await vi.waitFor(() => expect(transport.of('result')).toHaveLength(1002))
  })

  it('an agent that follows many actions refuses more', async () => {
    const { transport } = await talk(agentWith({ sources: [source()] }))
    for (let count = 0; count < 70; count++) {
      transport.say({ v: 1, type: 'expect', event_id: `x${count}`, device: 'keyboard', add: [], last: true })
    }
    await vi.waitFor(() => expect(transport.of('result')).toHaveLength(6))
    expect(transport.of('seen')).toHaveLength(64)
  })

  it('results are forgotten, the oldest first, large ones sooner', async () => {
    const memory = new ResultMemory()
    const add = (id: string, details = {}) =>
      memory.add(
        id,
        Promise.resolve({ v: 1, event_id: id, verified: true, timestamp: 0, latency_ms: 0, details } as VerifyResult),
      )
    for (let count = 0; count < 2000; count++) await add(`e${count}`)
    expect(memory.get('e0')).toBeDefined()
    await add('e2000')
    expect(memory.get('e0')).toBeUndefined()
    expect(memory.get('e1')).toBeDefined()
    await add('large', { text: 'x'.repeat(1_000_000) })
    expect(memory.get('e101')).toBeUndefined()
    expect(memory.get('e102')).toBeDefined()
    expect(memory.get('large')).toBeDefined()
    expect(memory.underWay).toBe(0)
  })

  it('messages that nobody takes end the connection', async () => {
    const queue = new MessageQueue()
    for (let count = 0; count <= 10_000; count++) queue.push('x')
    await expect(queue.next()).rejects.toMatchObject({ code: 'ATP_VERIFIER_LOST' })
  })
})

describe('a silent server', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('is asked whether it is there, and given up', async () => {
    const { transport, served } = await talk(agentWith())
    await vi.advanceTimersByTimeAsync(10_000)
    expect(transport.of('ping')).toHaveLength(1)
    transport.say({ v: 1, type: 'pong', nonce: 0 })
    await vi.advanceTimersByTimeAsync(20_000)
    expect(transport.isClosed).toBe(false)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(await served).toMatchObject({ code: 'ATP_VERIFIER_LOST' })
    expect(transport.isClosed).toBe(true)
  })

  it('that does not answer the hello is given up sooner', async () => {
    const transport = new Memory()
    const served = agentWith()
      .serve(transport)
      .catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(await served).toMatchObject({ code: 'ATP_TIMEOUT' })
    expect(transport.isClosed).toBe(true)
  })
})
