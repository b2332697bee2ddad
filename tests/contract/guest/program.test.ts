/** The one file that goes into a guest, run alone in an empty folder. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bundleVerifier } from '../../../guest/bundle.ts'
import type { VerifierEvent } from '../../../guest/protocol/index.ts'
import { Peer, type Way } from './peer.ts'

const TOKEN = 'a-token-that-nobody-may-see'
const noKeys = { key: Buffer.alloc(0), cert: Buffer.alloc(0) }

let root: string
let folder: string
let peer: Peer | undefined
let program: ChildProcess | undefined
let output = ''

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'atp-program-'))
  mkdirSync(join(root, 'alone'))
  writeFileSync(join(root, 'alone/atp-verifier.mjs'), await bundleVerifier())
  copyFileSync(new URL('../../../guest/plugins/file.mjs', import.meta.url), join(root, 'file.mjs'))
  writeFileSync(join(root, 'token'), `${TOKEN}\n`, { mode: 0o600 })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
beforeEach(() => {
  folder = mkdtempSync(join(root, 'test-'))
  output = ''
})
afterEach(async () => {
  program?.kill('SIGKILL')
  await peer?.close()
  peer = program = undefined
})

const start = (args: readonly string[], node = process.execPath, env: Record<string, string> = {}) => {
  const child = spawn(node, ['atp-verifier.mjs', ...args], {
    cwd: join(root, 'alone'),
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  program = child
  return child
}
const serve = async (way: Way) => (peer = await Peer.listen(way, folder, noKeys))
const exitOf = async (child: ChildProcess) => ((await once(child, 'close')) as [number | null, string | null])[0]
const event = (type: string, action: string, metadata: object): VerifierEvent => ({
  v: 1,
  event_id: `${type}-${action}`,
  type,
  action,
  timestamp: 0,
  metadata: { timeout_ms: 5000, ...metadata },
})

/** Every other Node of this machine that is new enough. */
const nodes = ['/usr/bin/node', '/usr/local/bin/node'].filter(
  (path) =>
    existsSync(path) && Number(/^v(\d+)/.exec(execFileSync(path, ['--version'], { encoding: 'utf8' }))?.[1]) >= 18,
)

describe.each([process.execPath, ...nodes])('the program on %s', (node) => {
  it('needs nothing beside it', async () => {
    expect(readdirSync(join(root, 'alone'))).toEqual(['atp-verifier.mjs'])
    const { endpoint, accept } = await serve('websocket').then((server) => ({
      endpoint: server.endpoint,
      accept: () => server.accept(),
    }))
    const args = [
      '--server',
      endpoint,
      '--token-file',
      join(root, 'token'),
      '--vm-id',
      'vm-9',
      '--plugin',
      join(root, 'file.mjs'),
    ]
    const child = start(args, node)
    const server = await accept()
    expect(await server.welcome()).toMatchObject({
      vm_id: 'vm-9',
      token: TOKEN,
      verifiers: ['keyboard', 'mouse', 'command', 'file'],
      agent: { platform: 'linux' },
      reads_clock: true,
    })
    server.send(
      event('command', 'run', { command: 'sh', args: ['-c', 'env; echo 好 >&2; exit 3'], expected_exit_code: 3 }),
    )
    const ran = (await server.nextOf('result')).message
    expect(ran).toMatchObject({ verified: true, details: { exit_code: 3, stderr: '好\n' } })
    const beforeNs = BigInt(Date.now()) * 1_000_000n
    server.send({ v: 1, type: 'time', nonce: 1 })
    const { guest_ns, error_ns = '0' } = (await server.nextOf('time')).message
    const afterNs = BigInt(Date.now() + 1) * 1_000_000n
    expect(BigInt(guest_ns) + BigInt(error_ns)).toBeGreaterThanOrEqual(beforeNs)
    expect(BigInt(guest_ns) - BigInt(error_ns)).toBeLessThanOrEqual(afterNs)
    server.send(event('file', 'exists', { path: join(folder, 'made'), contains: '内容' }))
    writeFileSync(join(folder, 'made'), '有内容')
    expect((await server.nextOf('result')).message).toMatchObject({ verified: true, details: { size_bytes: 9 } })
    child.kill('SIGTERM')
    expect(await exitOf(child)).toBe(0)
  })
})

