import { drawImage, putBitmap } from '../../tests/support/spice-server/picture.ts'
import type { PictureServer } from '../../tests/support/spice-server/picture-server.ts'
import { samplePicture, toBitmap, type Picture } from '../../tests/support/spice-server/sample-pictures.ts'

export const SCREEN = { width: 1024, height: 768 }

/** A colour that a screen shows at a place: x, y, `0xRRGGBB`. */
type Shown = readonly [x: number, y: number, rgb: number]

/** Draws once more, and tells what the last thing drawn shows. */
export type Draw = () => Promise<Shown>

const TILE = 64
const COLUMNS = SCREEN.width / TILE
const ROWS = SCREEN.height / TILE
/**
 * Draws that are made before the client is waited for. None of them lies on another: what is covered before it was
 * sent, the server never sends. It lets 50 wait for a slow client, and its ring holds 32.
 */
const TILES_AT_ONCE = COLUMNS * ROWS
const LINE = 16

/** Small draws, one beside the other over the whole screen; 192 of them a step. */
export async function smallDraws({ card }: PictureServer): Promise<Draw> {
  const tiles = await Promise.all(
    Array.from({ length: 7 }, async (_, index) => {
      const picture = numbered(samplePicture('noise', TILE, TILE), index)
      return { image: await putBitmap(card, toBitmap(picture, 'rgb32')), rgb: cornerOf(picture) }
    }),
  )
  let drawn = 0
  return async () => {
    let shown: Shown = [0, 0, 0]
    for (let index = 0; index < TILES_AT_ONCE; index++) {
      const { image, rgb } = tiles[drawn++ % tiles.length] as (typeof tiles)[number]
      const x = (index % COLUMNS) * TILE
      const y = Math.floor(index / COLUMNS) * TILE
      await drawImage(card, image, { x, y, width: TILE, height: TILE })
      shown = [x, y, rgb]
    }
    return shown
  }
}

/** The whole screen each step, one of these pictures after the other. */
export async function frames({ card }: PictureServer, pictures: readonly Picture[]): Promise<Draw> {
  const put: { image: bigint; rgb: number }[] = []
  for (const [index, picture] of pictures.entries()) {
    const one = numbered(picture, index)
    put.push({ image: await putBitmap(card, toBitmap(one, 'rgb32')), rgb: cornerOf(one) })
  }
  let drawn = 0
  return async () => {
    const { image, rgb } = put[drawn++ % put.length] as (typeof put)[number]
    await drawImage(card, image, { x: 0, y: 0, ...SCREEN })
    return [0, 0, rgb]
  }
}

/** Text that moves up by a line from one picture to the next. */
export function scrolledText(count: number): Picture[] {
  const { width, height } = SCREEN
  const { data } = samplePicture('text', width, height + count * LINE)
  return Array.from({ length: count }, (_, index) => {
    const start = index * LINE * width
    return { width, height, data: data.slice(start, start + width * height) }
  })
}

/** A desktop with windows, over which another one is dragged. */
export function movingDesktop(count: number): Picture[] {
  const { width, height } = SCREEN
  const back = samplePicture('desktop', width, height)
  const window = samplePicture('desktop', 400, 300)
  return Array.from({ length: count }, (_, index) => {
    const data = back.data.slice()
    const left = 20 + index * 17
    const top = 40 + index * 11
    for (let y = 0; y < window.height; y++) {
      const row = window.data.subarray(y * window.width, (y + 1) * window.width)
      data.set(row, (top + y) * width + left)
    }
    return { width, height, data }
  })
}

/** The picture with a number in its first pixel, to tell it from others. */
function numbered({ width, height, data }: Picture, index: number): Picture {
  const copy = data.slice()
  copy[0] = (0xff102030 + index) >>> 0
  return { width, height, data: copy }
}

function cornerOf({ data }: Picture): number {
  return (data[0] as number) & 0xffffff
}
