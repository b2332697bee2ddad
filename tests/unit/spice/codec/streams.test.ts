import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeGlz } from '../../../../framework/protocols/spice/codec/glz.ts'
import { GlzWindow } from '../../../../framework/protocols/spice/codec/glz-window.ts'
import { decodeLz, decodeLzAlpha } from '../../../../framework/protocols/spice/codec/lz.ts'
import { decodeLz4 } from '../../../../framework/protocols/spice/codec/lz4.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

// A stream is written from a list of steps; what it means is told by the steps alone.

interface Literal {
  values: number[]
}
interface Copy {
  /** From 0 to 1: how far back. */
  back: number
  length: number
}
type Step = Literal | Copy

const steps = fc.array(
  fc.oneof(
    fc.record({ values: fc.array(fc.nat(0xffffff), { minLength: 1, maxLength: 32 }) }),
    fc.record({ back: fc.double({ min: 0, max: 1, noNaN: true }), length: fc.integer({ min: 4, max: 9000 }) }),
  ),
  { minLength: 1, maxLength: 24 },
)

/** What steps mean, and each copy's distance. The first must be a literal: a copy there becomes one. */
function expand(list: Step[], units: (value: number) => number): { out: number[]; plan: (number[] | [number])[] } {
  const out: number[] = []
  const plan: (number[] | [number])[] = []
  for (const step of list) {
    if ('values' in step || out.length === 0) {
      const values = ('values' in step ? step.values : [7]).map(units)
      out.push(...values)
      plan.push(values)
      continue
    }
    const distance = Math.max(1, Math.min(Math.round(step.back * out.length), 65000))
    for (let n = 0; n < step.length; n++) out.push(out[out.length - distance] as number)
    plan.push([distance])
  }
  return { out, plan }
}

function extended(writer: SpiceWriter, rest: number): void {
  let left = rest
  for (; left >= 255; left -= 255) writer.u8(255)
  writer.u8(left)
}

/** Writes an LZ stream. */
function lz(list: Step[], units: (value: number) => number, bias: number, put: (value: number) => number[]): Made {
  const { out, plan } = expand(list, units)
  const writer = new SpiceWriter()
  for (const [index, step] of list.entries()) {
    const planned = plan[index] as number[]
    if ('values' in step || index === 0) {
      writer.u8(planned.length - 1)
      for (const value of planned) writer.bytes(Uint8Array.from(put(value)))
      continue
    }
    const distance = (planned[0] as number) - 1
    const length = step.length - bias
    const near = Math.min(distance, 8191)
    writer.u8((Math.min(length, 7) << 5) | (near >> 8))
    if (length >= 7) extended(writer, length - 7)
    writer.u8(near & 255)
    if (near === 8191) writer.u8((distance - 8191) >> 8).u8((distance - 8191) & 255)
  }
  return { out, stream: writer.finish() }
}

interface Made {
  out: number[]
  stream: Uint8Array
}

function be32(...words: number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * 4)
  for (const [index, word] of words.entries()) new DataView(bytes.buffer).setUint32(index * 4, word)
  return bytes
}

function lzImage(type: number, width: number, ...streams: Uint8Array[]): Uint8Array {
  const writer = new SpiceWriter().bytes(be32(0x20205a4c, 0x00010001, type, width, 1, width * 4, 1))
  for (const stream of streams) writer.bytes(stream)
  return writer.finish()
}

const colour = (value: number): number => value
const rgb = (value: number): number[] => [value & 255, (value >> 8) & 255, value >> 16]
const opaque = (values: number[]): number[] => values.map((value) => (value | 0xff000000) >>> 0)

describe('LZ', () => {
  it('makes pixels as its steps say', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { out, stream } = lz(list, colour, 0, rgb)
        const pixels = decodeLz(lzImage(8, out.length, stream), { width: out.length, height: 1 })
        expect([...pixels.data]).toEqual(opaque(out))
      }),
    )
  })

  it('makes bytes as its steps say', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { out, stream } = lz(
          list,
          (value) => value & 255,
          2,
          (value) => [value],
        )
        const mask = decodeLzAlpha(lzImage(11, out.length, stream), { width: out.length, height: 1 })
        expect([...mask.data]).toEqual(out)
      }),
    )
  })
})

