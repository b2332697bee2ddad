import { describe, expect, it } from 'vitest'
import { decodeBitmap, decodeBitmapMask } from '../../../../framework/protocols/spice/codec/bitmap.ts'
import { decodeGlz, inflateGlz } from '../../../../framework/protocols/spice/codec/glz.ts'
import { GlzWindow } from '../../../../framework/protocols/spice/codec/glz-window.ts'
import { decodeImage, decodeMask } from '../../../../framework/protocols/spice/codec/image.ts'
import { decodeLz, decodeLzAlpha, decodeLzPalette } from '../../../../framework/protocols/spice/codec/lz.ts'
import { decodeLz4, decodeLz4Alpha } from '../../../../framework/protocols/spice/codec/lz4.ts'
import { SpiceReader } from '../../../../framework/protocols/spice/wire/reader.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { newContext } from './recordings.ts'

const be32 = (...words: number[]): number[] =>
  words.flatMap((word) => [word >>> 24, (word >> 16) & 255, (word >> 8) & 255, word & 255])
const lz = (type: number, width: number, height: number, stride: number, ...stream: number[]): Uint8Array =>
  Uint8Array.from([...be32(0x20205a4c, 0x00010001, type, width, height, stride, 1), ...stream])
const glz = (type: number, width: number, id: number, windowImages: number, ...stream: number[]): Uint8Array =>
  Uint8Array.from([
    ...be32(0x20205a4c, 0x00010001),
    0x10 | type,
    ...be32(width, 1, width * 4, 0, id, windowImages),
    ...stream,
  ])
const lz4 = (format: number, ...blocks: number[][]): Uint8Array =>
  Uint8Array.from([1, format, ...blocks.flatMap((block) => [...be32(block.length), ...block])])
const size = (width: number, height = 1): { width: number; height: number } => ({ width, height })
const bitmap = { format: 8, width: 2, height: 2, strideBytes: 8, topDown: true, data: new Uint8Array(16) }
const black = (count: number): Uint32Array => new Uint32Array(count)
const RGB32 = 8
const PLT8 = 5

