import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SpiceReader } from '../../../../framework/protocols/spice/wire/reader.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { capabilityWords, hasCapability } from '../../../../framework/protocols/spice/wire/numbers.ts'

const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 })
const field = fc.oneof(
  u(8).map((value) => ({ kind: 'u8' as const, value })),
  u(16).map((value) => ({ kind: 'u16' as const, value })),
  u(32).map((value) => ({ kind: 'u32' as const, value })),
  fc.integer().map((value) => ({ kind: 'i32' as const, value })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => ({ kind: 'u64' as const, value })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ kind: 'i64' as const, value })),
)

describe('SPICE fields', () => {
  it('come back as they were written', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 100 }), (fields) => {
        const writer = new SpiceWriter(1)
        for (const { kind, value } of fields) (writer[kind] as (value: number | bigint) => unknown).call(writer, value)
        const reader = new SpiceReader(writer.finish(), 'test')
        expect(fields.map(({ kind }) => reader[kind]())).toEqual(fields.map(({ value }) => value))
        reader.end()
      }),
    )
  })

  it('are little-endian', () => {
    const bytes = new SpiceWriter().u16(0x0102).u32(0x03040506).u64(0x0708090a0b0c0d0en).i32(-2).finish()
    expect([...bytes]).toEqual([2, 1, 6, 5, 4, 3, 0xe, 0xd, 0xc, 0xb, 0xa, 9, 8, 7, 0xfe, 0xff, 0xff, 0xff])
  })

  it('that do not fit are refused', () => {
    expect(() => new SpiceWriter().u8(256)).toThrow('does not fit')
    expect(() => new SpiceWriter().u16(-1)).toThrow('does not fit')
    expect(() => new SpiceWriter().u32(1.5)).toThrow('does not fit')
    expect(() => new SpiceWriter().i64(2n ** 63n)).toThrow('does not fit')
  })

  it('outside of the bytes are refused, pointers and counts too', () => {
    const reader = () => new SpiceReader(Uint8Array.of(9, 0, 0, 0, 1), 'test')
    const code = expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' })
    expect(() => reader().u64()).toThrow(code)
    expect(() => reader().pointer()).toThrow(code)
    expect(() => reader().count32(1)).toThrow(code)
    expect(() => reader().bytes(6)).toThrow(code)
    expect(() => reader().skip(6)).toThrow(code)
    expect(() => reader().end()).toThrow(code)
    expect(() => new SpiceReader(new Uint8Array(4), 'test').target('a mask')).toThrow('a mask is null')
    expect(new SpiceReader(new Uint8Array(4), 'test').pointer()).toBeUndefined()
    expect(new SpiceReader(Uint8Array.of(4, 0, 0, 0, 7), 'test').pointer()?.u8()).toBe(7)
  })

  it('of text end at the first NUL', () => {
    const bytes = new SpiceWriter().text('屏幕\0rest').finish()
    expect(new SpiceReader(bytes, 'test').text(bytes.length)).toBe('屏幕')
  })
})

describe('capability words', () => {
  it('carry exactly the bits they were made of', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(100)), (bits) => {
        const words = capabilityWords(bits)
        for (let bit = 0; bit < 140; bit++) expect(hasCapability(words, bit)).toBe(bits.includes(bit))
      }),
    )
  })
})
