import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LengthPrefixFramer, LineFramer, RawFramer, type Framer } from '../../../framework/protocols/framing.ts'

/** The stream cut at the given places. */
function cut(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

function readAll(framer: Framer, chunks: Uint8Array[]): string[] {
  return chunks.flatMap((chunk) => framer.push(chunk)).map((message) => Buffer.from(message).toString('hex'))
}

const anyBytes = fc.uint8Array({ maxLength: 60 })
const anyLine = anyBytes.map((bytes) => bytes.filter((byte) => byte !== 0x0a))
const places = fc.array(fc.nat(), { maxLength: 30 })

describe('framing', () => {
  it('gives back every message however the stream is split', () => {
    const check = (make: () => Framer, messages: Uint8Array[], at: number[]) => {
      const stream = Buffer.concat(messages.map((message) => make().encode(message)))
      const framer = make()
      expect(readAll(framer, cut(stream, at))).toEqual(messages.map((message) => Buffer.from(message).toString('hex')))
      expect(framer.pendingBytes).toBe(0)
    }
    fc.assert(
      fc.property(fc.array(anyLine, { maxLength: 12 }), places, (m, at) => check(() => new LineFramer(), m, at)),
    )
    fc.assert(
      fc.property(fc.array(anyBytes, { maxLength: 12 }), places, (m, at) =>
        check(() => new LengthPrefixFramer(), m, at),
      ),
    )
  })

  it('gives back every message when each byte comes alone', () => {
    const framer = new LengthPrefixFramer()
    const stream = Buffer.concat(['你好', '', 'x'].map((text) => framer.encode(Buffer.from(text))))
    const seen = [...stream].flatMap((byte) => framer.push(Uint8Array.of(byte)))
    expect(seen.map((message) => Buffer.from(message).toString())).toEqual(['你好', '', 'x'])
  })

  it('holds back and counts what is incomplete', () => {
    const line = new LineFramer()
    expect(line.push(Buffer.from('half'))).toEqual([])
    expect(line.pendingBytes).toBe(4)
    const prefixed = new LengthPrefixFramer()
    expect(prefixed.push(Uint8Array.of(0, 0, 0, 2, 1))).toEqual([])
    expect(prefixed.pendingBytes).toBe(5)
  })

  it('refuses messages over the limit on both sides, before collecting them', () => {
    for (const make of [() => new LineFramer(8), () => new LengthPrefixFramer(8)]) {
      expect(() => make().encode(new Uint8Array(9))).toThrow(expect.objectContaining({ code: 'ATP_PROTOCOL_FRAME' }))
    }
    expect(() => new LengthPrefixFramer(8).push(Uint8Array.of(0xff, 0xff, 0xff, 0xff))).toThrow(
      expect.objectContaining({ code: 'ATP_PROTOCOL_FRAME' }),
    )
    expect(() => new LineFramer(8).push(Buffer.from('123456789'))).toThrow(
      expect.objectContaining({ code: 'ATP_PROTOCOL_FRAME' }),
    )
  })

  it('refuses a newline inside a line', () => {
    expect(() => new LineFramer().encode(Buffer.from('a\nb'))).toThrow(
      expect.objectContaining({ code: 'ATP_PROTOCOL_FRAME', verdict: 'spec' }),
    )
  })

  it('passes raw chunks through', () => {
    const framer = new RawFramer()
    expect(framer.push(Uint8Array.of(1, 2))).toEqual([Uint8Array.of(1, 2)])
    expect(framer.push(new Uint8Array(0))).toEqual([])
  })
})