describe('bad images say what is wrong with them', () => {
  const cases: [string, () => unknown, RegExp][] = [
    ['LZ without a header', () => decodeLz(new Uint8Array(27), size(1)), /lz: 27 bytes are no header/],
    ['LZ of another version', () => decodeLz(lz(RGB32, 1, 1, 4).fill(9, 4, 8), size(1)), /version 9090909 are unknown/],
    [
      'LZ of another size',
      () => decodeLz(lz(RGB32, 2, 1, 8), size(3)),
      /header says 2×1 where the descriptor says 3×1/,
    ],
    [
      'LZ of too many pixels',
      () => decodeLz(lz(RGB32, 65536, 65536, 4), size(65536, 65536)),
      /65536×65536 pixels are not/,
    ],
    ['LZ of no pixels', () => decodeLz(lz(RGB32, 0, 1, 4), size(0)), /0×1 pixels are not/],
    [
      'LZ with more pixels than its bytes can hold',
      () => decodeLz(lz(RGB32, 9000, 1, 4, 0), size(9000)),
      /9000 pixels cannot come from 29 bytes/,
    ],
    ['LZ of indices without a palette', () => decodeLz(lz(PLT8, 1, 1, 1, 0, 0), size(1)), /type 5 has no colours/],
    [
      'LZ of colours with a palette',
      () => decodeLzPalette(lz(RGB32, 1, 1, 4), size(1), black(1)),
      /type 8 has no palette/,
    ],
    ['LZ of colours as alpha', () => decodeLzAlpha(lz(RGB32, 1, 1, 4), size(1)), /type 8 is not alpha alone/],
    [
      'LZ of rows that overlap',
      () => decodeLzPalette(lz(PLT8, 5, 1, 4), size(5), black(1)),
      /rows of 5 bytes overlap at a stride of 4/,
    ],
    [
      'LZ with an index outside of its palette',
      () => decodeLzPalette(lz(PLT8, 2, 1, 2, 1, 0, 7), size(2), black(7)),
      /index 7 is not among 7 colours/,
    ],
    [
      'an LZ literal that is cut off',
      () => decodeLz(lz(RGB32, 2, 1, 8, 1, 1, 2, 3, 4), size(2)),
      /the stream breaks at byte 29, after 0 of 2 pixels/,
    ],
    [
      'an LZ literal longer than the picture',
      () => decodeLz(lz(RGB32, 1, 1, 4, 1, 1, 2, 3, 4, 5, 6), size(1)),
      /the stream breaks/,
    ],
    [
      'an LZ copy from before the picture',
      () => decodeLz(lz(RGB32, 3, 1, 12, 0, 1, 2, 3, 0x40, 1), size(3)),
      /the stream breaks at byte 34, after 1/,
    ],
    [
      'an LZ copy longer than the picture',
      () => decodeLz(lz(RGB32, 3, 1, 12, 0, 1, 2, 3, 0x60, 0), size(3)),
      /the stream breaks/,
    ],
    [
      'an LZ copy that is cut off',
      () => decodeLz(lz(RGB32, 99, 1, 4, 0, 1, 2, 3, 0xe0), size(99)),
      /the stream breaks/,
    ],
    [
      'an LZ byte copy from before the picture',
      () => decodeLzAlpha(lz(11, 9, 1, 9, 0, 1, 0x40, 1), size(9)),
      /the stream breaks/,
    ],
    ['LZ bytes that are cut off', () => decodeLzAlpha(lz(11, 9, 1, 9, 4, 1), size(9)), /the stream breaks/],

    [
      'GLZ without a header',
      () => decodeGlz(new Uint8Array(32), size(1), new GlzWindow(9)),
      /glz: 32 bytes are no header/,
    ],
    [
      'GLZ of another version',
      () => decodeGlz(glz(RGB32, 1, 0, 0).fill(9, 4, 8), size(1), new GlzWindow(9)),
      /are unknown/,
    ],
    [
      'GLZ with a number beyond all numbers',
      () => decodeGlz(glz(RGB32, 1, 0, 0).fill(255, 21, 29), size(1), new GlzWindow(9)),
      /no image number/,
    ],
    ['GLZ of indices', () => decodeGlz(glz(PLT8, 1, 0, 0), size(1), new GlzWindow(9)), /glz: type 5 has no colours/],
    [
      'a GLZ literal that is cut off',
      () => decodeGlz(glz(RGB32, 2, 0, 0, 1, 1), size(2), new GlzWindow(9)),
      /the stream breaks/,
    ],
    [
      'a GLZ copy from before the picture',
      () => decodeGlz(glz(RGB32, 3, 0, 0, 0, 1, 2, 3, 0x41, 0, 0), size(3), new GlzWindow(9)),
      /the stream breaks/,
    ],
    [
      'a GLZ copy that is cut off',
      () => decodeGlz(glz(RGB32, 3, 0, 0, 0, 1, 2, 3, 0x40), size(3), new GlzWindow(9)),
      /the stream breaks/,
    ],
    [
      'a GLZ reference beyond its window',
      () => decodeGlz(glz(RGB32, 1, 5, 1, 0x20, 0, 2), size(1), new GlzWindow(9)),
      /refers 2 images back from image 5, whose window has 1/,
    ],
    [
      'a GLZ reference before the first image',
      () => decodeGlz(glz(RGB32, 1, 1, 9, 0x20, 0, 2), size(1), new GlzWindow(9)),
      /refers 2 images back from image 1/,
    ],
    [
      'zlib of more bytes than it can make',
      () => inflateGlz(new Uint8Array(9), 10_000),
      /10000 bytes cannot come from 9/,
    ],
    ['zlib that is none', () => inflateGlz(new Uint8Array(99), 99), /zlib: the stream cannot be inflated/],
    [
      'zlib that is shorter than announced',
      () => inflateGlz(Uint8Array.of(0x78, 0x9c, 3, 0, 0, 0, 0, 1), 5),
      /0 bytes where 5 are announced/,
    ],

    ['LZ4 without a header', () => decodeLz4(Uint8Array.of(1), size(1)), /lz4: 1 bytes are no header/],
    ['LZ4 of indices', () => decodeLz4(lz4(5), size(1)), /format 5 have no colours there/],
    ['LZ4 of colours as alpha', () => decodeLz4Alpha(lz4(8), size(1)), /format 8 are not alpha alone/],
    ['LZ4 with more bytes than it can hold', () => decodeLz4(lz4(8, [0]), size(999)), /3996 bytes cannot come from 7/],
    [
      'LZ4 with a length that is cut off',
      () => decodeLz4(Uint8Array.of(1, 8, 0, 0, 0), size(1)),
      /the length at byte 2 is cut off/,
    ],
    ['LZ4 with an empty block', () => decodeLz4(lz4(8, []), size(1)), /a block of 0 bytes/],
    [
      'LZ4 with a block that is cut off',
      () => decodeLz4(Uint8Array.of(1, 8, 0, 0, 0, 9, 0), size(1)),
      /a block of 9 bytes at byte 6 of 7/,
    ],
    ['LZ4 that ends too early', () => decodeLz4(lz4(8, [0x10, 1]), size(1)), /the picture ends after 1 of 4 bytes/],
    ['LZ4 literals that are cut off', () => decodeLz4(lz4(8, [0x40, 1, 2]), size(1)), /the block breaks/],
    ['LZ4 literals longer than the picture', () => decodeLz4(lz4(8, [0xf0, 255]), size(1)), /the block breaks/],
    ['an LZ4 match without a distance', () => decodeLz4(lz4(8, [0x10, 1, 1]), size(2)), /the block breaks/],
    ['an LZ4 match at distance 0', () => decodeLz4(lz4(8, [0x10, 1, 0, 0, 0]), size(2)), /the block breaks/],
    ['an LZ4 match from before the picture', () => decodeLz4(lz4(8, [0x10, 1, 2, 0, 0]), size(2)), /the block breaks/],
    [
      'an LZ4 match longer than the picture',
      () => decodeLz4(lz4(8, [0x1f, 1, 1, 0, 200, 0]), size(2)),
      /the block breaks/,
    ],
    ['an LZ4 block that ends with a match', () => decodeLz4(lz4(8, [0x10, 1, 1, 0]), size(2)), /the block breaks/],

    ['a bitmap of an unknown format', () => decodeBitmap({ ...bitmap, format: 11 }), /format 11 has no colours/],
    [
      'a bitmap of rows that overlap',
      () => decodeBitmap({ ...bitmap, strideBytes: 7 }),
      /rows of 8 bytes overlap at a stride of 7/,
    ],
    [
      'a bitmap that is cut off',
      () => decodeBitmap({ ...bitmap, data: new Uint8Array(15) }),
      /15 bytes where its rows need 16/,
    ],
    [
      'a bitmap of indices without a palette',
      () => decodeBitmap({ ...bitmap, format: 5 }),
      /index 0 is not among 0 colours/,
    ],
    ['a mask of colours', () => decodeBitmapMask(bitmap), /mask: format 8 is no mask/],
  ]

  it.each(cases)('%s', (_, decode, message) => {
    expect(decode).toThrow(
      expect.objectContaining({ code: 'ATP_SPICE_IMAGE', message: expect.stringMatching(message) as string }),
    )
  })
})

