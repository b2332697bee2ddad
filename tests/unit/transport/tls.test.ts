import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectTls, type TlsAddress } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/index.ts'
import { LabCa, type Credentials } from '../../support/remote-host/lab-ca.ts'
import { PROGRAMS } from '../../support/remote-host/programs.ts'
import { descriptors } from './stream-contract.ts'

let folder: string
let authority: LabCa
let foreign: LabCa
let ca: string
const SERVER = { use: 'server', names: ['DNS:localhost', 'IP:127.0.0.1'] } as const
let server: Credentials
let client: Credentials

const read = ({ cert, key }: Credentials) => ({ cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') })

beforeAll(() => {
  folder = mkdtempSync('/tmp/atp-tls-')
  authority = new LabCa(mkdtempSync(`${folder}/lab-`), 'lab')
  foreign = new LabCa(mkdtempSync(`${folder}/foreign-`), 'foreign')
  ca = readFileSync(authority.cert, 'utf8')
  server = authority.issue('server', SERVER)
  client = authority.issue('client', { use: 'client' })
})
afterAll(() => rmSync(folder, { recursive: true }))

let before: string[]
const servers: Server[] = []
const accepted: Socket[] = []
const programs: ChildProcess[] = []
beforeEach(() => {
  before = descriptors()
})
afterEach(async () => {
  for (const socket of accepted.splice(0)) socket.destroy()
  for (const server of servers.splice(0)) {
    server.close()
    await once(server, 'close')
  }
  for (const program of programs.splice(0)) {
    program.kill('SIGKILL')
    if (program.exitCode === null && program.signalCode === null) await once(program, 'exit')
  }
  await expect.poll(descriptors, { timeout: 5000 }).toEqual(before)
})

async function listen(server: Server): Promise<number> {
  server.on('connection', (socket) => accepted.push(socket.on('error', () => {})))
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A server that answers whatever comes with the same. */
async function serve(options: TlsOptions): Promise<number> {
  const echo = (socket: TLSSocket) => void socket.on('error', () => {}).pipe(socket)
  const listener = createServer({ ...options }, echo)
  listener.on('tlsClientError', () => {})
  return listen(listener)
}

/** OpenSSL's own server, which checks certificates within the handshake and says so by alerts. */
function serveStrictly(version: string): Promise<number> {
  const { cert, key } = server
  const verify = ['-Verify', '1', '-verify_return_error', '-CAfile', authority.cert]
  const program = spawn(
    PROGRAMS.openssl,
    ['s_server', '-accept', '127.0.0.1:0', '-cert', cert, '-key', key, ...verify, version],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  programs.push(program)
  return new Promise((resolve, reject) => {
    let said = ''
    program.stdout.on('data', (chunk) => {
      said += String(chunk)
      const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1]
      if (port) resolve(Number(port))
    })
    program.once('exit', () => reject(new Error(`openssl s_server did not start: ${said}`)))
  })
}

/** Why the connection did not come about, or ended at once. */
async function refusal(address: Partial<TlsAddress> & { port: number }): Promise<unknown> {
  const started = performance.now()
  let stream: ByteStream
  try {
    stream = await connectTls({ host: '127.0.0.1', ca, ...address }, { timeoutMs: 5000 })
  } catch (error) {
    expect(performance.now() - started).toBeLessThan(2000)
    return error
  }
  const ended = new Promise<Error | undefined>((resolve) => stream.start({ onData: () => {}, onClose: resolve }))
  const error = await ended
  expect(performance.now() - started).toBeLessThan(2000)
  return error
}

async function echoes(address: Partial<TlsAddress> & { port: number }, echo = true): Promise<void> {
  const stream = await connectTls({ host: '127.0.0.1', ca, ...address }, { timeoutMs: 5000 })
  if (!echo) return stream.destroy()
  const answer = new Promise<string>((resolve, reject) =>
    stream.start({ onData: (chunk) => resolve(Buffer.from(chunk).toString()), onClose: reject }),
  )
  await stream.write(Buffer.from('你好'))
  expect(await answer).toBe('你好')
  stream.destroy()
}

describe('connectTls accepts', () => {
  it('a certificate for the address it connects to, and for the name', async () => {
    const port = await serve(read(server))
    await echoes({ port })
    await echoes({ port, host: 'localhost' })
    await echoes({ port, servername: 'localhost' })
  })

  it('a server that wants a certificate, with one', async () => {
    const port = await serve({ ...read(server), ca, requestCert: true, rejectUnauthorized: true })
    await echoes({ port, ...read(client) })
  })

  it('anybody, when told not to verify', async () => {
    const port = await serve(read(foreign.issue('other', { use: 'server', names: ['DNS:elsewhere'] })))
    await echoes({ port, verify: false })
  })

  it('TLS 1.2', async () => {
    await echoes({ port: await serve({ ...read(server), maxVersion: 'TLSv1.2' }) })
  })
})

describe('connectTls refuses', () => {
  it('a server whose CA is unknown', async () => {
    const port = await serve(read(foreign.issue('server', SERVER)))
    expect(await refusal({ port })).toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA', retryable: false })
    expect(await refusal({ port, ca: undefined })).toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA' })
  })

  it('a server whose certificate has expired', async () => {
    const port = await serve(read(authority.issue('server', { ...SERVER, days: -1 })))
    expect(await refusal({ port })).toMatchObject({
      code: 'ATP_TLS_EXPIRED',
      retryable: false,
      context: { check: 'CERT_HAS_EXPIRED' },
    })
  })

  it.each([
    ['another name', { names: ['DNS:elsewhere'] }, {}, '127.0.0.1'],
    ['another address', { names: ['IP:127.0.0.2', 'DNS:localhost'] }, {}, '127.0.0.1'],
    ['an address in place of the name', { names: ['DNS:localhost'] }, {}, '127.0.0.1'],
    ['no name at all', { names: [] }, {}, '127.0.0.1'],
    ['the address, when a name is demanded', SERVER, { servername: 'lab.example' }, 'lab.example'],
  ])('a server whose certificate is for %s', async (_, options, demand, wanted) => {
    const port = await serve(read(authority.issue('server', { use: 'server', ...options })))
    expect(await refusal({ port, ...demand })).toMatchObject({
      code: 'ATP_TLS_NAME',
      retryable: false,
      message: expect.stringContaining(`not for ${wanted}`),
    })
  })

  it.each(['-tls1_2', '-tls1_3'])('to hide that the server does not accept its certificate (%s)', async (version) => {
    const port = await serveStrictly(version)
    expect(await refusal({ port, ...read(foreign.issue('me', { use: 'client' })) })).toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      retryable: false,
      message: expect.stringMatching(/does not accept .*CN=me, valid until/),
    })
    const expired = read(authority.issue('me', { use: 'client', days: -1 }))
    expect(await refusal({ port, ...expired })).toMatchObject({ code: 'ATP_TLS_CLIENT_CERTIFICATE' })
    await echoes({ port, ...read(client) }, false)
  })

  it('to hide that the server wants a certificate and got none', async () => {
    const port = await serve({ ...read(server), ca, requestCert: true })
    expect(await refusal({ port })).toMatchObject({
      code: 'ATP_TLS_CLIENT_CERTIFICATE',
      message: expect.stringContaining('none was shown'),
    })
  })

  it('what is older than TLS 1.2', async () => {
    const ciphers = 'DEFAULT:@SECLEVEL=0'
    const port = await serve({ ...read(server), minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers })
    expect(await refusal({ port })).toMatchObject({ code: 'ATP_TLS_HANDSHAKE', retryable: false })
  })

  it('what is no TLS', async () => {
    const chatty = createTcpServer((socket) => socket.end('220 mail.example ESMTP\r\n'))
    expect(await refusal({ port: await listen(chatty) })).toMatchObject({ code: 'ATP_TLS_HANDSHAKE', retryable: false })
  })

  it('a peer that hangs up, as one that may come back', async () => {
    const port = await listen(createTcpServer((socket) => socket.destroy()))
    expect(await refusal({ port })).toMatchObject({ code: 'ATP_TLS_HANDSHAKE', retryable: true })
    expect(await refusal({ port: 1 })).toMatchObject({ code: 'ATP_TRANSPORT_CONNECT', retryable: true })
  })

  it.each([
    ['a CA that is none', () => ({ ca: 'not a certificate' })],
    ['a certificate that is none', () => ({ cert: 'nothing', key: read(client).key })],
    ['a key of another certificate', () => ({ cert: read(client).cert, key: read(server).key })],
  ])('%s', async (_, files) => {
    expect(await refusal({ port: 1, ...files() })).toMatchObject({ code: 'ATP_TLS_FILE', branch: 'config' })
  })
})

describe('connectTls', () => {
  it('gives up on a peer that accepts and says nothing, and when told to', async () => {
    const address = { host: '127.0.0.1', port: await listen(createTcpServer()), ca }
    await expect(connectTls(address, { timeoutMs: 500 })).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_TIMEOUT',
      message: expect.stringContaining('handshake'),
    })
    await expect(connectTls(address, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      code: 'ATP_INTERRUPTED',
    })
  })

  it('sends each write in a record of its own, also those that wait for others', async () => {
    const chunks: string[] = []
    const ended = Promise.withResolvers<void>()
    // Node's own server is told of one record at a time.
    const listener = createServer(read(server), (socket) => {
      socket
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          chunks.push(chunk.toString())
          if (chunks.join('').endsWith('end')) ended.resolve()
        })
    })
    const stream = await connectTls({ host: '127.0.0.1', port: await listen(listener), ca }, { timeoutMs: 5000 })
    stream.start({ onData: () => {}, onClose: () => {} })
    const words = ['一', 'two', 'three', 'four', 'end']
    await Promise.all(words.map((word) => stream.write(Buffer.from(word))))
    await ended.promise
    stream.destroy()
    expect(chunks).toEqual(words)
  })

  it('tells who reads that the connection broke', async () => {
    const behind = await serve(read(server))
    let near: Socket | undefined
    const between = createTcpServer((socket) => {
      near = socket
      const onward = connect(behind, '127.0.0.1')
      accepted.push(onward.on('error', () => {}))
      socket.pipe(onward).pipe(socket)
    })
    const stream = await connectTls({ host: '127.0.0.1', port: await listen(between), ca })
    const ended = new Promise<Error | undefined>((resolve) =>
      stream.start({ onData: () => near?.resetAndDestroy(), onClose: resolve }),
    )
    await stream.write(Buffer.from('there and back'))
    expect(await ended).toMatchObject({ code: 'ATP_TRANSPORT_LOST', retryable: true })
  })
})
