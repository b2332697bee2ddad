import { describe, expect, it } from 'vitest'
import { CursorState, drawCursor } from '../../../../framework/protocols/spice/display/cursor.ts'
import { CURSOR_SERVER } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

const CACHE_ME = 2
const FROM_CACHE = 4

interface Shape {
  type: number
  width: number
  height: number
  data: Uint8Array
  flags?: number
  id?: bigint
}

function set({ type, width, height, data, flags = 0, id = 1n }: Shape): Uint8Array {
  const writer = new SpiceWriter().u16(30).u16(0xffff).u8(1).u16(flags).u64(id)
  return writer.u8(type).u16(width).u16(height).u16(1).u16(0).bytes(data).finish()
}

function shown(shape: Shape): CursorState {
  const cursor = new CursorState()
  cursor.handle(CURSOR_SERVER.set, set(shape))
  return cursor
}

/** Two grey pixels with the pointer's first pixel on the first. */
function composed(cursor: CursorState): string[] {
  const picture = { width: 2, height: 1, data: Uint32Array.of(0xff808080, 0xff808080), hasAlpha: false }
  if (cursor.shape) drawCursor(picture, cursor.shape, 1, 0)
  return [...picture.data].map((pixel) => pixel.toString(16))
}

const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const joined = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

describe('pointer shapes', () => {
  it('alpha lies over the screen', () => {
    const cursor = shown({ type: 0, width: 2, height: 1, data: words(0xff102030, 0x80400000) })
    expect(composed(cursor)).toEqual(['ff102030', 'ff804040'])
    expect(cursor.position).toEqual({ x: 30, y: -1 })
  })

  it('mono keeps, inverts, blackens and whitens', () => {
    const mono = (and: number, xor: number) => shown({ type: 1, width: 2, height: 1, data: bytes(and, xor) })
    expect(composed(mono(0b1100_0000, 0b0100_0000))).toEqual(['ff808080', 'ff7f7f7f'])
    expect(composed(mono(0, 0b0100_0000))).toEqual(['ff000000', 'ffffffff'])
  })

  it.each([
    ['4 bits', 2, joined(bytes(0x21), words(...Array.from({ length: 16 }, (_, n) => n * 0x101010)))],
    ['8 bits', 3, joined(bytes(2, 1), words(...Array.from({ length: 256 }, (_, n) => n * 0x101010)))],
    ['24 bits', 5, bytes(0x20, 0x20, 0x20, 0x10, 0x10, 0x10)],
    ['32 bits', 6, words(0x00202020, 0x00101010)],
  ])('%s: opaque where the mask has no bit', (_name, type, data) => {
    const cursor = shown({ type, width: 2, height: 1, data: joined(data, bytes(0b0100_0000)) })
    expect(composed(cursor)).toEqual(['ff202020', 'ff909090'])
  })

  it('16 bits: five of each colour', () => {
    const cursor = shown({ type: 4, width: 2, height: 1, data: bytes(0xff, 0x7f, 0x1f, 0, 0) })
    expect(composed(cursor)).toEqual(['ffffffff', 'ff0000ff'])
  })

  it('an impossible size, type and too few bytes are refused', () => {
    for (const shape of [
      { type: 0, width: 0, height: 1, data: bytes() },
      { type: 0, width: 2000, height: 2000, data: bytes() },
      { type: 9, width: 1, height: 1, data: words(1, 2) },
      { type: 6, width: 4, height: 4, data: words(1, 2) },
    ]) {
      expect(() => shown(shape)).toThrowError(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
    }
  })
})

describe('a cursor channel', () => {
  const shape = { type: 0, width: 1, height: 1, data: words(0xff112233) }

  it('remembers shapes until they are invalidated', () => {
    const cursor = shown({ ...shape, flags: CACHE_ME, id: 7n })
    const again = set({ type: 0, width: 1, height: 1, data: bytes(), flags: FROM_CACHE, id: 7n })
    cursor.handle(CURSOR_SERVER.set, again)
    expect(cursor.shape?.data[0]).toBe(0xff112233)
    cursor.handle(CURSOR_SERVER.invalOne, new SpiceWriter().u64(7n).finish())
    expect(() => cursor.handle(CURSOR_SERVER.set, again)).toThrowError(/no shape 7/)
  })

  it('moves, hides and begins anew', () => {
    const cursor = shown(shape)
    let changes = 0
    cursor.onChange = () => changes++
    cursor.handle(CURSOR_SERVER.hide, bytes())
    expect(cursor.isVisible).toBe(false)
    cursor.handle(CURSOR_SERVER.move, new SpiceWriter().u16(5).u16(6).finish())
    expect([cursor.isVisible, cursor.position]).toEqual([true, { x: 5, y: 6 }])
    cursor.handle(CURSOR_SERVER.trail, words(1))
    cursor.handle(CURSOR_SERVER.invalAll, bytes())
    cursor.handle(CURSOR_SERVER.init, new SpiceWriter().u16(1).u16(2).u32(0).u8(1).u16(1).finish())
    expect([cursor.shape, cursor.isVisible]).toEqual([undefined, true])
    cursor.handle(CURSOR_SERVER.reset, bytes())
    expect([cursor.isVisible, changes]).toEqual([false, 4])
    expect(() => cursor.handle(199, bytes())).toThrowError(/no such message/)
  })
})