describe('bad descriptions of images', () => {
  const describeImage = (type: number, width = 1, height = 1) => ({ id: 1n, type, flags: 0, width, height })
  const reader = (bytes: Uint8Array): SpiceReader => new SpiceReader(bytes, 'test')
  const le = (...parts: [8 | 32, number][]): Uint8Array => {
    const writer = new SpiceWriter()
    for (const [bits, value] of parts) {
      if (bits === 8) writer.u8(value)
      else writer.u32(value)
    }
    return writer.finish()
  }

  it.each([103, 104, 106, 7])('images of type %i have no pixels of their own', (type) => {
    expect(() => decodeImage(describeImage(type), reader(new Uint8Array(99)), newContext())).toThrow(
      new RegExp(`type ${type} have no pixels of their own`),
    )
  })

  it('masks are bitmaps, LZ or LZ4', () => {
    expect(() => decodeMask(describeImage(1), reader(new Uint8Array(99)), newContext())).toThrow(/type 1 are no masks/)
  })

  it('a bitmap has the size of its descriptor', () => {
    const bytes = le([8, 8], [8, 0], [32, 2], [32, 1], [32, 8], [32, 0], [32, 0], [32, 0])
    expect(() => decodeImage(describeImage(0), reader(bytes), newContext())).toThrow(/2×1 pixels where .* 1×1/)
  })

  it('a palette has 256 colours at most, and LZ with indices has one', () => {
    const many = new SpiceWriter().u8(0).u32(0).u32(9).u64(1n).u16(257).finish()
    expect(() => decodeImage(describeImage(100), reader(many), newContext())).toThrow(/palette: 257 colours/)
    const none = le([8, 0], [32, 0], [32, 0])
    expect(() => decodeImage(describeImage(100), reader(none), newContext())).toThrow(/palette: there is none/)
  })

  it('the JPEG beside alpha is no longer than both', () => {
    const bytes = le([8, 0], [32, 9], [32, 2], [8, 0], [8, 0])
    expect(() => decodeImage(describeImage(108), reader(bytes), newContext())).toThrow(/jpeg: 9 of 2 bytes/)
  })

  it('lengths do not lead out of the message', () => {
    for (const type of [1, 101, 102, 105, 107, 109]) {
      expect(() => decodeImage(describeImage(type), reader(le([32, 99], [32, 99])), newContext())).toThrow(
        expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }),
      )
    }
  })
})
