import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PortChannel } from '../../../../framework/protocols/spice/channels/data.ts'
import { FolderClients, SpiceVmConnection } from '../../../../framework/protocols/spice/index.ts'
import { MuxParser, writeMuxPacket } from '../../../../framework/protocols/spice/folder/mux.ts'
import type { ByteStream } from '../../../../framework/wire/byte-stream.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)
const NOTHING = new Uint8Array(0)

/** A folder channel whose server is this test. */
class OwnChannel extends PortChannel {
  readonly sent: { client: bigint; bytes: string }[] = []
  holds = 0
  readonly #parser = new MuxParser('sent', (client, bytes) =>
    this.sent.push({ client, bytes: Buffer.from(bytes).toString() }),
  )

  constructor() {
    const server = { name: 'nowhere', open: () => Promise.reject(new Error('nowhere')) }
    super(new SpiceVmConnection('vm', { server }), 'webdav')
  }
  override async sendData(bytes: Uint8Array): Promise<void> {
    this.#parser.push(bytes)
  }
  override hold(): () => void {
    this.holds++
    return () => this.holds--
  }
  guest(client: bigint, text: string): void {
    this.onData?.(writeMuxPacket(client, Buffer.from(text)))
  }
}

function clientsOf(channel: PortChannel) {
  const heard: { peer: string; text: string; ended: boolean; stream: ByteStream }[] = []
  const clients = new FolderClients(channel, (stream) => {
    const one = { peer: stream.peer, text: '', ended: false, stream }
    heard.push(one)
    stream.start({
      onData: (bytes) => (one.text += Buffer.from(bytes).toString()),
      onClose: () => (one.ended = true),
    })
  })
  return { clients, heard }
}

describe('the clients of a folder channel', () => {
  it('have a stream each, both ways', async () => {
    const channel = new OwnChannel()
    const { clients, heard } = clientsOf(channel)
    channel.guest(7n, 'GET 甲')
    channel.guest(-1n, 'PUT')
    channel.guest(7n, ' more')
    expect(heard.map(({ text }) => text)).toEqual(['GET 甲 more', 'PUT'])
    await heard[0]!.stream.write(Buffer.from('answer'))
    await heard[1]!.stream.write(Buffer.alloc(70_000, 'x'))
    expect(channel.sent.map(({ client, bytes }) => [client, bytes.length])).toEqual([
      [7n, 6],
      [-1n, 65_535],
      [-1n, 4465],
    ])
    channel.guest(7n, '')
    expect(heard[0]!.ended).toBe(true)
    expect(clients.size).toBe(1)
    await expect(heard[0]!.stream.write(NOTHING)).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED' })
    heard[1]!.stream.destroy()
    expect(channel.sent.at(-1)).toEqual({ client: -1n, bytes: '' })
    expect(clients.size).toBe(0)
    // What the guest closes that it never opened is nobody's.
    channel.guest(9n, '')
    expect(heard).toHaveLength(2)
  })

  it('end when the guest closes its port, and a packet cut in two is forgotten', () => {
    const channel = new OwnChannel()
    const { clients, heard } = clientsOf(channel)
    channel.onData?.(writeMuxPacket(1n, Buffer.from('half')).subarray(0, 12))
    channel.onEvent?.('closed')
    expect(heard).toMatchObject([{ text: 'ha', ended: true }])
    channel.guest(1n, 'whole')
    expect(heard[1]).toMatchObject({ text: 'whole', ended: false })
    clients.close()
    expect(heard[1]).toMatchObject({ ended: true })
    expect(channel.sent).toEqual([{ client: 1n, bytes: '' }])
  })

  it('that are slow hold the channel up and miss nothing', () => {
    const channel = new OwnChannel()
    const { heard } = clientsOf(channel)
    channel.guest(1n, 'a')
    const { stream } = heard[0]!
    stream.pause()
    stream.pause()
    channel.guest(1n, 'b')
    expect([heard[0]!.text, channel.holds]).toEqual(['a', 1])
    stream.resume()
    expect([heard[0]!.text, channel.holds]).toEqual(['ab', 0])
    stream.pause()
    channel.guest(1n, 'c')
    channel.guest(1n, '')
    expect([heard[0]!.text, heard[0]!.ended, channel.holds]).toEqual(['abc', true, 0])
  })

  it('are not too many', () => {
    const channel = new OwnChannel()
    const { clients } = clientsOf(channel)
    for (let client = 0n; client < 66n; client++) channel.guest(client, 'x')
    expect(clients.size).toBe(64)
    expect(channel.sent).toEqual([
      { client: 64n, bytes: '' },
      { client: 65n, bytes: '' },
    ])
  })
})

const packet = fc.record({ client: fc.bigInt({ min: -3n, max: 3n }), bytes: fc.uint8Array({ maxLength: 40 }) })

it('packets come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(packet), fc.array(fc.integer({ min: 1, max: 30 })), (packets, cuts) => {
      const heard = new Map<bigint, number[]>()
      const parser = new MuxParser('test', (client, bytes) => {
        // -1 stands for a close.
        const all = heard.get(client) ?? []
        heard.set(client, [...all, ...(bytes.length === 0 ? [-1] : bytes)])
      })
      const stream = Buffer.concat(packets.map(({ client, bytes }) => writeMuxPacket(client, bytes)))
      let at = 0
      for (const cut of cuts) parser.push(stream.subarray(at, (at += cut)))
      parser.push(stream.subarray(at))
      const expected = new Map<bigint, number[]>()
      for (const { client, bytes } of packets) {
        expected.set(client, [...(expected.get(client) ?? []), ...(bytes.length === 0 ? [-1] : bytes)])
      }
      expect(heard).toEqual(expected)
    }),
  )
})

it('any bytes are clients, of whom there are never too many', () => {
  const change = fc.record({ place: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), value: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(packet, { minLength: 1, maxLength: 100 }), fc.array(change), (packets, changes) => {
      const channel = new OwnChannel()
      const { clients } = clientsOf(channel)
      const stream = Buffer.concat(packets.map(({ client, bytes }) => writeMuxPacket(client, bytes)))
      for (const { place, value } of changes) stream[Math.floor(place * stream.length)] = value
      channel.onData?.(stream)
      expect(clients.size).toBeLessThanOrEqual(64)
      clients.close()
      expect(clients.size).toBe(0)
    }),
    { numRuns: MUTATIONS },
  )
})
