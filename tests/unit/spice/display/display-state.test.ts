import { describe, expect, it } from 'vitest'
import { DisplayState } from '../../../../framework/protocols/spice/display/display-state.ts'
import type { Rect } from '../../../../framework/protocols/spice/display/geometry.ts'
import { SURFACE_FORMAT } from '../../../../framework/protocols/spice/display/messages.ts'
import { DISPLAY_SERVER, IMAGE_TYPE } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { copy, descriptor, drawBase, fill, newScreen, surfaceCreate } from './display-messages.ts'

const protocolError = expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' })
const unsupportedError = expect.objectContaining({ code: 'ATP_SPICE_UNSUPPORTED' })
const BOX = { x: 1, y: 1, width: 2, height: 1 }
const CACHE_ME = 1

/** A bitmap of 32 bits in one row. */
function bitmap(colors: number[], { id = 1n, flags = 0 } = {}): Uint8Array {
  const width = colors.length
  const writer = descriptor(id, IMAGE_TYPE.bitmap, flags, width, 1)
    .u8(8)
    .u8(4)
    .u32(width)
    .u32(1)
    .u32(width * 4)
    .u32(0)
  for (const color of colors) writer.u32(color)
  return writer.finish()
}

function pixels(display: DisplayState): string[] {
  return [...display.screenshot().data].map((pixel) => pixel.toString(16))
}

describe('surfaces', () => {
  it('a screen comes, is drawn on and goes', () => {
    const display = new DisplayState()
    const seen: unknown[] = []
    display.onResize = (size) => seen.push(size)
    display.onDamage = (surfaceId, rect) => seen.push([surfaceId, rect])
    display.onMark = () => seen.push('mark')
    expect(() => display.screenshot()).toThrowError(protocolError)
    display.handle(DISPLAY_SERVER.surfaceCreate, surfaceCreate(0, 4, 2, SURFACE_FORMAT.xrgb, true))
    display.handle(DISPLAY_SERVER.drawFill, fill(BOX, 0x123456))
    display.handle(DISPLAY_SERVER.mark, new Uint8Array())
    expect(pixels(display)).toEqual([...Array(5).fill('ff000000'), 'ff123456', 'ff123456', 'ff000000'])
    expect(display.screenshot({ top: 1, left: 1, bottom: 2, right: 2 }).data).toEqual(Uint32Array.of(0xff123456))
    display.handle(DISPLAY_SERVER.surfaceDestroy, new SpiceWriter().u32(0).finish())
    expect(display.primary).toBeUndefined()
    const rect: Rect = { top: 1, left: 1, bottom: 2, right: 3 }
    expect(seen).toEqual([{ width: 4, height: 2 }, [0, rect], 'mark', undefined])
    expect(display.counters).toMatchObject({ draws: { fill: 1 }, surfaces: { 32: 1 } })
  })

  it('the mode of servers from before surfaces makes a screen, too', () => {
    const display = new DisplayState()
    for (const bits of [32, 16]) {
      display.handle(DISPLAY_SERVER.mode, new SpiceWriter().u32(3).u32(1).u32(bits).finish())
    }
    expect(display.primary).toMatchObject({ width: 3, height: 1, format: SURFACE_FORMAT.rgb555 })
  })

  it('pictures beside the screen are sources', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    display.handle(DISPLAY_SERVER.surfaceCreate, surfaceCreate(3, 2, 1, SURFACE_FORMAT.argb))
    display.handle(DISPLAY_SERVER.drawFill, fill({ x: 0, y: 0, width: 2, height: 1 }, 0xff445566, 3))
    const image = descriptor(9n, IMAGE_TYPE.surface, 0, 2, 1).u32(3).finish()
    display.handle(DISPLAY_SERVER.drawCopy, copy(BOX, image))
    expect(pixels(display)[5]).toBe('ff445566')
    const itself = descriptor(9n, IMAGE_TYPE.surface, 0, 4, 2).u32(0).finish()
    display.handle(DISPLAY_SERVER.drawCopy, copy({ x: 0, y: 0, width: 2, height: 2 }, itself))
    expect(display.counters.images).toEqual({ surface: 2 })
  })

  it.each([
    ['565', SURFACE_FORMAT.rgb565, 0xf81f, 'ffff00ff'],
    ['555', SURFACE_FORMAT.rgb555, 0x03e0, 'ff00ff00'],
  ])('%s: colours of 16 bits', (_name, format, color, expected) => {
    const display = newScreen(4, 2, format)
    display.handle(DISPLAY_SERVER.drawFill, fill(BOX, color))
    expect(pixels(display)[5]).toBe(expected)
  })

  it('what cannot be is refused, what cannot be shown is counted', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    const create = (id: number, width: number, height: number, format: number) => () =>
      display.handle(DISPLAY_SERVER.surfaceCreate, surfaceCreate(id, width, height, format))
    expect(create(0, 4, 2, SURFACE_FORMAT.xrgb)).toThrowError(/second time/)
    expect(create(1, 0, 2, SURFACE_FORMAT.xrgb)).toThrowError(protocolError)
    expect(create(1, 1 << 16, 1 << 16, SURFACE_FORMAT.xrgb)).toThrowError(protocolError)
    expect(create(1, 4, 2, SURFACE_FORMAT.a1)).toThrowError(unsupportedError)
    expect(() => display.handle(DISPLAY_SERVER.drawFill, fill(BOX, 0, 7))).toThrowError(/no surface 7/)
    expect(() => display.handle(DISPLAY_SERVER.glDraw, new Uint8Array(20))).toThrowError(unsupportedError)
    expect(display.counters.unsupported).toEqual({ 'surfaces of format 1': 1, 'message 321': 1 })
  })
})

