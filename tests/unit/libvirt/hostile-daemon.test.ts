import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectUnix } from '../../../framework/transport/index.ts'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { PROGRAM, REMOTE, STATUS, TYPE, VERSION } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { message, ScriptedDaemon, VM, writeVm } from './scripted-daemon.ts'

/** A frame with anything in its header. */
function frame(
  fields: Partial<Record<'length' | 'program' | 'version' | 'procedure' | 'type' | 'serial' | 'status', number>>,
  body = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(28)
  header.writeUInt32BE(fields.length ?? 28 + body.length, 0)
  header.writeUInt32BE(fields.program ?? PROGRAM.REMOTE, 4)
  header.writeUInt32BE(fields.version ?? VERSION, 8)
  header.writeInt32BE(fields.procedure ?? REMOTE.CONNECT_GET_HOSTNAME, 12)
  header.writeUInt32BE(fields.type ?? TYPE.REPLY, 16)
  header.writeUInt32BE(fields.serial ?? 0, 20)
  header.writeUInt32BE(fields.status ?? STATUS.OK, 24)
  return Buffer.concat([header, body])
}

const words = (...values: number[]) =>
  Buffer.concat(
    values.map((value) => {
      const word = Buffer.alloc(4)
      word.writeUInt32BE(value >>> 0)
      return word
    }),
  )

/** What the daemon sends instead of the answer to the call with this serial. */
const LIES: Record<string, (serial: number) => Buffer> = {
  'a length of 3': () => frame({ length: 3 }),
  'a length of 10': () => frame({ length: 10 }),
  'a length of 4 GiB': () => frame({ length: 0xffff_ffff }),
  'a length just above the limit': () => frame({ length: 33_554_432 + 5 }),
  'another procedure’s answer': (serial) => frame({ serial, procedure: 3 }, words(0)),
  'another program': (serial) => frame({ serial, program: 0x1234 }, words(0)),
  'another version': (serial) => frame({ serial, version: 2 }, words(0)),
  'an unknown type': (serial) => frame({ serial, type: 9 }, words(0)),
  'a call of its own': (serial) => frame({ serial, type: TYPE.CALL }, words(0)),
  'an unknown status': (serial) => frame({ serial, status: 7 }, words(0)),
  'a string longer than the frame': (serial) => frame({ serial }, words(1000, 0x41414141)),
  'a string longer than any': (serial) => frame({ serial }, words(0xffff_fff0)),
  'bytes after the answer': (serial) => frame({ serial }, words(0, 0)),
  'no body': (serial) => frame({ serial }),
  'garbage as error': (serial) => frame({ serial, status: STATUS.ERROR }, words(1, 2, 7, 9)),
  'an empty error': (serial) => frame({ serial, status: STATUS.ERROR }),
  'an answer to nothing': (serial) => frame({ serial: serial + 100 }, words(0)),
  'a malformed event': () => frame({ type: TYPE.MESSAGE, procedure: REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE }),
  'an unknown keepalive procedure': () => frame({ program: PROGRAM.KEEPALIVE, procedure: 3, type: TYPE.MESSAGE }),
}

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

  it('that announces much and sends little costs little memory', async () => {
    onSocket = (socket) => socket.write(frame({ length: 33_554_432 }))
    const before = process.memoryUsage().arrayBuffers
    const openings = Array.from({ length: 20 }, async () =>
      LibvirtClient.open(await connectUnix(`${folder}/s`), { path: '/session', timeoutMs: 200 }),
    )
    for (const outcome of await Promise.allSettled(openings)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ATP_LIBVIRT_TIMEOUT' } })
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000)
  })
})
