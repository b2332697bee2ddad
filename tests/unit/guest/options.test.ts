import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readOptions, type AgentOptions } from '../../../guest/agent/options.ts'
import { isLocal, parseEndpoint } from '../../../guest/agent/transports/endpoint.ts'

let folder: string
let file: string
const write = (name: string, text: string, mode = 0o600) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}
const read = (
  args: readonly string[] = [],
  env: Record<string, string> = {},
): AgentOptions & { warnings: string[] } => {
  const found = readOptions(args, env)
  if ('show' in found) throw new Error(`asked for ${found.show}`)
  return { ...found.options, warnings: found.warnings }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'atp-options-'))
  file = write(
    'agent.yaml',
    `server: tcp://file:1
transport: tcp
vm_id: from-file
token_file: ${write('token-of-file', 'file-token\n')}
verifiers: [keyboard]
plugin: [/file.js]
ca: /file.pem
log_level: error
auto_reconnect: false
reconnect_interval: 7s
trace: true
`,
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a setting', () => {
  const token = () => write('token-of-flag', 'flag-token')
  const rows = () =>
    [
      ['server', 'tcp://file:1', 'ws://env', 'ws://flag', ['--server', 'ws://flag']],
      ['transport', 'tcp', 'unix', 'websocket', ['--transport', 'websocket']],
      ['vmId', 'from-file', 'from-env', 'from-flag', ['--vm-id', 'from-flag']],
      ['verifiers', ['keyboard'], ['mouse', 'command'], ['a', 'b', 'c'], ['--verifiers', 'a,b', '--verifiers', 'c']],
      ['plugins', ['/file.js'], ['/env.js'], ['/flag.js'], ['--plugin', '/flag.js']],
      ['ca', '/file.pem', '/env.pem', '/flag.pem', ['--ca', '/flag.pem']],
      ['logLevel', 'error', 'warn', 'debug', ['--log-level', 'debug']],
      ['autoReconnect', false, true, false, ['--no-auto-reconnect']],
      ['reconnectIntervalMs', 7000, 3000, 250, ['--reconnect-interval', '250ms']],
      ['token', 'file-token', 'env-token', 'flag-token', ['--token-file', token()]],
    ] as const
  const env = () => ({
    ATP_VERIFIER_SERVER: 'ws://env',
    ATP_VERIFIER_TRANSPORT: 'unix',
    ATP_VERIFIER_VM_ID: 'from-env',
    ATP_VERIFIER_VERIFIERS: 'mouse, command',
    ATP_VERIFIER_PLUGIN: '/env.js',
    ATP_VERIFIER_CA: '/env.pem',
    ATP_VERIFIER_LOG_LEVEL: 'warn',
    ATP_VERIFIER_AUTO_RECONNECT: 'true',
    ATP_VERIFIER_RECONNECT_INTERVAL: '3s',
    ATP_VERIFIER_TOKEN_FILE: write('token-of-env', 'env-token'),
  })

  it('comes from the flag, else the environment, else the file', () => {
    for (const [name, inFile, inEnv, inFlag, flags] of rows()) {
      expect(read(['--config', file])[name], `${name} of the file`).toEqual(inFile)
      expect(read([], { ...env(), ATP_VERIFIER_CONFIG: file })[name], `${name} of the environment`).toEqual(inEnv)
      expect(read([...flags, '--config', file], env())[name], `${name} of the flag`).toEqual(inFlag)
    }
    expect(read(['--trace']).trace).toBe(true)
    expect(read(['--config', file], { ATP_VERIFIER_TRACE: 'false' }).trace).toBe(false)
  })

  it('has a default', () => {
    expect(read()).toEqual({
      verifiers: [],
      plugins: [],
      logLevel: 'info',
      autoReconnect: true,
      reconnectIntervalMs: 1000,
      trace: false,
      testInput: false,
      testDurationMs: 10_000,
      warnings: [],
    })
  })

  it('that does not exist, or has a wrong value, is refused with the nearest', () => {
    const bad = (name: string, text: string) => ['--config', write(name, text)]
    for (const [args, message] of [
      [['--sever', 'x'], /"--sever"\n.*did you mean "--server"/],
      [['--token', 'x'], /no option "--token"/],
      [['--transport', 'udp'], /websocket, tcp, unix, virtio-serial/],
      [['--log-level', 'loud'], /error, warn, info, debug/],
      [['--reconnect-interval', 'soon'], /500ms, 5s, 1m/],
      [['stray'], /positional/i],
      [['--token-file', '/no/such/file'], /cannot be read/],
      [['--config', '/no/such/file'], /cannot be read/],
      [bad('a.yaml', 'vmid: x'), /"vmid"\n.*did you mean "vm_id"/],
      [bad('b.yaml', 'token: x'), /no setting/],
      [bad('c.yaml', '[1]'), /holds no settings/],
      [bad('d.json', '{"server": {"a": 1}}'), /wrong kind/],
      [bad('e.yaml', 'a: [1'), /cannot be read/],
    ] as const) {
      expect(() => read(args), args.join(' ')).toThrow(
        expect.objectContaining({ code: 'ATP_VERIFIER_OPTIONS', message: expect.stringMatching(message) as string }),
      )
    }
  })

  it('a token file that others can read is told, an empty one refused', () => {
    expect(read(['--token-file', write('open', 'x', 0o644)]).warnings[0]).toContain('chmod 600')
    expect(() => read(['--token-file', write('empty', '\n')])).toThrow('it is empty')
  })
})