describe('what the server expects to be remembered', () => {
  const cached = descriptor(5n, IMAGE_TYPE.fromCache, 0, 2, 1).finish()

  it('images, until it says otherwise', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    display.handle(DISPLAY_SERVER.drawCopy, copy(BOX, bitmap([0x111111, 0x222222], { id: 5n, flags: CACHE_ME })))
    display.handle(DISPLAY_SERVER.drawCopy, copy({ ...BOX, y: 0 }, cached))
    expect(pixels(display).slice(1, 3)).toEqual(['ff111111', 'ff222222'])
    display.handle(DISPLAY_SERVER.invalList, new SpiceWriter().u16(1).u8(1).u64(5n).finish())
    expect(() => display.handle(DISPLAY_SERVER.drawCopy, copy(BOX, cached))).toThrowError(/no image 5/)
    display.handle(DISPLAY_SERVER.drawCopy, copy(BOX, bitmap([1, 2], { id: 5n, flags: CACHE_ME })))
    display.handle(DISPLAY_SERVER.invalAllPixmaps, new SpiceWriter().u8(0).finish())
    expect(display.cache.size).toBe(0)
    const wrong = new SpiceWriter().u16(1).u8(9).u64(5n).finish()
    expect(() => display.handle(DISPLAY_SERVER.invalList, wrong)).toThrowError(/type 9/)
  })

  it('palettes, until it says otherwise', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    const PALETTE = { cacheMe: 1, fromCache: 2, topDown: 4 }
    const indexed = (flags: number, palette: (writer: SpiceWriter) => void): Uint8Array => {
      const writer = descriptor(1n, IMAGE_TYPE.bitmap, 0, 2, 1)
        .u8(5)
        .u8(PALETTE.topDown | flags)
        .u32(2)
        .u32(1)
        .u32(2)
      palette(writer)
      return copy(BOX, writer.finish())
    }
    // The palette lies behind the data: base 21, copy 36, descriptor 18, bitmap 18, data 2.
    const inline = (writer: SpiceWriter) => writer.u32(95).u8(1).u8(0).u64(77n).u16(2).u32(0x0a0a0a).u32(0x0b0b0b)
    const known = (writer: SpiceWriter) => writer.u64(77n).u8(0).u8(1)
    display.handle(DISPLAY_SERVER.drawCopy, indexed(PALETTE.cacheMe, inline))
    expect(pixels(display).slice(5, 7)).toEqual(['ff0b0b0b', 'ff0a0a0a'])
    display.handle(DISPLAY_SERVER.drawCopy, indexed(PALETTE.fromCache, known))
    expect(pixels(display).slice(5, 7)).toEqual(['ff0a0a0a', 'ff0b0b0b'])
    display.handle(DISPLAY_SERVER.invalPalette, new SpiceWriter().u64(77n).finish())
    expect(() => display.handle(DISPLAY_SERVER.drawCopy, indexed(PALETTE.fromCache, known))).toThrowError(
      /no palette 77/,
    )
    display.handle(DISPLAY_SERVER.drawCopy, indexed(PALETTE.cacheMe, inline))
    display.handle(DISPLAY_SERVER.invalAllPalettes, new Uint8Array())
    expect(() => display.handle(DISPLAY_SERVER.drawCopy, indexed(PALETTE.fromCache, known))).toThrowError(
      /no palette 77/,
    )
  })
})