describe('LZ4', () => {
  /** A sequence is literals and a copy; the last has literals only. */
  function lz4(list: Step[]): Made {
    const { out, plan } = expand(list, colour)
    const writer = new SpiceWriter()
    let literals: number[] = []
    const sequence = (copy?: { distance: number; length: number }): void => {
      const bytes = literals.flatMap((value) => [...rgb(value), 9])
      const extra = copy ? copy.length * 4 - 4 : 0
      writer.u8((Math.min(bytes.length, 15) << 4) | Math.min(extra, 15))
      if (bytes.length >= 15) extended(writer, bytes.length - 15)
      writer.bytes(Uint8Array.from(bytes))
      literals = []
      if (!copy) return
      writer.u16(copy.distance * 4)
      if (extra >= 15) extended(writer, extra - 15)
    }
    for (const [index, step] of list.entries()) {
      const planned = plan[index] as number[]
      if ('values' in step || index === 0) literals.push(...planned)
      else if ((planned[0] as number) * 4 > 0xffff) literals.push(...out.slice(at(index), at(index) + step.length))
      else sequence({ distance: planned[0] as number, length: step.length })
    }
    sequence()
    return { out, stream: writer.finish() }

    /** Where a step's output begins. */
    function at(index: number): number {
      let sum = 0
      for (const [before, step] of list.slice(0, index).entries()) {
        sum += 'values' in step || before === 0 ? (plan[before] as number[]).length : step.length
      }
      return sum
    }
  }

  it('makes pixels as its steps say, also in blocks that refer to those before', () => {
    fc.assert(
      fc.property(steps, steps, (first, second) => {
        const one = lz4(first)
        const two = lz4(second)
        const writer = new SpiceWriter().u8(1).u8(8)
        for (const { stream } of [one, two]) writer.bytes(be32(stream.length)).bytes(stream)
        const out = [...one.out, ...two.out]
        const pixels = decodeLz4(writer.finish(), { width: out.length, height: 1 })
        expect(Array.from(pixels.data, (pixel) => pixel & 0xffffff)).toEqual(out)
      }),
      { numRuns: 40 },
    )
  })
})

describe('GLZ', () => {
  const images = fc.array(
    fc.array(
      fc.oneof(
        fc.record({ values: fc.array(fc.nat(0xffffff), { minLength: 1, maxLength: 32 }) }),
        fc.record({
          /** From 0 to 1: how many images back. */
          image: fc.double({ min: 0, max: 1, noNaN: true }),
          back: fc.double({ min: 0, max: 1, noNaN: true }),
          length: fc.integer({ min: 1, max: 60_000 }),
        }),
      ),
      { minLength: 1, maxLength: 10 },
    ),
    { minLength: 1, maxLength: 6 },
  )

  function glzHeader(id: number, width: number): Uint8Array {
    const parts = [be32(0x20205a4c, 0x00010001), Uint8Array.of(0x18), be32(width, 1, width * 4, 0, id, id)]
    return Uint8Array.from(parts.flatMap((part) => [...part]))
  }

  /** Writes a copy of `length` pixels: near in the same image, or from the beginning of another. */
  function copy(writer: SpiceWriter, length: number, imageDistance: number, offset: number): void {
    const isLong = offset >= 1 << 12
    writer.u8((Math.min(length, 7) << 5) | (isLong ? 0x10 : 0) | (offset & 15))
    if (length >= 7) extended(writer, length - 7)
    writer.u8((offset >> 4) & 255)
    if (!isLong) {
      writer.u8(imageDistance)
      return
    }
    const isVeryLong = offset >= 1 << 17
    writer.u8((imageDistance > 0 ? 0x40 : 0) | (isVeryLong ? 0x20 : 0) | ((offset >> 12) & 31))
    if (imageDistance > 0) writer.u8(imageDistance)
    if (isVeryLong) writer.u8(offset >> 17)
  }

  it('makes pixels as its steps say, with references to images before', () => {
    fc.assert(
      fc.property(images, (list) => {
        const window = new GlzWindow(4_000_000)
        const made: number[][] = []
        for (const [id, image] of list.entries()) {
          const out: number[] = []
          const writer = new SpiceWriter()
          for (const step of image) {
            const distance = 'values' in step ? 0 : Math.floor(step.image * id)
            const from = distance > 0 ? (made[id - distance] as number[]) : out
            if ('values' in step || from.length === 0) {
              const values = 'values' in step ? step.values : [5]
              writer.u8(values.length - 1)
              for (const value of values) writer.bytes(Uint8Array.from(rgb(value)))
              for (const value of values) out.push(value)
              continue
            }
            const start = Math.floor(step.back * (from.length - 1))
            const length = distance > 0 ? Math.min(step.length, from.length - start) : step.length
            copy(writer, length, distance, distance > 0 ? start : out.length - start - 1)
            for (let n = 0; n < length; n++) out.push(from[start + n] as number)
          }
          made.push(out)
          const bytes = new SpiceWriter().bytes(glzHeader(id, out.length)).bytes(writer.finish()).finish()
          const pixels = decodeGlz(bytes, { width: out.length, height: 1 }, window)
          expect(
            Buffer.compare(Buffer.from(pixels.data.buffer), Buffer.from(Uint32Array.from(opaque(out)).buffer)),
          ).toBe(0)
        }
      }),
      { numRuns: 40 },
    )
  })
})
