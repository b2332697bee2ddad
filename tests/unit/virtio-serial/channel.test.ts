import { describe, expect, it } from 'vitest'
import { LengthPrefixFramer, LineFramer, TranscriptRecorder } from '../../../framework/protocols/index.ts'
import {
  findPort,
  openChannel,
  VirtioSerialChannel,
  virtioSerialPorts,
  type ChannelOptions,
} from '../../../framework/protocols/virtio-serial/index.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/byte-stream.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

function pair(options: ChannelOptions): { channel: VirtioSerialChannel; guest: ByteStream; got: Uint8Array[] } {
  const [here, guest] = memoryPair()
  const got: Uint8Array[] = []
  guest.start({ onData: (chunk) => got.push(chunk), onClose: () => {} })
  return { channel: new VirtioSerialChannel(here, options), guest, got }
}

describe('VirtioSerialChannel', () => {
  it('carries messages whole in both directions', async () => {
    const { channel, guest, got } = pair({ framer: new LengthPrefixFramer() })
    await channel.send(Buffer.from('你好\n'))
    await expect.poll(() => text(Buffer.concat(got).subarray(4))).toBe('你好\n')
    const frame = new LengthPrefixFramer().encode(Buffer.from('从客体来'))
    for (const byte of frame) await guest.write(Uint8Array.of(byte))
    expect(text(await channel.receive())).toBe('从客体来')
  })

  it('slows the guest down when nobody reads, and loses nothing', async () => {
    const [here, guest] = memoryPair()
    const calls: string[] = []
    const watched: ByteStream = {
      peer: here.peer,
      start: (sink) => here.start(sink),
      write: (bytes) => here.write(bytes),
      destroy: (error) => here.destroy(error),
      pause: () => (calls.push('pause'), here.pause()),
      resume: () => (calls.push('resume'), here.resume()),
    }
    const channel = new VirtioSerialChannel(watched, { framer: new LineFramer(), pauseAtBytes: 1000 })
    guest.start({ onData: () => {}, onClose: () => {} })
    const writes = Array.from({ length: 100 }, (_, i) => guest.write(Buffer.from(`${`${i}`.padEnd(99)}\n`)))
    await expect.poll(() => calls).toEqual(['pause'])
    for (let i = 0; i < 100; i++) expect(text(await channel.receive()).trim()).toBe(`${i}`)
    await Promise.all(writes)
    expect(calls.slice(0, 3)).toEqual(['pause', 'resume', 'pause'])
  })

  it('tells an end from a truncated message and from its own close', async () => {
    const clean = pair({ framer: new LineFramer() })
    await clean.guest.write(Buffer.from('last\n'))
    clean.guest.destroy()
    expect(text(await clean.channel.receive())).toBe('last')
    await expect(clean.channel.receive()).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_LOST' })
    const cut = pair({ framer: new LineFramer() })
    await cut.guest.write(Buffer.from('la'))
    cut.guest.destroy()
    await expect(cut.channel.receive()).rejects.toMatchObject({
      code: 'ATP_VIRTIO_SERIAL_TRUNCATED',
      context: { pendingBytes: 2 },
    })
    const own = pair({})
    const waiting = own.channel.receive()
    own.channel.close(new Error('the VM was reset'))
    await expect(waiting).rejects.toMatchObject({
      code: 'ATP_VIRTIO_SERIAL_CLOSED',
      message: expect.stringContaining('the VM was reset'),
    })
    await expect(own.channel.send(Buffer.from('x'))).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_CLOSED' })
  })

  it('ends when the guest breaks the framing', async () => {
    const { channel, guest } = pair({ framer: new LengthPrefixFramer(100) })
    await guest.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff))
    await expect(channel.receive()).rejects.toMatchObject({ code: 'ATP_PROTOCOL_FRAME' })
    expect(channel.closed).toBe(true)
  })

  it('records both directions', async () => {
    const transcript = new TranscriptRecorder()
    const [here, guest] = memoryPair()
    guest.start({ onData: (chunk) => void guest.write(chunk), onClose: () => {} })
    const target = { name: 'vm-001', openChannel: async () => here }
    const channel = await openChannel(target, 'a.b', { transcript })
    await channel.send(Buffer.from('回声'))
    await channel.receive()
    expect(transcript.entries).toMatchObject([
      { vm: 'vm-001', protocol: 'virtio-serial:a.b', direction: 'out', text: '回声' },
      { direction: 'in', text: '回声' },
    ])
  })
})

describe('channel discovery', () => {
  const channels = [
    { name: 'org.qemu.guest_agent.0', targetType: 'virtio', state: 'connected', sourcePath: '/run/x' },
    { name: 'com.example.测试.0', targetType: 'virtio' },
    { name: undefined, targetType: 'virtio' },
    { name: 'forward', targetType: 'guestfwd' },
  ]

  it('finds the virtio ports with their state', () => {
    expect(virtioSerialPorts(channels)).toEqual([
      {
        name: 'org.qemu.guest_agent.0',
        guestPath: '/dev/virtio-ports/org.qemu.guest_agent.0',
        hostPath: '/run/x',
        connected: true,
      },
      {
        name: 'com.example.测试.0',
        guestPath: '/dev/virtio-ports/com.example.测试.0',
        hostPath: undefined,
        connected: undefined,
      },
    ])
  })

  it('names the ports there are when asked for another', () => {
    const missing = { code: 'ATP_VIRTIO_SERIAL_NO_CHANNEL', message: expect.stringContaining('com.example.测试.0') }
    expect(() => findPort('vm', virtioSerialPorts(channels), 'forward')).toThrow(expect.objectContaining(missing))
    expect(() => findPort('vm', [], 'x')).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('<channel') }),
    )
  })
})
