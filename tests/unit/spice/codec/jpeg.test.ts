import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { decode, encode } from 'jpeg-js'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/errors.ts'
import { decodeJpeg } from '../../../../framework/protocols/spice/codec/jpeg.ts'

interface JpegFile {
  file: string
  width: number
  height: number
  /** Hash of what djpeg of libjpeg-turbo 2.1.5 makes of it: pixels of `0xAARRGGBB` in little-endian words. */
  sha256: string
}

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 2000)
const folder = new URL('../recorded/jpeg/', import.meta.url)
const FILES = JSON.parse(readFileSync(new URL('pictures.json', folder), 'utf8')) as JpegFile[]
const bytesOf = (file: string): Uint8Array => Uint8Array.from(readFileSync(new URL(file, folder)))

describe('files that cjpeg of libjpeg-turbo 2.1.5 made', () => {
  it.each(FILES.filter(({ file }) => file !== 'progressive.jpg'))('$file has the pixels djpeg makes of it', (one) => {
    const { width, height, data } = decodeJpeg(bytesOf(one.file), one)
    expect({ width, height }).toEqual({ width: one.width, height: one.height })
    expect(createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex')).toBe(one.sha256)
  })

  it('are taken with the size they have where none is expected', () => {
    expect(decodeJpeg(bytesOf('2x2-narrow.jpg'))).toMatchObject({ width: 3, height: 40, hasAlpha: false })
  })

  it('are refused when they are progressive, of another size, or cut', () => {
    expect(() => decodeJpeg(bytesOf('progressive.jpg'))).toThrow(/frames of kind 2 are not what SPICE servers send/)
    expect(() => decodeJpeg(bytesOf('2x2.jpg'), { width: 37, height: 28 })).toThrow(/37×29 where .* 37×28/)
    const whole = bytesOf('2x2.jpg')
    for (let size = 0; size < whole.length - 3; size++) {
      expect(() => decodeJpeg(whole.subarray(0, size)), `${size} bytes`).toThrow(
        expect.objectContaining({ code: 'ATP_SPICE_IMAGE' }),
      )
    }
  })

  it('are refused for their size before memory is taken', () => {
    const bytes = bytesOf('2x2.jpg')
    const frame = bytes.findIndex((byte, at) => byte === 0xff && bytes[at + 1] === 0xc0)
    bytes.set([0xff, 0xff, 0xff, 0xff], frame + 5)
    expect(() => decodeJpeg(bytes)).toThrow(/65535×65535 pixels are not between/)
    bytes.set([0x3f, 0xff, 0x0f, 0xff], frame + 5)
    expect(() => decodeJpeg(bytes)).toThrow(/67088385 pixels cannot come from/)
  })

  it(
    `give pixels or a typed error when they are mutated, ${MUTATIONS} times`,
    { timeout: 60_000 + MUTATIONS * 20 },
    () => {
      const originals = FILES.map(({ file }) => bytesOf(file))
      const outcomes = { pixels: 0, error: 0 }
      const change = fc.record({
        place: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        value: fc.oneof(fc.nat(255), fc.constantFrom(0, 0xff, 0xd0, 0xd9, 0xda, 0xc0, 0xc4, 0xdb, 0x11, 0x22, 0x44)),
        /** Whether a marker is put there. */
        isMarker: fc.boolean(),
      })
      fc.assert(
        fc.property(fc.nat(FILES.length - 1), fc.array(change, { minLength: 1, maxLength: 4 }), (which, changes) => {
          const bytes = (originals[which] as Uint8Array).slice()
          for (const { place, value, isMarker } of changes) {
            const at = 2 + Math.floor(place * (bytes.length - 3))
            bytes[at] = isMarker ? 0xff : value
            if (isMarker) bytes[at + 1] = value
          }
          try {
            const { width, height, data } = decodeJpeg(bytes)
            expect(data.length).toBe(width * height)
            outcomes.pixels++
          } catch (error) {
            if (!isAtpError(error, 'ATP_SPICE_IMAGE')) throw error
            outcomes.error++
          }
        }),
        { numRuns: MUTATIONS },
      )
      expect(outcomes.pixels).toBeGreaterThan(MUTATIONS / 100)
      expect(outcomes.error).toBeGreaterThan(MUTATIONS / 100)
    },
  )
})

// Above a quality of 90 that encoder makes files which are broken.
it(
  'any picture from another encoder is what another decoder makes of it, but for rounding',
  { timeout: 60_000 },
  () => {
    const picture = fc.record({
      width: fc.integer({ min: 1, max: 24 }),
      height: fc.integer({ min: 1, max: 24 }),
      quality: fc.integer({ min: 1, max: 90 }),
      samples: fc.infiniteStream(fc.nat(255)),
    })
    fc.assert(
      fc.property(picture, ({ width, height, quality, samples }) => {
        const data = Uint8Array.from(samples.take(width * height * 4))
        const bytes = Uint8Array.from(encode({ width, height, data }, quality).data)
        const theirs = decode(bytes, { useTArray: true }).data
        const ours = decodeJpeg(bytes, { width, height }).data
        let worst = 0
        for (const [at, word] of ours.entries()) {
          for (let channel = 0; channel < 3; channel++) {
            const value = (word >>> (16 - channel * 8)) & 255
            worst = Math.max(worst, Math.abs(value - (theirs[at * 4 + channel] as number)))
          }
        }
        expect(worst).toBeLessThanOrEqual(8)
      }),
      { numRuns: 30 },
    )
  },
)
