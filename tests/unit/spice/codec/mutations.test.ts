import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { decodeRecorded, newContext, readDescriptor, RECORDED, recordedBytes, type Recording } from './recordings.ts'

/** Bad images for each decoder; a soak sets more. */
const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)
/** Two of three mutations know the format; the third is any byte of the image. */
const KINDS = ['length', 'splice', 'size', 'stream', 'cut', 'any', 'any'] as const
const TYPE_NAMES: Record<number, string> = {
  0: 'bitmap',
  100: 'lz palette',
  101: 'lz',
  102: 'glz',
  105: 'jpeg',
  107: 'zlib glz',
  108: 'jpeg with alpha',
  109: 'lz4',
}
/** Bytes of an image before its stream, from the descriptor on. */
const STREAM_OFFSET: Record<number, number> = { 0: 39, 100: 59, 101: 50, 102: 55, 105: 22, 107: 26, 108: 27, 109: 28 }
/** What lengths, distances and runs are made of. */
const TELLING = [0, 1, 0x1f, 0x20, 0x3f, 0x7f, 0x80, 0xe0, 0xf0, 0xfe, 0xff]

interface Mutation {
  recording: number
  changes: { kind: (typeof KINDS)[number]; place: number; value: number; other: number }[]
}

const fraction = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
const mutations = (recordings: number): fc.Arbitrary<Mutation> =>
  fc.record({
    recording: fc.nat(recordings - 1),
    changes: fc.array(
      fc.record({ kind: fc.constantFrom(...KINDS), place: fraction, value: fc.nat(0xffffffff), other: fraction }),
      { minLength: 1, maxLength: 4 },
    ),
  })

function mutate(recording: Recording, original: Uint8Array, changes: Mutation['changes']): Uint8Array {
  let bytes = original.slice()
  const image = recording.imageOffset
  const stream = image + (STREAM_OFFSET[recording.type] ?? 18)
  for (const { kind, place, value, other } of changes) {
    const view = new DataView(bytes.buffer)
    const inStream = Math.min(stream + Math.floor(place * (bytes.length - stream)), bytes.length - 1)
    if (kind === 'stream') {
      bytes[inStream] = TELLING[value % TELLING.length] as number
    } else if (kind === 'length') {
      for (let n = 0; n < 3; n++) if (inStream + n < bytes.length) bytes[inStream + n] = n < 2 ? 0xff : value & 255
    } else if (kind === 'splice') {
      const from = stream + Math.floor(other * (bytes.length - stream))
      bytes.copyWithin(inStream, from, from + (value % 64))
    } else if (kind === 'cut') {
      const size = view.getUint32(image + 18, true)
      view.setUint32(image + 18, Math.floor(size * place), true)
      if (value % 2 === 0) bytes = bytes.slice(0, Math.max(inStream, stream + 1))
    } else if (kind === 'size') {
      resize(recording, view, value, place < 0.5)
    } else {
      bytes[image + 18 + Math.floor(place * (bytes.length - image - 18))] = value & 255
    }
  }
  return bytes
}

/** Changes width or height in the descriptor and in the image's own header, so that both agree. */
function resize(recording: Recording, view: DataView, value: number, isWidth: boolean): void {
  const { type, imageOffset } = recording
  const size = value % 3 === 0 ? value : (value % 2048) + 1
  const field = isWidth ? 0 : 4
  view.setUint32(imageOffset + 10 + field, size, true)
  // Of LZ and GLZ in big-endian, of bitmaps in little-endian words; LZ4 and zlib have none that is not packed.
  if (type === 0) view.setUint32(imageOffset + 20 + field, size, true)
  else if (type === 100) view.setUint32(imageOffset + 27 + 12 + field, size)
  else if (type === 101) view.setUint32(imageOffset + 22 + 12 + field, size)
  else if (type === 102) view.setUint32(imageOffset + 22 + 9 + field, size)
}

/** The images to which GLZ recordings refer: decoded in vain where the mutated one is among them. */
function contextBefore(recording: Recording): ReturnType<typeof newContext> {
  const context = newContext()
  const channel = recording.file.slice(0, recording.file.indexOf('-') + 1)
  const isGlz = ({ type, file }: Recording): boolean => (type === 102 || type === 107) && file.startsWith(channel)
  if (!isGlz(recording)) return context
  for (const one of RECORDED.filter(isGlz)) {
    if (one === recording) break
    decodeRecorded(one, recordedBytes(one), context)
  }
  return context
}

describe.each(Object.entries(TYPE_NAMES))('mutated images of type %s, %s', (type) => {
  const recordings = RECORDED.filter((one) => one.type === Number(type))
  const originals = recordings.map(recordedBytes)

  it(`give pixels or a typed error, ${MUTATIONS} times`, { timeout: 60_000 + MUTATIONS * 20 }, () => {
    const outcomes = { pixels: 0, error: 0 }
    const contexts = recordings.map(contextBefore)
    fc.assert(
      fc.property(mutations(recordings.length), ({ recording, changes }) => {
        const one = recordings[recording] as Recording
        const bytes = mutate(one, originals[recording] as Uint8Array, changes)
        const { width, height } = readDescriptor(bytes, one.imageOffset)
        try {
          const { data } = decodeRecorded(one, bytes, contexts[recording] as ReturnType<typeof newContext>)
          expect(data.length).toBe(width * height)
          outcomes.pixels++
          // What was added to the window stays there for later images; a mutated one must not.
          if (one.type === 102 || one.type === 107) contexts[recording] = contextBefore(one)
        } catch (error) {
          if (!isAtpError(error) || !/^ATP_SPICE_(IMAGE|IMAGE_AWAITED|PROTOCOL)$/.test(error.code)) throw error
          outcomes.error++
        }
      }),
      { numRuns: MUTATIONS },
    )
    // Both happen: the mutations reach behind the first check.
    expect(outcomes.pixels).toBeGreaterThan(MUTATIONS / 100)
    expect(outcomes.error).toBeGreaterThan(MUTATIONS / 100)
  })
})
