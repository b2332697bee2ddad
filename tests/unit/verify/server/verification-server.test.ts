import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Secret } from '../../../../framework/core/index.ts'
import { memoryPair } from '../../../../framework/transport/index.ts'
import {
  configuredTokens,
  derivedToken,
  derivedTokens,
  VerificationServer,
  VerifierAgentLink,
  type VerificationServerOptions,
} from '../../../../framework/verify/server/index.ts'
import { ScriptedAgent } from './scripted-agent.ts'

const TOKEN = 'a-token-of-this-test'
const servers: VerificationServer[] = []
const folder = mkdtempSync(join(tmpdir(), 'atp-verify-'))
let sockets = 0

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()))
  expect(readdirSync(folder)).toEqual([])
  rmSync(folder, { recursive: true, force: true })
})

async function serve(options: VerificationServerOptions = {}) {
  const server = new VerificationServer({
    authenticate: configuredTokens(new Secret('token', TOKEN), new Map()),
    ...options,
  })
  servers.push(server)
  mkdirSync(folder, { recursive: true })
  const { url } = await server.listen({ transport: 'unix', path: join(folder, `${++sockets}.sock`) })
  return {
    server,
    url,
    agent: (more: Record<string, unknown> = {}) => ScriptedAgent.onSocket(url).hello({ token: TOKEN, ...more }),
  }
}

function linkTo(server: VerificationServer, ...vmIds: string[]): VerifierAgentLink {
  return new VerifierAgentLink(vmIds[0] as string, server.claim({ vmIds, level: 'kernel' }))
}

