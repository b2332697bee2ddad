import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeQuic } from '../../../../framework/protocols/spice/codec/quic.ts'
import { encodeQuic, QUIC_TYPE } from './encode-quic.ts'

const TYPES = Object.entries(QUIC_TYPE)

/** Pictures from noise, from few colours in runs, and from rows that repeat. */
const picture = fc
  .record({
    width: fc.integer({ min: 1, max: 90 }),
    height: fc.integer({ min: 1, max: 40 }),
    colours: fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 1, maxLength: 5 }),
    strokes: fc.array(
      fc.record({
        length: fc.integer({ min: 1, max: 400 }),
        paint: fc.constantFrom('noise' as const, 'colour' as const, 'above' as const, 'step' as const),
        seed: fc.nat(0xffff),
      }),
      { maxLength: 30 },
    ),
  })
  .map(({ width, height, colours, strokes }) => {
    const data = new Uint32Array(width * height)
    let at = 0
    for (const { length, paint, seed } of strokes) {
      let state = seed
      for (const end = Math.min(data.length, at + length); at < end; at++) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0
        if (paint === 'noise') data[at] = (state ^ (state >>> 15)) >>> 0
        else if (paint === 'colour') data[at] = colours[seed % colours.length] as number
        else if (paint === 'above') data[at] = data[at - width] ?? 0
        else data[at] = (data[at - 1] ?? 0) + 0x01010101 * (seed & 3)
      }
    }
    return { width, height, data }
  })

/** What of a pixel an image of that type keeps. */
function kept(type: number, pixel: number): number {
  if (type === QUIC_TYPE.rgba) return pixel
  if (type === QUIC_TYPE.gray) return (0xff000000 | ((pixel & 0xff) * 0x010101)) >>> 0
  if (type === QUIC_TYPE.rgb16) return (0xff000000 | (pixel & 0xf8f8f8) | ((pixel >>> 5) & 0x070707)) >>> 0
  return (pixel | 0xff000000) >>> 0
}

describe('QUIC images of every type', () => {
  it.each(TYPES)('%s: any picture comes back', (_name, type) => {
    fc.assert(
      fc.property(picture, ({ width, height, data }) => {
        const bytes = encodeQuic(type, width, height, data)
        const pixels = decodeQuic(bytes, { width, height })
        expect(pixels).toEqual({
          width,
          height,
          data: data.map((pixel) => kept(type, pixel)),
          hasAlpha: type === QUIC_TYPE.rgba,
        })
      }),
      { numRuns: Number(process.env.ATP_RUNS ?? 100) },
    )
  })

  it.each(TYPES)('%s: bytes at any offset of a buffer, with others behind, make no difference', (_name, type) => {
    const data = Uint32Array.from({ length: 60 }, (_, index) => Math.imul(index, 0x9e3779b1))
    const bytes = encodeQuic(type, 10, 6, data)
    const roomy = new Uint8Array(bytes.length + 14).fill(0xff)
    roomy.set(bytes, 3)
    const pixels = decodeQuic(roomy.subarray(3), { width: 10, height: 6 })
    expect(pixels.data).toEqual(data.map((pixel) => kept(type, pixel)))
  })
})
