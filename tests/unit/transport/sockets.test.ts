import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectTcp, connectUnix } from '../../../framework/transport/index.ts'
import { descriptors } from './stream-contract.ts'

let folder: string
let path: string
let unix: Server
let tcp: Server
let port: number
const accepted: Socket[] = []

beforeAll(async () => {
  folder = mkdtempSync('/tmp/atp-sockets-')
  path = `${folder}/s`
  const accept = (socket: Socket) => void accepted.push(socket.on('error', () => {}))
  unix = createServer(accept).listen(path)
  tcp = createServer(accept).listen(0)
  await Promise.all([once(unix, 'listening'), once(tcp, 'listening')])
  port = (tcp.address() as AddressInfo).port
})
afterAll(async () => {
  unix.close()
  tcp.close()
  await Promise.all([once(unix, 'close'), once(tcp, 'close')])
  rmSync(folder, { recursive: true })
})

let before: string[]
beforeEach(() => {
  before = descriptors()
})
afterEach(async () => {
  await expect
    .poll(
      () => {
        for (const socket of accepted.splice(0)) socket.destroy()
        return descriptors()
      },
      { timeout: 5000 },
    )
    .toEqual(before)
})

describe('connectUnix', () => {
  it('says that nobody listens', async () => {
    await expect(connectUnix(`${folder}/none`)).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      retryable: true,
      context: { errno: 'ENOENT' },
    })
  })

  it.each([`/${'x'.repeat(107)}`, '', '/a\0b'])('refuses a path that no socket can have: %j', async (path) => {
    await expect(connectUnix(path)).rejects.toMatchObject({ code: 'ATP_TRANSPORT_PATH' })
  })
})

describe('connectTcp', () => {
  it.each(['localhost', '127.0.0.1'])('finds %s', async (host) => {
    const stream = await connectTcp({ host, port }, { timeoutMs: 5000 })
    expect(stream.peer).toBe(`tcp:${host}:${port}`)
    stream.destroy()
  })

  it('writes IPv6 addresses in brackets', async () => {
    await expect(connectTcp({ host: '::1', port: 1 }, { timeoutMs: 5000 })).rejects.toThrow('tcp:[::1]:1')
  })

  it('says that nobody listens, also where a name has several addresses', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      await expect(connectTcp({ host, port: 1 })).rejects.toMatchObject({
        code: 'ATP_TRANSPORT_CONNECT',
        message: expect.stringContaining('ECONNREFUSED'),
        context: { errno: 'ECONNREFUSED' },
        retryable: true,
      })
    }
  })

  it('says that there is no such host', async () => {
    await expect(connectTcp({ host: 'nowhere.invalid', port })).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      context: { errno: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/) },
      remedy: expect.stringContaining('name'),
    })
  })

  it('tells who reads that the connection broke', async () => {
    const stream = await connectTcp({ host: '127.0.0.1', port })
    await expect.poll(() => accepted.length).toBe(1)
    const ended = new Promise<Error | undefined>((resolve) => stream.start({ onData: () => {}, onClose: resolve }))
    accepted[0]?.resetAndDestroy()
    expect(await ended).toMatchObject({ code: 'ATP_TRANSPORT_LOST', retryable: true, context: { errno: 'ECONNRESET' } })
    await expect(stream.write(Buffer.from('x'))).rejects.toMatchObject({
      code: 'ATP_STREAM_CLOSED',
      cause: { code: 'ATP_TRANSPORT_LOST' },
    })
  })
})

describe.each([
  ['connectUnix', (options: object) => connectUnix(path, options)],
  ['connectTcp', (options: object) => connectTcp({ host: '127.0.0.1', port }, options)],
])('%s', (_, connect) => {
  it('can be interrupted before, while and after it connects', async () => {
    await expect(connect({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    const controller = new AbortController()
    const connecting = connect({ signal: controller.signal, timeoutMs: 5000 })
    controller.abort(new Error('never mind'))
    await expect(connecting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED', cause: { message: 'never mind' } })
    const late = new AbortController()
    const stream = await connect({ signal: late.signal, timeoutMs: 5000 })
    late.abort()
    await stream.write(Buffer.from('still there'))
    stream.destroy()
  })

  it.each([Infinity, 1e12])('has no limit where that is %d ms', async (timeoutMs) => {
    const stream = await connect({ timeoutMs })
    await stream.write(Buffer.from('there'))
    stream.destroy()
  })
})