describe('monitors and streams', () => {
  it('monitors are parts of a surface', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    const body = new SpiceWriter().u16(1).u16(4)
    for (const value of [1, 0, 4, 2, 0, 0, 0]) body.u32(value)
    display.handle(DISPLAY_SERVER.monitorsConfig, body.finish())
    const head = { monitorId: 1, surfaceId: 0, width: 4, height: 2, x: 0, y: 0 }
    expect(display.monitors).toEqual({ maxAllowed: 4, heads: [head] })
    const lying = new SpiceWriter().u16(2).u16(4).finish()
    expect(() => display.handle(DISPLAY_SERVER.monitorsConfig, lying)).toThrowError(protocolError)
  })

  const streamCreate = (codec: number): Uint8Array => {
    const writer = new SpiceWriter().u32(0).u32(6).u8(1).u8(codec).u64(0n)
    for (const side of [8, 8, 8, 8]) writer.u32(side)
    return writer.i32(0).i32(0).i32(2).i32(4).u8(0).finish()
  }

  it('video of other codecs is reported as offered, its frames are refused and counted', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    const offered: string[] = []
    display.onStream = ({ codecName }) => offered.push(codecName)
    display.handle(DISPLAY_SERVER.streamCreate, streamCreate(2))
    const frame = new SpiceWriter().u32(6).u32(0).u32(1).u8(0).finish()
    expect(() => display.handle(DISPLAY_SERVER.streamData, frame)).toThrowError(unsupportedError)
    expect([offered, display.counters.unsupported]).toEqual([['vp8'], { 'stream vp8': 1 }])
    expect(() => display.handle(DISPLAY_SERVER.streamCreate, streamCreate(2))).toThrowError(/second time/)
  })

  it('streams are clipped, reported on and end', () => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    let windowSize = 0
    display.onReportRequest = ({ maxWindowSize }) => (windowSize = maxWindowSize)
    display.handle(DISPLAY_SERVER.streamCreate, streamCreate(1))
    const clip = new SpiceWriter().u32(6).u8(1).u32(1).i32(0).i32(0).i32(1).i32(1).finish()
    display.handle(DISPLAY_SERVER.streamClip, clip)
    expect(display.streams.get(6)?.clip).toHaveLength(1)
    display.handle(DISPLAY_SERVER.streamActivateReport, new SpiceWriter().u32(6).u32(1).u32(5).u32(9).finish())
    expect(windowSize).toBe(5)
    const broken = new SpiceWriter().u32(6).u32(0).u32(1).u8(0).finish()
    expect(() => display.handle(DISPLAY_SERVER.streamData, broken)).toThrowError(/image jpeg/)
    display.handle(DISPLAY_SERVER.streamDestroy, new SpiceWriter().u32(6).finish())
    expect(() => display.handle(DISPLAY_SERVER.streamClip, clip)).toThrowError(/does not exist/)
    display.handle(DISPLAY_SERVER.streamCreate, streamCreate(1))
    display.handle(DISPLAY_SERVER.streamDestroyAll, new Uint8Array())
    expect(display.streams.size).toBe(0)
    display.handle(DISPLAY_SERVER.streamCreate, streamCreate(1))
    display.handle(DISPLAY_SERVER.reset, new Uint8Array())
    expect([display.streams.size, display.primary]).toEqual([0, undefined])
  })
})

describe('impossible draws', () => {
  it.each([
    ['a rectangle the wrong way round', new SpiceWriter().u32(0).i32(5).i32(0).i32(1).i32(1).u8(0)],
    ['a clip of no known type', new SpiceWriter().u32(0).i32(0).i32(0).i32(1).i32(1).u8(7)],
    ['more clip rectangles than bytes', new SpiceWriter().u32(0).i32(0).i32(0).i32(1).i32(1).u8(1).u32(0xffffff)],
    ['a brush of no known type', drawBase(BOX).u8(9)],
  ])('%s', (_name, writer) => {
    const display = newScreen(4, 2, SURFACE_FORMAT.xrgb)
    expect(() => display.handle(DISPLAY_SERVER.drawFill, writer.finish())).toThrowError(protocolError)
  })
})
