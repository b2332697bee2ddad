/** The verification server against the guest's own agent: its transports, its reconnects, its program. */
import { randomUUID } from 'node:crypto'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { KeyboardDevice } from '../../../framework/input/index.ts'
import {
  agentClock,
  AgentObserver,
  configuredTokens,
  derivedToken,
  derivedTokens,
  GuestClock,
  VerificationServer,
  VerifierAgentLink,
  type AgentListener,
} from '../../../framework/verify/index.ts'
import { bundleVerifier } from '../../../guest/bundle.ts'
import { runAgent } from '../../../guest/agent/run.ts'
import { parseEndpoint } from '../../../guest/agent/transports/endpoint.ts'
import { Agent, type InputSource, type Verifier } from '../../../guest/core/index.ts'
import { LabCa } from '../../support/remote-host/index.ts'
import { SimulatedGuest, type SimulatedGuestOptions } from '../../unit/input/simulated-guest.ts'

const TOKEN = 'a-token-of-these-tests'
let folder: string
let tls: { cert: string; key: string; ca: string }
const open: (() => unknown)[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'atp-verify-'))
  const authority = new LabCa(folder, 'verification tests')
  const server = authority.issue('server', { use: 'server', names: ['IP:127.0.0.1'] })
  const pem = (path: string) => readFileSync(path, 'utf8')
  tls = { cert: pem(server.cert), key: pem(server.key), ca: pem(authority.cert) }
  writeFileSync(join(folder, 'atp-verifier.mjs'), await bundleVerifier())
  writeFileSync(join(folder, 'token'), TOKEN, { mode: 0o600 })
  writeFileSync(
    join(folder, 'slow.mjs'),
    `import { appendFileSync } from 'node:fs'
export default {
  verifierType: 'slow',
  async verify({ event_id, metadata }) {
    appendFileSync(metadata.file, event_id + '\\n')
    await new Promise((resolve) => setTimeout(resolve, metadata.ms))
    return { verified: true, details: {} }
  },
}`,
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

async function serve(listener: AgentListener = { transport: 'tcp', port: 0 }, options: object = {}) {
  const server = new VerificationServer({
    authenticate: configuredTokens(new Secret('token', TOKEN), new Map()),
    ...options,
  })
  open.push(() => server.close())
  const { url } = await server.listen(listener)
  return { server, url }
}

function linkTo(server: VerificationServer, vmId: string): VerifierAgentLink {
  const link = new VerifierAgentLink(vmId, server.claim({ vmIds: [vmId], level: 'kernel' }))
  open.push(() => link.close())
  return link
}

interface RunningAgent {
  vmId?: string
  token?: string
  session?: string
  verifiers?: Verifier[]
  guest?: SimulatedGuest
}

/** The guest package's agent in this process, connected by its own transport. */
function startAgent(
  url: string,
  { vmId = 'vm-001', token = TOKEN, session, verifiers = [], guest }: RunningAgent = {},
) {
  const source = (device: InputSource['device']): InputSource => ({
    device,
    watch: async (sink) =>
      guest?.subscribe(
        ({ type: kind, code, value, guestNs }) => sink.onInput({ kind, code, value, guestNs }),
        (reason) => sink.onGap(reason),
      ) ?? (() => {}),
  })
  const agent = new Agent({
    identity: {
      vm_id: vmId,
      session: session ?? randomUUID(),
      agent: { version: '0', platform: 'linux' },
      level: 'kernel',
    },
    token,
    verifiers,
    sources: guest ? [source('keyboard')] : [],
    readClock: () => ({ guest_ns: String(process.hrtime.bigint()) }),
    newId: randomUUID,
  })
  const ending = new AbortController()
  const running = runAgent(agent, {
    endpoint: parseEndpoint(url),
    ...(url.startsWith('wss') || url.startsWith('tls') ? { tls: { ca: tls.ca } } : {}),
    autoReconnect: true,
    reconnectIntervalMs: 20,
    signal: ending.signal,
  })
  const end = async () => {
    ending.abort()
    await running
    await agent.close()
  }
  open.push(end)
  return { end }
}

/** The program as it runs in a guest. */
function startProgram(url: string, ...args: string[]): { child: ChildProcess; log: () => string } {
  let log = ''
  const child = spawn(
    process.execPath,
    ['atp-verifier.mjs', '--server', url, '--token-file', 'token', '--reconnect-interval', '50ms', ...args],
    { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (log += String(chunk)))
  open.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  return { child, log: () => log }
}

/** Passes everything on until it is cut. */
async function proxyTo(url: string) {
  const sockets = new Set<Socket>()
  const target = new URL(url)
  const server: Server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  open.push(() => {
    server.close()
    cut()
  })
  const { port } = server.address() as { port: number }
  return { url: `${target.protocol}//127.0.0.1:${port}`, cut }
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe.each<[string, () => AgentListener]>([
  ['WebSocket', () => ({ transport: 'websocket', port: 0 })],
  ['WebSocket with TLS', () => ({ transport: 'websocket', port: 0, tls })],
  ['TCP', () => ({ transport: 'tcp', port: 0 })],
  ['TCP with TLS', () => ({ transport: 'tcp', port: 0, tls })],
  ['a Unix socket', () => ({ transport: 'unix', path: join(folder, `${randomUUID()}.sock`) })],
])('over %s', (_, listener) => {
  it('an agent is taken, verifies events, tells its time, and accounts for input', async () => {
    const { server, url } = await serve(listener())
    const guest = new SimulatedGuest()
    open.push(() => guest.close())
    const echo: Verifier = {
      verifierType: 'echo',
      verify: async ({ metadata }) => ({ verified: metadata['text'] === '你好', details: { ...metadata } }),
    }
    startAgent(url, { guest, verifiers: [echo] })
    const link = linkTo(server, 'vm-001')
    await link.ready()
    expect(await link.verify({ type: 'echo', metadata: { text: '你好' } })).toMatchObject({ verified: true })
    expect((await link.now()).guestNs).toBeGreaterThan(0n)
    const clock = new GuestClock(agentClock(link))
    await clock.estimate()
    const keyboard = new KeyboardDevice({
      ...guest.host(),
      observe: async () => new AgentObserver(link, { device: 'keyboard', level: 'kernel', clock }),
    })
    expect(await keyboard.type('hello', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
  })

  it('a result that is too large comes as one that says so', async () => {
    const { server, url } = await serve(listener())
    const large: Verifier = {
      verifierType: 'large',
      verify: async () => ({ verified: true, details: { text: 'x'.repeat(2 ** 20) } }),
    }
    startAgent(url, { verifiers: [large] })
    const link = linkTo(server, 'vm-001')
    await link.ready()
    expect(await link.verify({ type: 'large' })).toMatchObject({
      verified: false,
      details: { code: 'ATP_VERIFIER_TOO_LARGE' },
    })
  })
})

describe('the program', () => {
  it('runs commands, slow verifiers beside fast ones, and is refused with a wrong token', async () => {
    const { server, url } = await serve()
    const program = startProgram(url, '--vm-id', 'vm-001', '--verifiers', 'command', '--plugin', 'slow.mjs')
    const link = linkTo(server, 'vm-001')
    await link.ready()
    const file = join(folder, `${randomUUID()}.txt`)
    const slow = link.verify({ type: 'slow', metadata: { file, ms: 1500 } })
    const begunMs = performance.now()
    const command = { type: 'command', command: 'echo', args: ['好'], expected_stdout_contains: '好' }
    expect(await link.verify(command)).toMatchObject({ verified: true })
    expect(performance.now() - begunMs).toBeLessThan(1400)
    expect(await slow).toMatchObject({ verified: true })
    expect(await link.verify({ ...command, expected_exit_code: 1 })).toMatchObject({ verified: false })
    expect(program.log()).not.toContain(TOKEN)

    const other = await serve(undefined, { authenticate: configuredTokens(new Secret('token', 'another'), new Map()) })
    const refused = startProgram(other.url, '--vm-id', 'vm-001', '--no-auto-reconnect')
    const [code] = (await once(refused.child, 'close')) as [number]
    expect(code).not.toBe(0)
    expect(refused.log()).toContain('ATP_VERIFIER_TOKEN')
    expect(other.server.agents()).toEqual([])
  })

  it('killed in the middle is lost for what it owed, and there again when it is started again', async () => {
    const { server, url } = await serve()
    const args = ['--vm-id', 'vm-001', '--verifiers', 'command', '--plugin', 'slow.mjs']
    const first = startProgram(url, ...args)
    const link = linkTo(server, 'vm-001')
    await link.ready()
    const file = join(folder, `${randomUUID()}.txt`)
    const owed = link.verify({ type: 'slow', metadata: { file, ms: 60_000, timeout_ms: 60_000 } })
    owed.catch(() => {})
    await until(() => fileText(file) !== '')
    first.child.kill('SIGKILL')
    startProgram(url, ...args)
    await expect(owed).rejects.toMatchObject({ code: 'ATP_VERIFIER_LOST' })
    await link.ready()
    expect(await link.verify({ type: 'command', command: 'true', expected_exit_code: 0 })).toMatchObject({
      verified: true,
    })
  })

  it('verifies nothing twice and answers once when its connection is cut', async () => {
    const { server, url } = await serve()
    const proxy = await proxyTo(url)
    startProgram(proxy.url, '--vm-id', 'vm-001', '--verifiers', 'command', '--plugin', 'slow.mjs')
    const link = linkTo(server, 'vm-001')
    const { session } = await link.ready()
    const file = join(folder, `${randomUUID()}.txt`)
    const events = Array.from({ length: 5 }, (_, index) =>
      link.verify({ type: 'slow', event_id: `event-${index}`, metadata: { file, ms: 700 } }),
    )
    await until(() => fileText(file).split('\n').length > 5)
    proxy.cut()
    const results = await Promise.all(events)
    expect(results.map(({ event_id: id, verified }) => [id, verified])).toEqual(
      events.map((_, index) => [`event-${index}`, true]),
    )
    expect(link.agent).toMatchObject({ session })
    const verified = fileText(file).trim().split('\n')
    expect(verified).toHaveLength(events.length)
    expect(new Set(verified).size).toBe(events.length)
  })

  it('a second one for the same VM is refused while the first lives, and taken when it has gone', async () => {
    const { server, url } = await serve()
    const first = startAgent(url, { vmId: 'vm-001', session: 'first' })
    await until(() => server.agents().length === 1)
    const second = startProgram(url, '--vm-id', 'VM-001', '--verifiers', 'command')
    await until(() => second.log().includes('ATP_VERIFIER_TAKEN'))
    expect(server.agents().map(({ hello }) => hello.session)).toEqual(['first'])
    await first.end()
    await until(() => server.agents()[0]?.hello.vm_id === 'VM-001')
  })
})

it('an agent cannot speak for another VM with the token of its own', async () => {
  const { server, url } = await serve(undefined, { authenticate: derivedTokens('key') })
  startAgent(url, { vmId: 'vm-002', token: derivedToken('key', 'vm-001') })
  startAgent(url, { vmId: 'vm-001', token: derivedToken('key', 'vm-001') })
  await linkTo(server, 'vm-001').ready()
  await expect(linkTo(server, 'vm-002').ready({ timeoutMs: 200 })).rejects.toMatchObject({
    code: 'ATP_VERIFIER_NO_AGENT',
  })
})

it('50 agents at once, each with its own input', async () => {
  const { server, url } = await serve({ transport: 'websocket', port: 0 })
  const dropping = (index: number): SimulatedGuestOptions => ({
    // Every tenth loses one key: nobody else's account may show it.
    fault: (_, event) => (index % 10 === 7 && event === 5 ? 'drop' : 'pass'),
  })
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const vmId = `vm-${index}`
      const guest = new SimulatedGuest(dropping(index))
      open.push(() => guest.close())
      startAgent(url, { vmId, guest })
      const link = linkTo(server, vmId)
      await link.ready({ timeoutMs: 20_000 })
      const keyboard = new KeyboardDevice({
        ...guest.host(),
        observe: async () => new AgentObserver(link, { device: 'keyboard', level: 'kernel', clock: undefined }),
      })
      const { outcome, lost, duplicated } = await keyboard.type(`the agent of ${vmId}`)
      return { outcome, lost, duplicated }
    }),
  )
  const right = (index: number) =>
    index % 10 === 7 ? { outcome: 'damaged', lost: 1, duplicated: 0 } : { outcome: 'delivered', lost: 0, duplicated: 0 }
  expect(outcomes).toEqual(outcomes.map((_, index) => right(index)))
  expect(server.agents()).toHaveLength(50)
})

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
