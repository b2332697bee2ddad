import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/index.ts'
import { decodeLinkHeader, decodeLinkReply, encodeLinkRequest } from '../../../../framework/protocols/spice/link.ts'
import { MessageFramer } from '../../../../framework/protocols/spice/message-framer.ts'
import { encryptTicket } from '../../../../framework/protocols/spice/ticket.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)

function reply(): Uint8Array<ArrayBuffer> {
  const key = new Uint8Array(162).fill(7)
  return new SpiceWriter().u32(0).bytes(key).u32(1).u32(2).u32(178).u32(0b1011).u32(1).u32(2).finish()
}

describe('a link request', () => {
  it('has header, channel and capabilities in the order of the protocol', () => {
    const request = { connectionId: 7, channelType: 3, channelId: 1, common: [0, 1, 3], channel: [33] }
    const expected =
      '52454451 02000000 02000000 1e000000 07000000 0301 01000000 02000000 12000000 0b000000 00000000 02000000'
    expect(Buffer.from(encodeLinkRequest(request)).toString('hex')).toBe(expected.replaceAll(' ', ''))
  })
})

describe('a link reply', () => {
  it('is read', () => {
    const { error, publicKey, common, channel } = decodeLinkReply(reply(), 'test')
    expect({ error, common, channel, bytes: publicKey.length }).toEqual({
      error: 0,
      common: [11],
      channel: [1, 2],
      bytes: 162,
    })
  })

  it('that refuses may be short or empty', () => {
    expect(decodeLinkReply(new SpiceWriter().u32(5).finish(), 'test').error).toBe(5)
    const zeros = new SpiceWriter().u32(5).bytes(new Uint8Array(174)).finish()
    expect(decodeLinkReply(zeros, 'test').error).toBe(5)
  })

  it('of another protocol, another version or an endless length is refused', () => {
    const header = (magic: number, major: number, size: number) =>
      new SpiceWriter().u32(magic).u32(major).u32(2).u32(size).finish()
    expect(decodeLinkHeader(header(0x51444552, 2, 186), 'test')).toBe(186)
    for (const wrong of [header(1, 2, 186), header(0x51444552, 1, 186), header(0x51444552, 2, 1 << 20)])
      expect(() => decodeLinkHeader(wrong, 'test')).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
  })

  it('however mutated gives a reply or a typed error', () => {
    const mutation = fc.record({ at: fc.nat(189), value: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), fc.nat(190), (mutations, length) => {
        const bytes = reply()
        for (const { at, value } of mutations) bytes[at] = value
        try {
          const { common, channel } = decodeLinkReply(bytes.subarray(0, length), 'test')
          expect(common.length + channel.length).toBeLessThanOrEqual(3 + 64)
        } catch (error) {
          expect(isAtpError(error, 'ATP_SPICE_PROTOCOL')).toBe(true)
        }
      }),
      { numRuns: MUTATIONS },
    )
  })
})

describe('messages', () => {
  const messages = fc.array(fc.tuple(fc.nat(0xffff), fc.uint8Array({ maxLength: 300 })), { maxLength: 20 })
  const encode = (list: [number, Uint8Array][], mini: boolean) => {
    const writer = new SpiceWriter()
    for (const [type, body] of list) {
      if (!mini) writer.u64(1n)
      writer.u16(type).u32(body.length)
      if (!mini) writer.u32(5)
      writer.bytes(body)
    }
    return writer.finish()
  }

  it.each([true, false])('come out however the stream is split and held up (short header: %s)', (mini) => {
    const cuts = fc.array(fc.tuple(fc.nat(200), fc.boolean()), { maxLength: 60 })
    fc.assert(
      fc.property(messages, cuts, (list, pieces) => {
        const seen: [number, number[]][] = []
        const framer = new MessageFramer({
          place: 'test',
          mini,
          maxBytes: 1000,
          onMessage: (type, body, subList) => {
            seen.push([type, [...body]])
            expect(subList).toBe(mini ? 0 : 5)
          },
        })
        const bytes = encode(list, mini)
        let at = 0
        for (const [size, blocked] of pieces) {
          framer.block(blocked)
          framer.push(bytes.subarray(at, at + size))
          at += size
        }
        framer.push(bytes.subarray(at))
        framer.block(false)
        expect(seen).toEqual(list.map(([type, body]) => [type, [...body]]))
      }),
    )
  })

  it('that are too long are refused by their header', () => {
    const framer = new MessageFramer({ place: 'test', mini: true, maxBytes: 10, onMessage: () => {} })
    expect(() => framer.push(new SpiceWriter().u16(5).u32(11).finish())).toThrow(/type 5 with 11 bytes/)
  })

  it.each([true, false])('come out of chunks that are overwritten afterwards, lent: %s', (lends) => {
    const bodies = Array.from({ length: 60 }, (_, index) => new Uint8Array(index * 7).fill(index))
    const writer = new SpiceWriter()
    for (const body of bodies) writer.u16(200).u32(body.length).bytes(body)
    const bytes = writer.finish()
    for (const chunkBytes of [1, 5, 64, 1000, bytes.length]) {
      const seen: Uint8Array[] = []
      const atOnce: number[][] = []
      const onMessage = (_: number, body: Uint8Array) => {
        seen.push(body)
        atOnce.push([...body])
      }
      const framer = new MessageFramer({ place: 'test', mini: true, maxBytes: 1000, lends, onMessage })
      const buffer = new Uint8Array(chunkBytes)
      for (let at = 0; at < bytes.length; at += chunkBytes) {
        const part = bytes.subarray(at, at + chunkBytes)
        buffer.set(part)
        framer.push(buffer.subarray(0, part.length))
        buffer.fill(0xff)
      }
      expect(atOnce).toEqual(bodies.map((body) => [...body]))
      if (!lends) expect(seen).toEqual(bodies)
    }
  })
})

describe('a ticket', () => {
  it('that cannot be sent is refused without showing it', async () => {
    for (const password of ['密'.repeat(21), 'with\0nul']) {
      const refused = encryptTicket(new Uint8Array(162), password)
      await expect(refused).rejects.toMatchObject({ code: 'ATP_SPICE_TICKET' })
      await expect(refused).rejects.not.toThrow(password)
    }
  })
})
