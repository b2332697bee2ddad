import { crc32, inflateSync } from 'node:zlib'
import { decode } from 'fast-png'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Film, type Picture } from '../../../framework/screen/index.ts'
import { picture } from './picture.ts'

interface Shown {
  colours: number[]
  shownMs: number
}

/** Plays an animated PNG as the specification says. */
function play(bytes: Uint8Array): { width: number; height: number; plays: number; frames: Shown[] } {
  const view = Buffer.from(bytes)
  let [width, height, count, plays, serial] = [0, 0, 0, -1, 0]
  let canvas: number[] = []
  let control: Buffer | undefined
  const frames: Shown[] = []
  const paint = (data: Buffer) => {
    if (!control) throw new Error('pixels without a frame')
    const [partWidth, partHeight, x, y] = [4, 8, 12, 16].map((at) => control?.readUInt32BE(at) as number) as [
      number,
      number,
      number,
      number,
    ]
    expect([...control.subarray(24)]).toEqual([0, 0])
    const rows = inflateSync(data)
    expect(rows.length).toBe((1 + partWidth * 3) * partHeight)
    for (let row = 0; row < partHeight; row++) {
      const at = row * (1 + partWidth * 3)
      expect(rows[at]).toBe(0)
      for (let column = 0; column < partWidth; column++) {
        canvas[(y + row) * width + x + column] = rows.readUIntBE(at + 1 + column * 3, 3)
      }
    }
    const shownMs = (control.readUInt16BE(20) * 1000) / control.readUInt16BE(22)
    frames.push({ colours: [...canvas], shownMs })
    control = undefined
  }
  for (let at = 8; at < view.length;) {
    const length = view.readUInt32BE(at)
    const type = view.toString('latin1', at + 4, at + 8)
    const data = view.subarray(at + 8, at + 8 + length)
    expect(view.readUInt32BE(at + 8 + length)).toBe(crc32(view.subarray(at + 4, at + 8 + length)))
    if (type === 'IHDR') {
      ;[width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)]
      canvas = Array<number>(width * height).fill(-1)
    } else if (type === 'acTL') [count, plays] = [data.readUInt32BE(0), data.readUInt32BE(4)]
    else if (type === 'fcTL') {
      expect(data.readUInt32BE(0)).toBe(serial++)
      control = data
    } else if (type === 'IDAT') paint(data)
    else if (type === 'fdAT') {
      expect(data.readUInt32BE(0)).toBe(serial++)
      paint(data.subarray(4))
    }
    at += 12 + length
  }
  expect(frames.length).toBe(count)
  return { width, height, plays, frames }
}

async function filmOf(pictures: readonly Picture[], options = {}, everyMs = 100): Promise<Film> {
  const film = new Film(options)
  for (const [index, each] of pictures.entries()) await film.add(each, index * everyMs)
  return film
}
const colours = ({ data }: Picture) => [...data].map((pixel) => pixel & 0xffffff)

describe('a film', () => {
  it('shows what changed for as long as it was there, and the last picture two seconds', async () => {
    const film = new Film()
    const [first, second] = [picture(4, 3), picture(4, 3, { '2,1': 0xff8000 })]
    await film.add(first, 1000)
    await film.add(picture(4, 3), 1100)
    await film.add(second, 1500)
    const png = (await film.toAnimatedPng(1600)) as Uint8Array
    const { frames, ...rest } = play(png)
    expect(rest).toEqual({ width: 4, height: 3, plays: 0 })
    expect(frames).toEqual([
      { colours: colours(first), shownMs: 500 },
      { colours: colours(second), shownMs: 2000 },
    ])
    // Readers of plain PNG see the first picture.
    expect(decode(png)).toMatchObject({ width: 4, height: 3, channels: 3, depth: 8 })
  })

  it('of nothing is none', async () => {
    expect(await new Film().toAnimatedPng(0)).toBeUndefined()
  })

  it('shows screens of other sizes in the corner of the largest', async () => {
    const film = await filmOf([picture(2, 1, {}, 0x111111), picture(1, 2, {}, 0x222222), picture(2, 1, {}, 0x333333)])
    const { width, height, frames } = play((await film.toAnimatedPng(0)) as Uint8Array)
    expect([width, height]).toEqual([2, 2])
    expect(frames.map((frame) => frame.colours)).toEqual([
      [0x111111, 0x111111, 0, 0],
      [0x222222, 0, 0x222222, 0],
      [0x333333, 0x333333, 0, 0],
    ])
  })

  it('forgets the oldest when it takes too much memory or time', async () => {
    const pictures = Array.from({ length: 50 }, (_, index) => picture(8, 8, { [`${index % 8},3`]: index + 1 }))
    const small = await filmOf(pictures, { maxBytes: 100 })
    expect(small.sizeBytes).toBeLessThanOrEqual(100)
    const short = await filmOf(pictures, { maxMs: 300 })
    for (const film of [small, short]) {
      const { frames } = play((await film.toAnimatedPng(4900)) as Uint8Array)
      expect(frames.length).toBeLessThan(20)
      const kept = pictures.slice(-frames.length).map(colours)
      expect(frames.map((frame) => frame.colours)).toEqual(kept)
    }
    expect(play((await short.toAnimatedPng(4900)) as Uint8Array).frames.length).toBe(4)
  })

  it('plays any sequence of pictures as it was, from any memory', async () => {
    const size = fc.integer({ min: 1, max: 4 })
    const screen = fc.tuple(size, size).chain(([width, height]) =>
      fc
        .array(fc.constantFrom(0, 0xffffff, 0xff123456, 0x123456), {
          minLength: width * height,
          maxLength: width * height,
        })
        .map((pixels) => ({ width, height, data: Uint32Array.from(pixels) })),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(screen, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 200 }),
        async (pictures, maxBytes) => {
          const film = await filmOf(pictures, { maxBytes })
          const { width, height, frames } = play((await film.toAnimatedPng(0)) as Uint8Array)
          const changes = pictures.filter((each, index) => {
            const before = pictures[index - 1]
            return !before || before.width !== each.width || `${colours(before)}` !== `${colours(each)}`
          })
          expect(frames.length).toBeLessThanOrEqual(changes.length)
          const wanted = changes.slice(-frames.length)
          for (const [index, each] of wanted.entries()) {
            const seen = frames[index]?.colours as number[]
            const corner = colours(each).map((_, at) => seen[Math.floor(at / each.width) * width + (at % each.width)])
            expect(corner).toEqual(colours(each))
            const outside = seen.filter((_, at) => at % width >= each.width || Math.floor(at / width) >= each.height)
            expect(outside.every((pixel) => pixel === 0)).toBe(true)
          }
          expect(Math.max(...wanted.map((each) => each.height))).toBe(height)
        },
      ),
    )
  })
})
