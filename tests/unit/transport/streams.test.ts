import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectUnix, memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/index.ts'

/** Collects until the end; resolves with the bytes and the reason. */
function drain(stream: ByteStream): { bytes(): Buffer; ended: Promise<Error | undefined> } {
  const chunks: Uint8Array[] = []
  const ended = new Promise<Error | undefined>((resolve) =>
    stream.start({ onData: (chunk) => chunks.push(chunk), onClose: resolve }),
  )
  return { bytes: () => Buffer.concat(chunks), ended }
}

let folder: string
let server: Server
let path: string
const accepted: Socket[] = []

beforeEach(async () => {
  folder = mkdtempSync('/tmp/atp-transport-')
  path = `${folder}/s`
  server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket))
  server.listen(path)
  await once(server, 'listening')
})

afterEach(async () => {
  for (const socket of accepted.splice(0)) socket.destroy()
  server.close()
  await once(server, 'close')
  rmSync(folder, { recursive: true })
})

/** Both ends of a connection over each transport. */
const TRANSPORTS: Record<string, () => Promise<{ near: ByteStream; far: ByteStream }>> = {
  memory: async () => {
    const [near, far] = memoryPair()
    return { near, far }
  },
  unix: async () => {
    const near = await connectUnix(path, { timeoutMs: 5000 })
    if (accepted.length === 0) await once(server, 'connection')
    return { near, far: socketStream(accepted[0] as Socket) }
  },
}

/** The accepted side in the same clothes, so that one set of expectations fits both ends. */
function socketStream(socket: Socket): ByteStream {
  return {
    peer: 'client',
    start: (sink) => {
      socket.on('data', (chunk) => sink.onData(chunk))
      socket.on('error', () => {})
      socket.on('close', () => sink.onClose())
      socket.resume()
    },
    write: (bytes) =>
      new Promise((resolve, reject) => socket.write(bytes, (error) => (error ? reject(error) : resolve()))),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    destroy: () => socket.destroy(),
  }
}

describe.each(Object.entries(TRANSPORTS))('a byte stream over %s', (_, open) => {
  it('carries bytes in order, both ways, also those sent before anybody listened', async () => {
    const { near, far } = await open()
    await far.write(Buffer.from('先来'))
    await near.write(Buffer.from('hello'))
    const atNear = drain(near)
    const atFar = drain(far)
    await far.write(Buffer.from('后到'))
    await expect.poll(() => atNear.bytes().toString(), { timeout: 10_000 }).toBe('先来后到')
    await expect.poll(() => atFar.bytes().toString(), { timeout: 10_000 }).toBe('hello')
    near.destroy()
    expect(await atNear.ended).toBeUndefined()
    await atFar.ended
  })

  it('delivers everything before the end, then tells it once', async () => {
    const { near, far } = await open()
    const all = Buffer.alloc(300_000, 'x')
    const atNear = drain(near)
    await far.write(all)
    far.destroy()
    expect(await atNear.ended).toBeUndefined()
    expect(atNear.bytes().equals(all)).toBe(true)
  })

  it('delivers nothing while paused', async () => {
    const { near, far } = await open()
    const atNear = drain(near)
    near.pause()
    const sent = far.write(Buffer.from('later'))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(atNear.bytes().length).toBe(0)
    near.resume()
    await sent
    await expect.poll(() => atNear.bytes().toString(), { timeout: 10_000 }).toBe('later')
    near.destroy()
  })

  it('tells its own reason and refuses to write afterwards', async () => {
    const { near } = await open()
    const atNear = drain(near)
    const reason = new Error('enough')
    near.destroy(reason)
    expect(await atNear.ended).toBe(reason)
    await expect(near.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'ATP_STREAM_CLOSED' })
  })
})

describe('connectUnix', () => {
  it('slows a writer down to the reader, and rejects it when the stream ends', async () => {
    const stream = await connectUnix(path)
    drain(stream)
    let taken = 0
    const writes = Array.from({ length: 40 }, () => stream.write(Buffer.alloc(100_000)).then(() => taken++))
    const settled = Promise.allSettled(writes)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(taken).toBeLessThan(40)
    stream.destroy()
    const rejected = (await settled).filter((result) => result.status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    expect(rejected[0]?.reason).toMatchObject({ code: 'ATP_STREAM_CLOSED' })
  })

  it('says that nobody listens', async () => {
    await expect(connectUnix(`${folder}/none`)).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      retryable: true,
      context: { errno: 'ENOENT' },
    })
  })

  it('refuses a path that no socket can have', async () => {
    await expect(connectUnix(`/${'x'.repeat(107)}`)).rejects.toMatchObject({ code: 'ATP_TRANSPORT_PATH' })
    await expect(connectUnix('')).rejects.toMatchObject({ code: 'ATP_TRANSPORT_PATH' })
  })

  it('can be interrupted', async () => {
    await expect(connectUnix(path, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    const controller = new AbortController()
    const connecting = connectUnix(path, { signal: controller.signal })
    controller.abort()
    await expect(connecting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })
})
