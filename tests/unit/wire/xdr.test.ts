import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { XdrReader, XdrWriter, XDR_STRING_MAX_BYTES } from '../../../framework/wire/index.ts'

type Field =
  | { kind: 'i32' | 'u32'; value: number }
  | { kind: 'i64' | 'u64'; value: bigint }
  | { kind: 'string'; value: string }
  | { kind: 'optional'; value: string | undefined }
  | { kind: 'opaque'; value: Uint8Array }

const text = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0') && value.isWellFormed())
const field: fc.Arbitrary<Field> = fc.oneof(
  fc.integer().map((value) => ({ kind: 'i32' as const, value })),
  fc.nat({ max: 0xffff_ffff }).map((value) => ({ kind: 'u32' as const, value })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ kind: 'i64' as const, value })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => ({ kind: 'u64' as const, value })),
  text.map((value) => ({ kind: 'string' as const, value })),
  fc.option(text, { nil: undefined }).map((value) => ({ kind: 'optional' as const, value })),
  fc.uint8Array({ maxLength: 40 }).map((value) => ({ kind: 'opaque' as const, value })),
)

function write(writer: XdrWriter, item: Field): void {
  const { kind, value } = item
  if (kind === 'i32') writer.i32(value)
  else if (kind === 'u32') writer.u32(value)
  else if (kind === 'i64') writer.i64(value)
  else if (kind === 'u64') writer.u64(value)
  else if (kind === 'string') writer.string(value)
  else if (kind === 'optional') writer.optionalString(value)
  else if (kind === 'opaque') writer.opaque(value)
}

function read(reader: XdrReader, { kind, value }: Field): unknown {
  if (kind === 'string') return reader.string()
  if (kind === 'optional') return reader.optionalString()
  if (kind === 'opaque') return Uint8Array.from(reader.opaque(value.length))
  return reader[kind]()
}

describe('XDR', () => {
  it('reads back whatever it wrote, padded to four bytes', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 12 }), (fields) => {
        const writer = new XdrWriter(4)
        for (const item of fields) write(writer, item)
        const bytes = writer.finish()
        const reader = new XdrReader(bytes)
        const values = fields.map((item) => read(reader, item))
        reader.end()
        return (
          bytes.length % 4 === 0 &&
          isDeepStrictEqual(
            values,
            fields.map((item) => item.value),
          )
        )
      }),
      { numRuns: 10_000 },
    )
  }, 60_000)

  it('never reads outside what it was given, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(field, { maxLength: 6 }), (bytes, fields) => {
        const reader = new XdrReader(bytes)
        try {
          for (const item of fields) read(reader, item)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ATP_WIRE_DECODE' })
        }
        expect(reader.remaining).toBeGreaterThanOrEqual(0)
      }),
      { numRuns: 2000 },
    )
  })

  it('writes the bytes of RFC 4506', () => {
    const bytes = new XdrWriter()
      .i32(-2)
      .u64(1n)
      .string('测')
      .optionalString(undefined)
      .opaque(Uint8Array.of(9))
      .finish()
    expect(bytes.toString('hex')).toBe(
      ['fffffffe', '0000000000000001', '00000003', 'e6b58b00', '00000000', '09000000'].join(''),
    )
  })

  it('refuses what it cannot express, before anything is sent', () => {
    const refused = (act: (writer: XdrWriter) => unknown) =>
      expect(() => act(new XdrWriter())).toThrow(expect.objectContaining({ code: 'ATP_WIRE_ENCODE' }))
    refused((writer) => writer.string('a\0b'))
    refused((writer) => writer.string('\ud800'))
    refused((writer) => writer.string('x'.repeat(XDR_STRING_MAX_BYTES + 1)))
    refused((writer) => writer.string('测'.repeat(XDR_STRING_MAX_BYTES / 2)))
    refused((writer) => writer.i32(2 ** 31))
    refused((writer) => writer.i32(0.5))
    refused((writer) => writer.u32(-1))
    refused((writer) => writer.u64(2n ** 64n))
    expect(new XdrWriter().string('x'.repeat(XDR_STRING_MAX_BYTES)).length).toBe(XDR_STRING_MAX_BYTES + 4)
  })

  it('refuses lying lengths, flags and left-over bytes', () => {
    const refused = (hex: string, act: (reader: XdrReader) => unknown) =>
      expect(() => act(new XdrReader(Buffer.from(hex, 'hex')))).toThrow(
        expect.objectContaining({ code: 'ATP_WIRE_DECODE' }),
      )
    refused('00000009414243', (reader) => reader.string())
    refused('ffffffff41424344', (reader) => reader.string())
    refused('0000000541424344', (reader) => reader.string(4))
    refused('00000002', (reader) => reader.optional())
    refused('00000011', (reader) => reader.count(16))
    refused('000000', (reader) => reader.u32())
    refused('00', (reader) => reader.end())
  })
})
