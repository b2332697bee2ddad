import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { CursorState } from '../../../../framework/protocols/spice/display/cursor.ts'
import { SURFACE_FORMAT } from '../../../../framework/protocols/spice/display/messages.ts'
import { CURSOR_SERVER, DISPLAY_SERVER } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { newScreen, surfaceCreate } from './display-messages.ts'
import { recordedDraws } from './recorded-draws.ts'

/** Bad messages for each parser; a soak sets more. */
const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)
/** What lengths, pointers, coordinates and flags are made of. */
const TELLING = [
  0,
  1,
  2,
  4,
  8,
  16,
  63,
  64,
  65,
  255,
  0x7fff,
  0xffff,
  0x10000,
  1 << 20,
  0x7fffffff,
  0x80000000,
  0xffffffff,
]
const SURFACE_BYTES = 64 * 48 * 4

interface Change {
  /** `field`: four bytes become a telling number; `short`: two bytes; `move`: bytes are copied from elsewhere. */
  kind: 'field' | 'short' | 'add' | 'move' | 'cut' | 'any'
  place: number
  other: number
  value: number
}

const fraction = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    kind: fc.constantFrom<Change['kind'][]>('field', 'field', 'short', 'add', 'move', 'cut', 'any'),
    place: fraction,
    other: fraction,
    value: fc.nat(0xffffffff),
  }),
  { minLength: 1, maxLength: 4 },
)

/** @param headBytes where fields lie: most changes go there. */
function mutate(original: Uint8Array, headBytes: number, list: readonly Change[]): Uint8Array {
  let bytes = original.slice()
  for (const { kind, place, other, value } of list) {
    if (bytes.length < 8) return bytes
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const at = Math.floor(place * Math.min(bytes.length - 4, headBytes))
    const telling = TELLING[value % TELLING.length] as number
    if (kind === 'field') view.setUint32(at, telling, true)
    else if (kind === 'short') view.setUint16(at, telling & 0xffff, true)
    else if (kind === 'add') view.setUint32(at, view.getUint32(at, true) + ((value % 64) - 32), true)
    else if (kind === 'move')
      bytes.copyWithin(at, Math.floor(other * bytes.length), Math.floor(other * bytes.length) + 8)
    else if (kind === 'cut') bytes = bytes.slice(0, Math.floor(other * bytes.length))
    else bytes[Math.floor(other * bytes.length)] = value & 0xff
  }
  return bytes
}

function expectTyped(handle: () => void): void {
  try {
    handle()
  } catch (error) {
    if (!isAtpError(error)) throw error
    expect(error.code).toMatch(/^ATP_SPICE_(PROTOCOL|IMAGE|UNSUPPORTED)$/)
  }
}

describe('bad messages make a typed error or a picture', () => {
  const draws = recordedDraws().map(({ type, body }) => ({ type, body: Uint8Array.from(Buffer.from(body, 'base64')) }))

  it('draw operations', { timeout: 3_600_000 }, () => {
    fc.assert(
      fc.property(fc.nat(draws.length - 1), changes, (index, list) => {
        const { type, body } = draws[index] as (typeof draws)[number]
        const display = newScreen(64, 48, SURFACE_FORMAT.xrgb)
        expectTyped(() => display.handle(type, mutate(body, 160, list)))
        expect(display.primary?.data.byteLength).toBe(SURFACE_BYTES)
      }),
      { numRuns: MUTATIONS },
    )
  })

  it('everything else of a display', { timeout: 3_600_000 }, () => {
    const rect = (writer: SpiceWriter) => writer.i32(2).i32(3).i32(20).i32(30)
    const clip = (writer: SpiceWriter) => rect(rect(writer.u8(1).u32(2)))
    const stream = rect(new SpiceWriter().u32(0).u32(6).u8(1).u8(1).u64(0n).u32(8).u32(8).u32(8).u32(8))
    const messages: [number, Uint8Array][] = [
      [DISPLAY_SERVER.surfaceCreate, surfaceCreate(1, 30, 20, SURFACE_FORMAT.argb)],
      [DISPLAY_SERVER.surfaceDestroy, new SpiceWriter().u32(0).u32(0).finish()],
      [DISPLAY_SERVER.mode, new SpiceWriter().u32(30).u32(20).u32(32).finish()],
      [DISPLAY_SERVER.streamCreate, clip(stream).finish()],
      [DISPLAY_SERVER.streamData, new SpiceWriter().u32(6).u32(0).u32(4).u32(5).finish()],
      [DISPLAY_SERVER.streamDataSized, rect(new SpiceWriter().u32(6).u32(0).u32(8).u32(8)).u32(4).u32(5).finish()],
      [DISPLAY_SERVER.streamClip, clip(new SpiceWriter().u32(6)).finish()],
      [DISPLAY_SERVER.invalList, new SpiceWriter().u16(2).u8(1).u64(4n).u8(1).u64(5n).finish()],
      [DISPLAY_SERVER.monitorsConfig, new SpiceWriter().u16(1).u16(4).bytes(new Uint8Array(28)).finish()],
      [DISPLAY_SERVER.streamActivateReport, new SpiceWriter().u64(0n).u64(0n).finish()],
    ]
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(messages.length - 1), changes), { maxLength: 6 }), (list) => {
        const display = newScreen(64, 48, SURFACE_FORMAT.xrgb)
        for (const [index, change] of list) {
          const [type, body] = messages[index] as (typeof messages)[number]
          expectTyped(() => display.handle(type, mutate(body, body.length, change)))
        }
      }),
      { numRuns: MUTATIONS },
    )
  })

  it('pointers', { timeout: 3_600_000 }, () => {
    const shapes = [0, 1, 2, 3, 4, 5, 6].map((type) => {
      const writer = new SpiceWriter().u16(1).u16(2).u8(1).u16(2).u64(1n).u8(type)
      return writer.u16(8).u16(8).u16(0).u16(0).bytes(new Uint8Array(2000)).finish()
    })
    fc.assert(
      fc.property(fc.nat(shapes.length - 1), changes, (index, list) => {
        const cursor = new CursorState()
        expectTyped(() => cursor.handle(CURSOR_SERVER.set, mutate(shapes[index] as Uint8Array, 24, list)))
      }),
      { numRuns: MUTATIONS },
    )
  })
})
