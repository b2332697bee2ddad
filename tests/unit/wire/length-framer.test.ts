import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LengthFramer } from '../../../framework/wire/index.ts'

const LIMITS = { minBytes: 4, maxBytes: 4096 }

function frame(body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + body.length)
  bytes.writeUInt32BE(bytes.length, 0)
  bytes.set(body, 4)
  return bytes
}

function cut(chunks: Iterable<Uint8Array>): Buffer[] {
  const frames: Buffer[] = []
  const framer = new LengthFramer(LIMITS, (bytes) => frames.push(Buffer.from(bytes)))
  for (const chunk of chunks) framer.push(chunk)
  expect(framer.pendingBytes).toBe(0)
  return frames
}

describe('length framer', () => {
  it('finds the same frames however the stream is cut', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(bodies, fc.array(fc.nat({ max: 70 }), { maxLength: 20 }), (parts, steps) => {
        const frames = parts.map(frame)
        const stream = Buffer.concat(frames)
        const chunks: Buffer[] = []
        let at = 0
        for (const step of steps) {
          chunks.push(stream.subarray(at, at + step))
          at += step
        }
        chunks.push(stream.subarray(at))
        expect(cut(chunks)).toEqual(frames)
      }),
      { numRuns: 2000 },
    )
  })

  it('works byte by byte and all at once', () => {
    const frames = [frame(Buffer.from('一')), frame(new Uint8Array(0)), frame(new Uint8Array(4000).fill(7))]
    const stream = Buffer.concat(frames)
    expect(cut([...stream].map((byte) => Uint8Array.of(byte)))).toEqual(frames)
    expect(cut([stream])).toEqual(frames)
  })

  it.each([0, 3, 4097, 0xffff_ffff])('refuses a frame of %i bytes', (lengthBytes) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(lengthBytes)
    for (const chunks of [[length], [...length].map((byte) => Uint8Array.of(byte))]) {
      expect(() => cut(chunks)).toThrow(expect.objectContaining({ code: 'ATP_WIRE_FRAME' }))
    }
  })

  it('keeps no more memory than came', () => {
    const framer = new LengthFramer({ minBytes: 4, maxBytes: 2 ** 30 }, () => {})
    const before = process.memoryUsage().arrayBuffers
    framer.push(Buffer.from('3fffffff00', 'hex'))
    expect(framer.pendingBytes).toBe(5)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000)
  })
})