describe('who may stay', () => {
  it('an agent with the right token is welcome and listed', async () => {
    const { server, agent } = await serve()
    const one = agent()
    expect(await one.nextOf('welcome')).toEqual({ v: 1, type: 'welcome' })
    expect(server.agents().map(({ hello }) => hello.vm_id)).toEqual(['vm-001'])
    expect(JSON.stringify(server.agents())).not.toContain(TOKEN)
  })

  it.each([
    ['a wrong token', { token: 'wrong' }, 'ATP_VERIFIER_TOKEN'],
    ['no token', { token: undefined }, 'ATP_VERIFIER_TOKEN'],
  ])('not one with %s', async (_, more, code) => {
    const { server, agent } = await serve()
    const one = agent(more)
    expect(await one.nextOf('refused')).toMatchObject({ code })
    await one.ended
    expect(server.agents()).toEqual([])
  })

  it('a token that is bound to a VM speaks for no other, and no other for its VM', async () => {
    const own = new Map([['vm-002', new Secret('own', 'the token of vm-002')]])
    const { agent } = await serve({ authenticate: configuredTokens(new Secret('token', TOKEN), own) })
    const cases = [
      [{ vm_id: 'VM-002', token: 'the token of vm-002' }, 'welcome', undefined],
      [{ vm_id: 'vm-001', token: 'the token of vm-002' }, 'refused', 'ATP_VERIFIER_VM'],
      [{ vm_id: 'vm-002', token: TOKEN }, 'refused', 'ATP_VERIFIER_VM'],
      [{ vm_id: 'vm-001' }, 'welcome', undefined],
    ] as const
    for (const [more, type, code] of cases) expect((await agent(more).nextOf(type))['code']).toBe(code)
  })

  it('tokens that follow from a key are each for one VM', async () => {
    const { agent } = await serve({ authenticate: derivedTokens('key') })
    const token = derivedToken('key', 'vm-001')
    expect(await agent({ token }).nextOf('welcome')).toBeDefined()
    expect(await agent({ token, vm_id: 'vm-002' }).nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_TOKEN' })
  })

  it('not one that says nothing', async () => {
    const { url } = await serve({ helloMs: 30 })
    const silent = ScriptedAgent.onSocket(url)
    expect(await silent.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_HELLO' })
    await silent.ended
  })

  it.each([
    ['garbage', '{"type":', 'ATP_VERIFIER_MESSAGE'],
    ['a result', '{"event_id":"x","verified":true,"timestamp":0,"latency_ms":0}', 'ATP_VERIFIER_HELLO'],
    ['a bare VM id, whose token could only be in a header', 'vm-001', 'ATP_VERIFIER_TOKEN'],
  ])('not one that begins with %s', async (_, first, code) => {
    const { url } = await serve()
    const one = ScriptedAgent.onSocket(url).send(first)
    expect(await one.nextOf('refused')).toMatchObject({ code })
    await one.ended
  })

  it('not one that goes on with garbage, a second hello or input nobody asked for', async () => {
    const { agent } = await serve()
    const raw = { message_type: 'raw_input_event', event_type: 'keyboard', code: 30, value: 1, timestamp: 1 }
    for (const [index, [bad, code]] of [
      ['{', 'ATP_VERIFIER_MESSAGE'],
      [raw, 'ATP_VERIFIER_UNASKED'],
    ].entries()) {
      const one = agent({ vm_id: `vm-${index}` })
      await one.nextOf('welcome')
      one.send(bad as string)
      expect(await one.nextOf('refused')).toMatchObject({ code })
      await one.ended
    }
    const twice = agent({ vm_id: 'vm-9' })
    await twice.nextOf('welcome')
    expect(await twice.hello().nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_MESSAGE' })
  })

  it('not one that sends more than a message may have', async () => {
    const { server, url } = await serve()
    const { url: webSocket } = await server.listen({ transport: 'websocket', port: 0 })
    const large = JSON.stringify({ v: 1, text: 'x'.repeat(2 ** 20) })
    const one = ScriptedAgent.onSocket(url).send(large)
    expect(await one.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_TOO_LARGE' })
    const other = await ScriptedAgent.onWebSocket(webSocket)
    await other.send(large).ended
    expect(server.agents()).toEqual([])
  })

  it('not more than there is room for', async () => {
    const { agent } = await serve({ connections: 2 })
    await agent({ vm_id: '1' }).nextOf('welcome')
    await agent({ vm_id: '2' }).nextOf('welcome')
    expect(await agent({ vm_id: '3' }).nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_BUSY' })
  })

  it('no page of another server', async () => {
    const { server } = await serve()
    const { url } = await server.listen({ transport: 'websocket', port: 0 })
    const origin = url.replace('ws:', 'http:')
    const page = await ScriptedAgent.onWebSocket(url, { origin })
    await page.hello({ token: TOKEN }).nextOf('welcome')
    for (const foreign of ['http://elsewhere.example', 'null', 'http://127.0.0.1:1']) {
      await expect(ScriptedAgent.onWebSocket(url, { origin: foreign })).rejects.toThrow('403')
    }
  })

  it('nobody who only takes up room', async () => {
    const { server } = await serve({ connections: 2 })
    const { port } = await server.listen({ transport: 'websocket', port: 0 })
    const silent = Array.from({ length: 5 }, () => connect(port as number, '127.0.0.1').on('error', () => {}))
    await Promise.race(silent.map((socket) => once(socket, 'close')))
    expect(silent.filter((socket) => socket.destroyed).length).toBeGreaterThanOrEqual(1)
    for (const socket of silent) socket.destroy()
  })

  it('one without the earlier generations’ hello only where the token came in a header', async () => {
    const { server } = await serve()
    const { url } = await server.listen({ transport: 'websocket', port: 0 })
    const old = await ScriptedAgent.onWebSocket(url, { authorization: `Bearer ${TOKEN}` })
    const link = linkTo(server, 'old-vm')
    old.send('old-vm')
    expect(await link.ready()).toMatchObject({ vm_id: 'old-vm', reads_clock: false })
    const done = link.verify({ type: 'keyboard', key: 'a' })
    const { event_type: type, data } = await old.next((message) => 'data' in message)
    expect({ type, data }).toMatchObject({ type: 'keyboard', data: { key: 'a', timeout_ms: 5000 } })
    const { event_id: id } = data as Record<string, unknown>
    old.send({ message_type: 'verify_result', event_id: id, verified: true, timestamp: 1, latency_ms: 2 })
    expect(await done).toMatchObject({ verified: true })
    expect(old.received).toEqual([])
    const other = await ScriptedAgent.onWebSocket(url)
    expect(await other.send('old-vm').nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_TOKEN' })
  })
})

describe('who is whose', () => {
  it('an agent of an earlier generation that comes again takes its own place', async () => {
    const { server } = await serve()
    const { url } = await server.listen({ transport: 'websocket', port: 0 })
    const link = linkTo(server, 'old-vm')
    const connect = async () =>
      (await ScriptedAgent.onWebSocket(url, { authorization: `Bearer ${TOKEN}` })).send('old-vm')
    const first = await connect()
    await link.ready()
    await connect()
    await first.ended
    expect((await link.ready()).vm_id).toBe('old-vm')
    expect(server.agents()).toHaveLength(1)
  })

  it('a second agent of a VM is refused while the first lives', async () => {
    const { agent } = await serve()
    const first = agent()
    await first.nextOf('welcome')
    const second = agent({ session: 'session-2' })
    expect(await second.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_TAKEN' })
    first.send({ v: 1, type: 'ping', nonce: 7 })
    expect(await first.nextOf('pong')).toMatchObject({ nonce: 7 })
  })

  it('a first one that does not answer makes room', async () => {
    const { agent } = await serve({ answerMs: 20 })
    const first = agent()
    await first.nextOf('welcome')
    await agent({ session: 'session-2' }).nextOf('refused')
    await first.ended
    await agent({ session: 'session-2' }).nextOf('welcome')
  })

  it('a first one that does not answer makes room, however often others try', async () => {
    const { agent } = await serve({ answerMs: 400 })
    const first = agent()
    await first.nextOf('welcome')
    await agent({ session: 'session-2' }).nextOf('refused')
    const trying = setInterval(() => agent({ session: 'session-2' }), 100)
    try {
      await first.ended
    } finally {
      clearInterval(trying)
    }
    expect(first.received.filter(({ type }) => type === 'ping')).toHaveLength(1)
  })

  it('a reconnect takes the place of the earlier connection, whose end does not remove it', async () => {
    const { server, agent } = await serve()
    const first = agent()
    await first.nextOf('welcome')
    const again = agent()
    await again.nextOf('welcome')
    await first.ended
    expect(server.agents()).toHaveLength(1)
    again.send({ v: 1, type: 'ping', nonce: 1 })
    expect(await again.nextOf('pong')).toBeDefined()
  })

  it('agents of kernel and browser are two', async () => {
    const { server, agent } = await serve()
    await agent().nextOf('welcome')
    await agent({ level: 'browser', session: 'b' }).nextOf('welcome')
    const browser = new VerifierAgentLink('vm-001', server.claim({ vmIds: ['vm-001'], level: 'browser' }))
    expect(await browser.ready()).toMatchObject({ level: 'browser' })
    expect(await linkTo(server, 'vm-001').ready()).toMatchObject({ level: 'kernel' })
  })

  it('an agent has one user at a time, and the next when that one is through', async () => {
    const { server, agent } = await serve()
    await agent().nextOf('welcome')
    const link = linkTo(server, 'uuid-of-it', 'vm-001')
    await link.ready()
    expect(() => linkTo(server, 'VM-001')).toThrow(expect.objectContaining({ code: 'ATP_VERIFIER_CLAIMED' }))
    link.close()
    expect(await linkTo(server, 'vm-001').ready()).toMatchObject({ session: 'session-1' })
  })

  it('a silent agent is lost', async () => {
    const { server, agent } = await serve({ silenceMs: 20, answerMs: 20 })
    const one = agent()
    const link = linkTo(server, 'vm-001')
    await link.ready()
    await one.ended
    expect(link.agent).toBeUndefined()
  })

  it('an agent that does not read is lost, before it takes our memory', async () => {
    const { server, url } = await serve()
    const socket = connect(url.slice('unix:'.length))
    socket.on('error', () => {})
    const lazy = ScriptedAgent.onConnected(socket).hello({ token: TOKEN, verifiers: ['big'] })
    await lazy.nextOf('welcome')
    socket.pause()
    const link = linkTo(server, 'vm-001')
    await link.ready()
    const event = { type: 'big', metadata: { text: 'x'.repeat(1_000_000) } }
    const results = Array.from({ length: 12 }, () =>
      link.verify(event, { timeoutMs: 500 }).catch((error: unknown) => error),
    )
    for (const result of await Promise.all(results)) expect(result).toMatchObject({ code: 'ATP_VERIFIER_LOST' })
    expect(server.agents()).toEqual([])
  })

  it('one that answers the question whether it lives stays', async () => {
    const { server, agent } = await serve({ silenceMs: 10, answerMs: 2000 })
    const one = agent()
    for (let round = 0; round < 5; round++) {
      const { nonce } = await one.nextOf('ping')
      one.send({ v: 1, type: 'pong', nonce })
    }
    expect(server.agents()).toHaveLength(1)
  })
})

describe('a virtio-serial port', () => {
  it('is one VM’s, outlives its agents, and needs no token', async () => {
    const { server } = await serve()
    const [host, guest] = memoryPair()
    server.attach(host, ['vm-001', 'B5C0-UUID'])
    const link = linkTo(server, 'vm-001', 'b5c0-uuid')
    const agent = ScriptedAgent.onPort(guest)
    agent.hello({ vm_id: 'b5c0-UUID' })
    await agent.nextOf('welcome')
    expect(await link.ready()).toMatchObject({ session: 'session-1' })
    agent.hello({ session: 'session-2', vm_id: 'vm-001' })
    await agent.nextOf('welcome')
    expect(link.agent).toMatchObject({ session: 'session-2' })
  })

  it('refuses an agent of another VM and takes the right one after it', async () => {
    const { server } = await serve()
    const [host, guest] = memoryPair()
    server.attach(host, ['vm-001'])
    const agent = ScriptedAgent.onPort(guest).hello({ vm_id: 'vm-002' })
    expect(await agent.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_VM' })
    agent.hello()
    await agent.nextOf('welcome')
  })

  it('reads on after what stood in it before, and after garbage', async () => {
    const { server } = await serve()
    const [host, guest] = memoryPair()
    await guest.write(new TextEncoder().encode('an agent’s","unfinished":'))
    server.attach(host, ['vm-001'])
    const agent = ScriptedAgent.onPort(guest).send('no JSON')
    expect(await agent.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_MESSAGE' })
    agent.hello()
    await agent.nextOf('welcome')
  })
})

describe('where it listens', () => {
  it('not for a whole network without TLS, unless that is allowed by name', async () => {
    const { server } = await serve()
    for (const transport of ['websocket', 'tcp'] as const) {
      const open = { transport, host: '0.0.0.0', port: 0 }
      await expect(server.listen(open)).rejects.toMatchObject({ code: 'ATP_VERIFIER_PLAIN' })
      expect(await server.listen({ ...open, allowPlain: true })).toMatchObject({ transport })
    }
  })

  it('not where somebody listens already', async () => {
    const { server } = await serve()
    const { port } = await server.listen({ transport: 'tcp', port: 0 })
    await expect(server.listen({ transport: 'tcp', port: port as number })).rejects.toMatchObject({
      code: 'ATP_VERIFIER_LISTEN',
    })
  })

  it('on a Unix socket for its user only; a dead server’s socket is no hindrance', async () => {
    const { server, url } = await serve()
    const path = url.slice('unix:'.length)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    await expect(server.listen({ transport: 'unix', path })).rejects.toMatchObject({ code: 'ATP_VERIFIER_LISTEN' })
  })

  it('leaves nothing when it is closed', async () => {
    const { server, url, agent } = await serve()
    const { url: webSocket } = await server.listen({ transport: 'websocket', port: 0 })
    const agents = [agent(), await ScriptedAgent.onWebSocket(webSocket), ScriptedAgent.onSocket(url)]
    await agents[0]?.nextOf('welcome')
    const link = linkTo(server, 'vm-001')
    await link.ready()
    await server.close()
    await Promise.all(agents.map((one) => one.ended))
    expect(link.closed).toBe('the server was closed')
    await expect(link.ready()).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
  })
})