describe('the address of the server', () => {
  it('names its transport, host, port and path', () => {
    expect(parseEndpoint('ws://h:1/p?q=1')).toEqual({
      transport: 'websocket',
      url: 'ws://h:1/p?q=1',
      host: 'h',
      secure: false,
    })
    expect(parseEndpoint('wss://h')).toMatchObject({ url: 'wss://h:8765/', secure: true })
    expect(parseEndpoint('ws://h:80')).toMatchObject({ url: 'ws://h:80/' })
    expect(parseEndpoint('wss://[::1]:443/x')).toMatchObject({ url: 'wss://[::1]:443/x', host: '::1' })
    expect(parseEndpoint('tcp://h')).toEqual({ transport: 'tcp', host: 'h', port: 8766, secure: false })
    expect(parseEndpoint('tls://h:443')).toEqual({ transport: 'tcp', host: 'h', port: 443, secure: true })
    expect(parseEndpoint('h:7', 'tcp')).toMatchObject({ host: 'h', port: 7 })
    expect(parseEndpoint('h')).toMatchObject({ url: 'ws://h:8765/' })
    expect(parseEndpoint('unix:/run/s')).toEqual({ transport: 'unix', path: '/run/s' })
    expect(parseEndpoint('unix:///run/s')).toEqual({ transport: 'unix', path: '/run/s' })
    expect(parseEndpoint('/run/s')).toEqual({ transport: 'unix', path: '/run/s' })
    expect(parseEndpoint('/dev/virtio-ports/x')).toEqual({ transport: 'virtio-serial', path: '/dev/virtio-ports/x' })
    expect(parseEndpoint(undefined, 'virtio-serial')).toEqual({
      transport: 'virtio-serial',
      path: '/dev/virtio-ports/atp.verifier.0',
    })
  })

  it('that says too little, too much or two things is refused', () => {
    for (const [server, transport] of [
      [undefined, undefined],
      ['ws://h', 'tcp'],
      ['ws://user:secret@h', undefined],
      ['ws://', undefined],
      ['relative/path', 'unix'],
      ['tcp://h:99999', undefined],
    ] as const) {
      let message = ''
      expect(() => {
        try {
          parseEndpoint(server, transport)
        } catch (error) {
          message = String(error)
          throw error
        }
      }, server).toThrow(expect.objectContaining({ code: 'ATP_VERIFIER_OPTIONS' }))
      expect(message).not.toContain('secret')
    }
  })

  it('is local or not', () => {
    const local = (server: string) => isLocal(parseEndpoint(server))
    expect(['ws://localhost', 'tcp://127.0.0.1', 'ws://[::1]', '/s', '/dev/virtio-ports/x'].map(local)).not.toContain(
      false,
    )
    expect(['ws://10.0.2.2', 'tcp://example.org', 'ws://127.0.0.1.example.org'].map(local)).not.toContain(true)
  })
})
