import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryPair } from '../../../../framework/transport/index.ts'
import { VerificationServer, VerifierAgentLink } from '../../../../framework/verify/server/index.ts'
import { ScriptedAgent } from './scripted-agent.ts'

let server: VerificationServer
let agent: ScriptedAgent
let link: VerifierAgentLink

beforeEach(async () => {
  server = new VerificationServer()
  const [host, guest] = memoryPair()
  server.attach(host, ['vm-001'])
  agent = ScriptedAgent.onPort(guest).hello()
  link = new VerifierAgentLink('vm-001', server.claim({ vmIds: ['vm-001'], level: 'kernel' }))
  await link.ready()
  await agent.nextOf('welcome')
  agent.received.length = 0
})
afterEach(() => server.close())

const result = (id: unknown, verified = true) => ({
  v: 1,
  event_id: id,
  verified,
  timestamp: 1,
  latency_ms: 3,
  details: {},
})
const isEvent = (message: Record<string, unknown>) => 'metadata' in message

describe('verify', () => {
  it('gives each event its result, whatever the order', async () => {
    const [one, two] = [
      link.verify({ type: 'command', command: '/bin/true' }),
      link.verify({ type: 'keyboard', key: 'a' }),
    ]
    const [first, second] = [await agent.next(isEvent), await agent.next(isEvent)]
    expect(first).toMatchObject({ v: 1, type: 'command', metadata: { command: '/bin/true', timeout_ms: 5000 } })
    agent.send(result(second['event_id'], false)).send(result(first['event_id']))
    expect(await two).toMatchObject({ verified: false })
    expect(await one).toMatchObject({ verified: true, latency_ms: 3 })
  })

  it('takes the events of earlier generations', async () => {
    const done = link.verify({
      event_type: 'keyboard',
      timestamp: 1,
      data: { event_id: 'mine', key: 'a', timeout_ms: 7 },
    })
    const { event_id: id, ...sent } = await agent.next(isEvent)
    expect(sent).toMatchObject({ key: 'a', metadata: { timeout_ms: 7 } })
    agent.send({ ...result(id), message_type: 'verify_result' })
    expect(await done).toMatchObject({ event_id: 'mine', verified: true })
  })

  it('an id that is used again gets no answer of before', async () => {
    const ids: unknown[] = []
    for (const verified of [true, false]) {
      const done = link.verify({ type: 'keyboard', key: 'a', event_id: 'mine' })
      const { event_id: id } = await agent.next(isEvent)
      ids.push(id)
      agent.send(result(id, verified))
      expect(await done).toMatchObject({ event_id: 'mine', verified })
    }
    expect(new Set(['mine', ...ids]).size).toBe(3)
  })

  it('ignores results that nobody waits for, and second ones', async () => {
    const done = link.verify({ type: 'keyboard', key: 'a' })
    const { event_id: id } = await agent.next(isEvent)
    agent.send(result('another')).send(result(id)).send(result(id, false))
    expect(await done).toMatchObject({ verified: true })
    expect(link.agent).toBeDefined()
  })

  it('does what is to be verified once the agent has the event', async () => {
    let typed = false
    const done = link.verify(
      { type: 'keyboard', key: 'a' },
      {
        during: async () => {
          typed = true
        },
      },
    )
    const { event_id: id } = await agent.next(isEvent)
    const { nonce } = await agent.nextOf('ping')
    expect(typed).toBe(false)
    agent.send({ v: 1, type: 'pong', nonce }).send(result(id))
    expect(await done).toMatchObject({ verified: true })
    expect(typed).toBe(true)
  })

  it('waits for nothing any more when what was to be verified could not be done', async () => {
    const during = () => Promise.reject(new Error('no such key'))
    const done = link.verify({ type: 'keyboard', key: 'a' }, { during })
    await agent.next(isEvent)
    agent.send({ v: 1, type: 'pong', nonce: (await agent.nextOf('ping'))['nonce'] })
    await expect(done).rejects.toThrow('no such key')
    agent.hello()
    await agent.nextOf('welcome')
    const alive = link.barrier()
    agent.send({ v: 1, type: 'pong', nonce: (await agent.nextOf('ping'))['nonce'] })
    await alive
    expect(agent.received.filter(isEvent)).toEqual([])
  })

  it('rejects for a verifier the agent has not, a malformed event, an answer that does not come', async () => {
    await expect(link.verify({ type: 'clipboard' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_TYPE' })
    await expect(link.verify({ key: 'a' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_MESSAGE' })
    await expect(link.verify({ type: 'keyboard', key: 'a' }, { timeoutMs: 10 })).rejects.toMatchObject({
      code: 'ATP_VERIFIER_TIMEOUT',
    })
    await expect(link.verify({ type: 'keyboard' }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ATP_INTERRUPTED',
    })
  })

  it('has 10,000 events under way at most', async () => {
    const waiting = Array.from({ length: 10_000 }, () => link.verify({ type: 'keyboard', key: 'a' }))
    for (const one of waiting) one.catch(() => {})
    await expect(link.verify({ type: 'keyboard', key: 'a' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_BUSY' })
    link.close()
    await expect(Promise.race(waiting)).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
  })

  it('asks the same agent again after a reconnect', async () => {
    const done = link.verify({ type: 'keyboard', key: 'a' })
    const first = await agent.next(isEvent)
    agent.hello()
    const again = await agent.next(isEvent)
    expect(again).toEqual(first)
    agent.send(result(again['event_id'])).send(result(again['event_id']))
    expect(await done).toMatchObject({ verified: true })
  })

  it('rejects when another agent has taken its place: that one knows nothing of it', async () => {
    const done = link.verify({ type: 'keyboard', key: 'a' })
    done.catch(() => {})
    await agent.next(isEvent)
    agent.hello({ session: 'session-2' })
    await expect(done).rejects.toMatchObject({ code: 'ATP_VERIFIER_LOST' })
  })

  it('rejects when the server is closed', async () => {
    const done = link.verify({ type: 'keyboard', key: 'a' })
    done.catch(() => {})
    await server.close()
    await expect(done).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
    await expect(link.verify({ type: 'keyboard' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
  })
})

it('now is what the agent’s clock says, with its error', async () => {
  const asked = link.now()
  const { nonce } = await agent.nextOf('time')
  agent.send({ v: 1, type: 'time', nonce, guest_ns: '1700000000000000001', error_ns: '500' })
  expect(await asked).toEqual({ guestNs: 1700000000000000001n, errorNs: 500n })
  agent.hello({ reads_clock: false, session: 'session-2' })
  await agent.nextOf('welcome')
  await expect(link.now()).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOCK' })
})

it('an answer to whoever used the agent before is none', async () => {
  const before = link.now()
  before.catch(() => {})
  const { nonce: stale } = await agent.nextOf('time')
  link.close()
  link = new VerifierAgentLink('vm-001', server.claim({ vmIds: ['vm-001'], level: 'kernel' }))
  const asked = link.now()
  const { nonce } = await agent.nextOf('time')
  agent.send({ v: 1, type: 'time', nonce: stale, guest_ns: '1' }).send({ v: 1, type: 'time', nonce, guest_ns: '2' })
  expect(await asked).toMatchObject({ guestNs: 2n })
})

describe('an expectation', () => {
  function observe() {
    const heard: unknown[] = []
    const expectation = link.expect('keyboard', {
      onSeen: (index, guestNs) => heard.push([index, guestNs]),
      onUnexpected: (count) => heard.push(count),
      onGap: (reason) => heard.push(reason),
    })
    return { heard, expectation }
  }

  it('tells what was seen in the order it was seen', async () => {
    const { heard, expectation } = observe()
    const { event_id: id } = await agent.nextOf('expect')
    const watching = expectation.watching()
    agent.send({ v: 1, type: 'seen', event_id: id, seen: [], unexpected: 0 })
    await watching
    expectation.add([
      ['key', 30, 1],
      ['key', 30, 0, 'optional'],
    ])
    expect(await agent.nextOf('expect')).toMatchObject({
      add: [
        ['key', 30, 1],
        ['key', 30, 0, 'optional'],
      ],
      last: false,
    })
    agent.send({
      v: 1,
      type: 'seen',
      event_id: id,
      seen: [
        [1, '5'],
        [0, '6'],
      ],
      unexpected: 2,
    })
    agent.send({ v: 1, type: 'gap', reason: 'dropped' })
    const flushed = link.barrier()
    agent.send({ v: 1, type: 'pong', nonce: (await agent.nextOf('ping'))['nonce'] })
    await flushed
    expect(heard).toEqual([[1, 5n], [0, 6n], 2, 'dropped'])
  })

  it('announces in several messages what does not fit one', async () => {
    const { expectation } = observe()
    expectation.add(Array.from({ length: 12_000 }, () => ['key', 30, 1] as const))
    await agent.nextOf('expect')
    const sizes = [5000, 5000, 2000]
    for (const size of sizes) expect((await agent.nextOf('expect'))['add']).toHaveLength(size)
  })

  it('has a gap when the agent is lost, when it ends by itself, or when it speaks of what was not announced', async () => {
    const lost = observe()
    agent.hello()
    await agent.nextOf('welcome')
    expect(lost.heard).toEqual([expect.stringContaining('the verifier agent is gone')])

    const ended = observe()
    const { event_id: id } = await agent.next(({ type, event_id }) => type === 'expect' && event_id !== undefined)
    agent.send({ v: 1, type: 'seen', event_id: id, seen: [[0, '1']], unexpected: 0 })
    const { event_id: later } = await agent.nextOf('expect')
    agent.send({ ...result(later, false), details: { error: 'no devices' } })
    const flushed = link.barrier()
    agent.send({ v: 1, type: 'pong', nonce: (await agent.nextOf('ping'))['nonce'] })
    await flushed
    expect(ended.heard).toEqual([expect.stringContaining('no devices')])
  })

  it.each([
    ['agrees', { seen: 1, unexpected: 1 }, undefined],
    ['saw more than it told', { seen: 2, unexpected: 1 }, 'told of 1 and 1'],
    ['saw more strangers than it told', { seen: 1, unexpected: 0 }, 'told of 1 and 1'],
    ['gives no figures', { error: 'no devices' }, 'no account of what it saw: no devices'],
  ])("at its end the agent's own account %s", async (_, details, reason) => {
    const { expectation } = observe()
    const { event_id: id } = await agent.nextOf('expect')
    expectation.add([
      ['key', 30, 1],
      ['key', 30, 0, 'optional'],
    ])
    const told = [
      [0, '5'],
      [1, '6'],
    ]
    agent.send({ v: 1, type: 'seen', event_id: id, seen: told, unexpected: 1 })
    await expectation.watching()
    expect(await expectation.confirm()).toBeUndefined()
    expectation.complete()
    const confirmed = expectation.confirm()
    await agent.nextOf('release')
    agent.send({ ...result(id, true), details })
    if (reason === undefined) expect(await confirmed).toBeUndefined()
    else expect(await confirmed).toContain(reason)
    expectation.release()
    expect(agent.received.filter(({ type }) => type === 'release')).toEqual([])
  })

  it('has a gap when the agent tells of the same input twice', async () => {
    const { heard, expectation } = observe()
    const { event_id: id } = await agent.nextOf('expect')
    expectation.add([['key', 30, 1]])
    for (const at of ['5', '6']) agent.send({ v: 1, type: 'seen', event_id: id, seen: [[0, at]], unexpected: 0 })
    await expect.poll(() => heard).toEqual([[0, 5n], 'the verifier agent tells of the same input twice'])
  })

  it('has a gap, and nothing else to do, when the agent counts more strangers than there can be', async () => {
    const { heard } = observe()
    const { event_id: id } = await agent.nextOf('expect')
    agent.send({ v: 1, type: 'seen', event_id: id, seen: [], unexpected: Number.MAX_SAFE_INTEGER })
    await expect.poll(() => heard).toEqual([expect.stringContaining('unexpected inputs')])
  })

  it('is released at its end, also when its user goes without a word', async () => {
    const { expectation } = observe()
    const { event_id: id } = await agent.nextOf('expect')
    expectation.release()
    expectation.release()
    expect(await agent.nextOf('release')).toMatchObject({ event_id: id })
    const way = server.claim({ vmIds: ['vm-002'], level: 'kernel' })
    way.close()
    observe()
    const { event_id: next } = await agent.nextOf('expect')
    link.close()
    expect(await agent.nextOf('release')).toMatchObject({ event_id: next })
    expect(agent.received.filter(({ type }) => type === 'release')).toEqual([])
  })
})
