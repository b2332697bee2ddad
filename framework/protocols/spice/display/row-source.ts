import type { Point, Rect } from './geometry.ts'

type Words = Uint32Array<ArrayBuffer>

/** A picture to take pixels from: decoded, or a surface. Without alpha, the fourth byte of a pixel means nothing. */
export interface Picture {
  width: number
  height: number
  data: Words
  hasAlpha: boolean
  /** Of an image, as opposed to a surface, that has alpha and no colours. */
  isAlphaOnly?: boolean
}

/** Pixels for every place of a surface, a row at a time. */
export interface RowSource {
  /** Makes `count` pixels for the surface's pixels from `x`, `y` on ready: they begin at `words[…]`, the result. */
  seek(x: number, y: number, count: number): number
  /** Valid until the next {@link seek}. */
  readonly words: Words
}

export function solidSource(color: number): RowSource {
  let words = new Uint32Array(64).fill(color)
  return {
    get words() {
      return words
    },
    seek(_x, _y, count) {
      if (count > words.length) words = new Uint32Array(count * 2).fill(color)
      return 0
    },
  }
}

/** The picture's own pixels, its first one on `x`, `y`. Ask for none beside it. */
export function pictureSource(picture: Picture, left: number, top: number): RowSource {
  return {
    words: picture.data,
    seek: (x, y) => (y - top) * picture.width + x - left,
  }
}

/** The picture over and over, one of its first pixels on `origin`. */
export function patternSource(picture: Picture, origin: Point): RowSource {
  const { width, height, data } = picture
  let words = new Uint32Array(64)
  return {
    get words() {
      return words
    },
    seek(x, y, count) {
      if (count > words.length) words = new Uint32Array(count * 2)
      const row = modulo(y - origin.y, height) * width
      let column = modulo(x - origin.x, width)
      for (let n = 0; n < count; n++) {
        words[n] = data[row + column] as number
        if (++column === width) column = 0
      }
      return 0
    },
  }
}

function modulo(value: number, divisor: number): number {
  const rest = value % divisor
  return rest < 0 ? rest + divisor : rest
}

/** The place on the surface where an unscaled picture lies, when `area` of it comes to lie on `box`. */
export function placeOf(picture: Picture, area: Rect, box: Rect): Rect {
  const left = box.left - area.left
  const top = box.top - area.top
  return { left, top, right: left + picture.width, bottom: top + picture.height }
}