describe('the token', () => {
  it('is in no log, no list of processes, and in no environment of what the agent starts', async () => {
    const server = await serve('tcp')
    start(['--server', server.endpoint, '--log-level', 'debug', '--vm-id', 'x'], process.execPath, {
      ATP_VERIFIER_TOKEN: TOKEN,
    })
    const connection = await server.accept()
    expect((await connection.welcome()).token).toBe(TOKEN)
    connection.send(event('command', 'run', { command: 'env' }))
    const { details } = (await connection.nextOf('result')).message
    expect(details['stdout']).toContain('PATH=')
    expect(details['stdout']).not.toContain(TOKEN)
    expect(readFileSync(`/proc/${program?.pid}/cmdline`, 'utf8')).not.toContain(TOKEN)
    connection.end()
    await (await server.accept()).welcome()
    await expect.poll(() => output).toContain('the server took the agent')
    expect(output).not.toContain(TOKEN)
  })
})

describe('the program', () => {
  it('reads its settings from a file', async () => {
    const server = await serve('unix socket')
    const config = join(folder, 'agent.yaml')
    writeFileSync(
      config,
      `server: ${server.endpoint}\nvm_id: 桌面\nverifiers: [command]\ntoken_file: ${join(root, 'token')}\n`,
    )
    start(['--config', config])
    expect(await (await server.accept()).welcome()).toMatchObject({
      vm_id: '桌面',
      verifiers: ['command'],
      token: TOKEN,
    })
  })

  it('says what is wrong and ends with 2 for options, 1 for connections', async () => {
    expect(await exitOf(start(['--sever', 'x']))).toBe(2)
    expect(output).toContain('did you mean "--server"?')
    expect(
      await exitOf(start(['--server', 'tcp://127.0.0.1:1', '--no-auto-reconnect', '--verifiers', 'command'])),
    ).toBe(1)
    expect(output).toContain('tcp://127.0.0.1:1 cannot be reached')
    expect(await exitOf(start(['--help']))).toBe(0)
    expect(output).toContain('not yet been run on a real Windows guest')
    expect(await exitOf(start(['--verifiers', 'smell', '--server', 'ws://h']))).toBe(2)
    expect(output).toContain('there is no verifier "smell"')
  })

  it('shows at the terminal what it can observe, or why it cannot, and connects nowhere', async () => {
    const hasInput = existsSync('/dev/input/event0')
    const child = start(['--test-input', '--test-duration', '100ms', '--server', 'tcp://127.0.0.1:1'])
    expect(await exitOf(child)).toBe(hasInput ? 0 : 1)
    expect(output).toContain(hasInput ? 'watching for 100 ms' : 'this guest has no keyboard that can be observed')
    expect(output).not.toContain('127.0.0.1')
  })

  it('that is refused ends when it is told not to try again', async () => {
    const server = await serve('websocket')
    const child = start(['--server', server.endpoint, '--no-auto-reconnect', '--vm-id', 'x'])
    const connection = await server.accept()
    await connection.nextOf('hello')
    connection.send({ v: 1, type: 'refused', code: 'ATP_VERIFIER_TOKEN', message: 'the token is wrong' })
    expect(await exitOf(child)).toBe(1)
    expect(output).toContain('the server refused this agent (ATP_VERIFIER_TOKEN): the token is wrong')
  })

  it('that is killed lets go of its port, so that the next one can have it', async () => {
    const server = await serve('virtio-serial')
    const args = ['--transport', 'virtio-serial', '--server', server.endpoint, '--vm-id', 'x']
    const killed = start(args)
    const first = (await (await server.accept()).welcome()).session
    killed.kill('SIGKILL')
    await exitOf(killed)
    const path = realpathSync(server.endpoint)
    const holders = () =>
      readdirSync('/proc')
        .filter((pid) => /^\d+$/.test(pid))
        .filter((pid) => readLinks(pid).includes(path))
    await expect.poll(holders, { timeout: 5000 }).toEqual([])
    start(args)
    const second = await server.accept()
    expect((await second.welcome()).session).not.toBe(first)
  })
})

/** What a process has open; nothing of one that has ended. The program that makes the terminal does not count. */
function readLinks(pid: string): string[] {
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('pty.openpty')) return []
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}
