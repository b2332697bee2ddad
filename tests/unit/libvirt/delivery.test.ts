import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rawFrame } from '../../../framework/protocols/libvirt/codec.ts'
import { PROGRAM, REMOTE, STATUS, TYPE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { message, ScriptedDaemon, VM, writeVm } from './scripted-daemon.ts'

const NAME = '虚拟机 🖥 é'

/**
 * One session of everything a daemon sends: replies, an error, events and a stream; what the client made of it. The
 * daemon's bytes come in pieces that end where `cut` says.
 */
async function session(cut: (bytes: Buffer) => Buffer[]) {
  const { client, daemon } = await ScriptedDaemon.open()
  const send = (...frames: Buffer[]) => {
    for (const piece of cut(Buffer.concat(frames))) void daemon.stream.write(piece)
  }
  const heard: string[] = []
  daemon.onCall = (call) => {
    if (call.procedure === REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY) {
      const event = (kind: number) =>
        message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE, (writer) =>
          writeVm(writer.i32(7), { ...VM, name: NAME })
            .i32(kind)
            .i32(0),
        )
      send(
        call.reply((writer) => writer.i32(7)),
        event(3),
        event(4),
      )
    } else if (call.procedure === REMOTE.DOMAIN_OPEN_CHANNEL) {
      const data = (text: string) =>
        rawFrame(PROGRAM.REMOTE, call.procedure, TYPE.STREAM, call.serial, STATUS.CONTINUE, Buffer.from(text))
      send(call.reply(), data('频道'), data(' data'), data(''))
    } else if (call.procedure === REMOTE.DOMAIN_GET_STATE) send(call.refuse(42, '没有'))
    else send(call.reply((writer) => writer.string(NAME)))
  }
  await client.onLifecycle(VM, ({ event, domain }) => heard.push(`${domain.name} ${event}`))
  const channel = await client.openChannel(VM, 'org.example.0')
  const chunks: Uint8Array[] = []
  await new Promise<Error | undefined>((resolve) =>
    channel.start({ onData: (chunk) => chunks.push(chunk), onClose: resolve }),
  )
  const [hostname, refused] = await Promise.all([
    client.hostname(),
    client.getState(VM).catch((error: unknown) => error),
  ])
  const { pending, inFlight, queued, stray } = client.stats()
  await client.close()
  expect(refused).toMatchObject({ code: 'ATP_LIBVIRT_NO_DOMAIN', message: expect.stringContaining('没有') })
  return { heard, hostname, channel: Buffer.concat(chunks).toString(), pending, inFlight, queued, stray }
}

const EXPECTED = {
  heard: [`${NAME} suspended`, `${NAME} resumed`],
  hostname: NAME,
  channel: '频道 data',
  pending: 0,
  inFlight: 0,
  queued: 0,
  stray: 0,
}

describe('what a daemon sends', () => {
  it('means the same byte by byte and all at once', async () => {
    expect(await session((bytes) => [bytes])).toEqual(EXPECTED)
    expect(await session((bytes) => Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual(EXPECTED)
  })

  it('means the same however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.integer({ min: 1, max: 90 })), async (sizes) => {
        const seen = await session((bytes) => {
          const pieces: Buffer[] = []
          for (let at = 0; at < bytes.length;) {
            const size = sizes.next().value as number
            pieces.push(bytes.subarray(at, at + size))
            at += size
          }
          return pieces
        })
        expect(seen).toEqual(EXPECTED)
      }),
      { numRuns: 100 },
    )
  })
})
