import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { decodeQuic } from '../../../../framework/protocols/spice/codec/quic.ts'
import type { Pixels, Size } from '../../../../framework/protocols/spice/codec/pixels.ts'
import { encodeQuic, QUIC_TYPE } from './encode-quic.ts'
import { RECORDED, recordedBytes } from './recordings.ts'

const HEADER_BYTES = 20
const MUTATIONS = Number(process.env.ATP_MUTATIONS ?? 2_000)
const timeout = 20_000 + MUTATIONS * 10

function decodeOrRefuse(bytes: Uint8Array, size: Size): Pixels | string {
  try {
    return decodeQuic(bytes, size)
  } catch (error) {
    if (isAtpError(error, 'ATP_SPICE_IMAGE')) return error.message
    throw error
  }
}

const good = encodeQuic(
  QUIC_TYPE.rgb32,
  9,
  5,
  Uint32Array.from({ length: 45 }, (_, index) => index * index * 77),
)
const size = { width: 9, height: 5 }

/** The good image with one word of its header, or its body, replaced. */
function withWord(index: number, value: number): Uint8Array {
  const bytes = Uint8Array.from(good)
  new DataView(bytes.buffer).setUint32(index * 4, value, true)
  return bytes
}

describe('QUIC images that are none', () => {
  it.each([
    ['no bytes', new Uint8Array(0), '0 bytes are no header'],
    ['half a header', good.subarray(0, 19), '19 bytes are no header'],
    ['another magic', withWord(0, 0x20205a4c), 'magic 20205a4c and version 0 are unknown'],
    ['another version', withWord(1, 1), 'version 1 are unknown'],
    ['type 0', withWord(2, 0), 'type 0 is unknown'],
    ['type 6', withWord(2, 6), 'type 6 is unknown'],
    ['another width', withWord(3, 10), '10×5'],
    ['another height', withWord(4, 0x80000000), '9×2147483648'],
    ['a header alone', good.subarray(0, HEADER_BYTES), '0 bytes'],
    ['a body that ends early', good.subarray(0, good.length - 5), 'end before its pixels do'],
  ])('%s', (_name, bytes, message) => {
    expect(decodeOrRefuse(bytes, size)).toContain(message)
  })

  it('sizes beyond all bounds are refused, although the header agrees', () => {
    const huge = withWord(3, 65_536)
    new DataView(huge.buffer).setUint32(16, 65_536, true)
    expect(decodeOrRefuse(huge, { width: 65_536, height: 65_536 })).toContain('65536×65536')
  })

  it('more rows than the bytes have bits are refused before memory is taken for them', () => {
    const tall = withWord(3, 1)
    new DataView(tall.buffer).setUint32(16, 60_000_000, true)
    expect(decodeOrRefuse(tall, { width: 1, height: 60_000_000 })).toContain('60000000 rows')
  })

  it('a residual above 255 is refused', () => {
    // A first row of nothing but zeros ends in codes of one bit; 18 zeros begin a value in plain bits.
    const bytes = encodeQuic(QUIC_TYPE.gray, 3000, 1, new Uint32Array(3000))
    new DataView(bytes.buffer).setUint32(bytes.length - 8, 0x00003fff, true)
    expect(decodeOrRefuse(bytes, { width: 3000, height: 1 })).toContain('a residual of 273 is above 255')
  })

  it('a run that leaves its row is refused', () => {
    const bytes = encodeQuic(QUIC_TYPE.gray, 100, 40, new Uint32Array(4000))
    bytes.fill(0xff, HEADER_BYTES + 40)
    expect(decodeOrRefuse(bytes, { width: 100, height: 40 })).toMatch(/a run of \d+ pixels leaves the row/)
  })
})

const samples = RECORDED.filter(({ width, height }) => width * height < 4000).map((recording) => ({
  ...recording,
  bytes: recordedBytes(recording.file),
}))

/** One change of an image behind its header, where every bit means something. */
const change = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('word' as const), at: fc.nat(), value: fc.constantFrom(0, 0xffffffff, 0x80000000, 1) }),
  fc.record({ kind: fc.constant('fill' as const), at: fc.nat(), length: fc.nat(400), value: fc.constantFrom(0, 0xff) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat(), length: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant('type' as const), type: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ kind: fc.constant('size' as const), width: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ kind: fc.constant('noise' as const), at: fc.nat(), bytes: fc.uint8Array({ maxLength: 60 }) }),
)
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never

function mutate(image: Uint8Array, { width, height }: Size, changes: readonly Change[]) {
  let bytes = Uint8Array.from(image)
  const mutated = { width, height }
  for (const one of changes) {
    const body = bytes.length - HEADER_BYTES
    const at = HEADER_BYTES + ('at' in one && body > 0 ? one.at % body : 0)
    const view = new DataView(bytes.buffer)
    if (one.kind === 'flip' && body > 0) bytes[at] = (bytes[at] as number) ^ (1 << one.bit)
    else if (one.kind === 'word' && body >= 4) view.setUint32(Math.min(at, bytes.length - 4), one.value, true)
    else if (one.kind === 'fill') bytes.fill(one.value, at, at + one.length)
    else if (one.kind === 'cut') bytes = bytes.slice(0, at)
    else if (one.kind === 'drop')
      bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + one.length)])
    else if (one.kind === 'type') view.setUint32(8, one.type, true)
    else if (one.kind === 'noise') bytes.set(one.bytes.subarray(0, bytes.length - at), at)
    else if (one.kind === 'size') {
      mutated.width = one.width
      mutated.height = Math.max(1, Math.floor((width * height) / one.width))
      view.setUint32(12, mutated.width, true)
      view.setUint32(16, mutated.height, true)
    }
  }
  return { bytes, size: mutated }
}

function shape({ width, height, data }: Pixels): string {
  return `${width}×${height}, ${data.length} pixels`
}

function announced({ width, height }: Size): string {
  return `${width}×${height}, ${width * height} pixels`
}

describe(`QUIC images with ${MUTATIONS} mutations`, () => {
  it('make pixels of the announced size, or a typed error', { timeout }, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        ({ bytes, width, height }, changes) => {
          const mutated = mutate(bytes, { width, height }, changes)
          const decoded = decodeOrRefuse(mutated.bytes, mutated.size)
          if (typeof decoded === 'string') expect(decoded).toMatch(/^SPICE image quic: /)
          else expect(shape(decoded)).toBe(announced(mutated.size))
        },
      ),
      { numRuns: MUTATIONS },
    )
  })

  it('with their headers changed, too', { timeout }, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(HEADER_BYTES - 1),
        fc.nat(255),
        ({ bytes, width, height }, at, value) => {
          const mutated = Uint8Array.from(bytes)
          mutated[at] = value
          const decoded = decodeOrRefuse(mutated, { width, height })
          if (typeof decoded === 'string') expect(decoded).toMatch(/^SPICE image quic: /)
          else expect(shape(decoded)).toBe(announced({ width, height }))
        },
      ),
      { numRuns: Math.ceil(MUTATIONS / 4) },
    )
  })
})
