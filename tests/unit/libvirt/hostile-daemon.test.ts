import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectTcp, connectUnix } from '../../../framework/transport/index.ts'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { PROGRAM, REMOTE, STATUS, TYPE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { frame, LIES, words } from './lies.ts'
import { message, ScriptedDaemon, VM, writeVm } from './scripted-daemon.ts'

describe('a daemon that breaks the protocol', () => {
  it.each(Object.entries(LIES))('by %s costs the connection, nothing more', async (_, lie) => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = client.hostname()
    const waiting = client.getState(VM)
    const outcomes = Promise.allSettled([asked, waiting])
    const [call] = await daemon.waitForCalls(2)
    daemon.send(lie(call!.serial))
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_PROTOCOL' } })
    }
    expect(await client.closed).toMatchObject({ code: 'ATP_LIBVIRT_PROTOCOL' })
    expect(client.stats()).toMatchObject({ pending: 0, streams: 0 })
    await expect.poll(() => daemon.ended, { timeout: 10_000 }).toBe(true)
  })

  it('by a malformed body of an event we asked for costs the connection', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    daemon.onCall = (call) =>
      daemon.send(
        call.reply((writer) => writer.i32(1)),
        message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_REBOOT, (writer) => writer.i32(1).string('x')),
      )
    await client.onReboot(undefined, () => {})
    expect(await client.closed).toMatchObject({ code: 'ATP_LIBVIRT_PROTOCOL' })
  })

  it('events and stream frames nobody waits for are counted, not obeyed', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const asked = client.hostname()
    const [call] = await daemon.waitForCalls(1)
    daemon.send(
      message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_REBOOT, (writer) => writeVm(writer.i32(99))),
      frame({ type: TYPE.STREAM, serial: 77, status: STATUS.CONTINUE }, words(1)),
      call!.reply((writer) => writer.string('host')),
    )
    expect(await asked).toBe('host')
    expect(client.stats().stray).toBe(2)
    await client.close()
  })

  it('by any bytes at all never leaves a call open', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.uint8Array({ maxLength: 80 }).map((body) => frame({ serial: 4 }, Buffer.from(body))),
      fc.uint8Array({ maxLength: 80 }).map((body) => frame({ serial: 4, status: STATUS.ERROR }, Buffer.from(body))),
    )
    await fc.assert(
      fc.asyncProperty(bytes, async (garbage) => {
        const { client, daemon } = await ScriptedDaemon.open()
        const asked = client.hostname().then(
          () => 'answered',
          (error: { code: string }) => error.code,
        )
        await daemon.waitForCalls(1)
        daemon.send(Buffer.from(garbage))
        daemon.stream.destroy()
        expect(['answered', 'ATP_LIBVIRT_PROTOCOL', 'ATP_LIBVIRT_CLOSED', 'ATP_LIBVIRT_REMOTE']).toContain(await asked)
        expect(client.stats().pending).toBe(0)
        await client.closed
      }),
      { numRuns: 300 },
    )
  })

  it('by asking for signs of life without end fills no memory', async () => {
    const { client, daemon } = await ScriptedDaemon.open()
    const ping = message(PROGRAM.KEEPALIVE, 1)
    const flood = Buffer.concat(Array.from({ length: 5000 }, () => ping))
    daemon.stream.pause()
    for (let count = 0; count < 20; count++) await daemon.stream.write(flood)
    daemon.stream.resume()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(daemon.pongs).toBeLessThan(100_000)
    await client.close()
  })
})

describe('a daemon on a socket', () => {
  let folder: string
  let server: Server
  let onSocket: (socket: Socket) => void
  const accepted: Socket[] = []

  beforeAll(async () => {
    folder = mkdtempSync('/tmp/atp-hostile-')
    server = createServer((socket) => {
      accepted.push(socket)
      socket.on('error', () => {})
      onSocket(socket)
    })
    server.listen(`${folder}/s`)
    await once(server, 'listening')
  })
  afterAll(async () => {
    for (const socket of accepted) socket.destroy()
    server.close()
    await once(server, 'close')
    rmSync(folder, { recursive: true })
  })

  it.each([
    ['in the middle of a message', Buffer.from('000000ff2000', 'hex'), 'ATP_LIBVIRT_PROTOCOL'],
    ['at once', Buffer.alloc(0), 'ATP_LIBVIRT_CLOSED'],
  ])('that hangs up %s is reported', async (_, bytes, code) => {
    onSocket = (socket) => socket.end(bytes)
    const opening = LibvirtClient.open(await connectUnix(`${folder}/s`), { path: '/session', timeoutMs: 5000 })
    await expect(opening).rejects.toMatchObject({ code })
  })

  it('that resets the connection is reported', async () => {
    // Closing with unread bytes resets a Unix socket.
    onSocket = (socket) => socket.once('readable', () => socket.destroy())
    const opening = LibvirtClient.open(await connectUnix(`${folder}/s`), { path: '/session', timeoutMs: 5000 })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
  })

  it('that says nothing is given up at the time limit', async () => {
    onSocket = () => {}
    const opening = LibvirtClient.open(await connectUnix(`${folder}/s`), { path: '/session', timeoutMs: 50 })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_TIMEOUT' })
  })

  it('that resets a TCP connection within an answer is reported', async () => {
    const listener = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.write(frame({ length: 100 }), () => socket.resetAndDestroy()))
    })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const opening = LibvirtClient.open(await connectTcp({ host: '127.0.0.1', port }), { path: '/session' })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED', retryable: true })
    listener.close()
    await once(listener, 'close')
  })

  it('that lies, hangs up and announces much, again and again, costs less than 10 MB', async () => {
    const script = `${import.meta.dirname}/hostile-rounds.ts`
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script], { timeout: 60_000 })
    const { growthBytes, pending, opened } = JSON.parse(stdout) as Record<string, number>
    expect(opened).toBe(40 * (Object.keys(LIES).length + 2))
    expect(pending).toBe(0)
    expect(growthBytes).toBeLessThan(10_000_000)
  }, 60_000)
})
