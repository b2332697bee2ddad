import type { Transform } from './draw-messages.ts'
import type { Rect } from './geometry.ts'
import type { Picture, RowSource } from './row-source.ts'

/** How a picture goes on beside its edges; pixman's numbers. */
const REPEAT = { none: 0, normal: 1, pad: 2, reflect: 3 } as const

export interface Sampling {
  /** From places on the surface to places on the picture. */
  transform: Transform
  /** Mixes the four nearest pixels instead of taking one. */
  smooth: boolean
  /** One of {@link REPEAT}. */
  repeat: number
  /** What is subtracted from places on the surface first. */
  left: number
  top: number
}

const ONE = 0x10000
const HALF = 0x8000

/** Pixels of a picture seen through a transform, as pixman computes them: 16.16 fixed point, weights of seven bits. */
export function sampledSource(picture: Picture, { transform, smooth, repeat, left, top }: Sampling): RowSource {
  const fetch = pixelOf(picture, repeat)
  const [t00, t01, t02, t10, t11, t12] = transform
  let words = new Uint32Array(64)
  return {
    get words() {
      return words
    },
    seek(x, y, count) {
      if (count > words.length) words = new Uint32Array(count * 2)
      let u = product(t00, t01, t02, x - left, y - top)
      let v = product(t10, t11, t12, x - left, y - top)
      for (let n = 0; n < count; n++, u += t00, v += t10) {
        words[n] = smooth ? mixed(fetch, u - HALF, v - HALF) : fetch(whole(u - 1), whole(v - 1))
      }
      return 0
    },
  }
}

/** A part of a picture made to fill a box. */
export function scaledRows(picture: Picture, area: Rect, box: Rect, smooth: boolean): RowSource {
  const { across, down } = ratios(area, box)
  return stretched(picture, box, smooth, [across, 0, area.left * ONE, 0, down, area.top * ONE])
}

/**
 * The same as ternary raster operations do it: the whole picture is scaled, and the part begins at a whole pixel of
 * what came out.
 */
export function scaledWhole(picture: Picture, area: Rect, box: Rect, smooth: boolean): RowSource {
  const { across, down } = ratios(area, box)
  const left = Math.round((area.left * (box.right - box.left)) / (area.right - area.left))
  const top = Math.round((area.top * (box.bottom - box.top)) / (area.bottom - area.top))
  return stretched(picture, box, smooth, [across, 0, left * across, 0, down, top * down])
}

function ratios(area: Rect, box: Rect): { across: number; down: number } {
  return {
    across: Math.trunc(((area.right - area.left) * ONE) / (box.right - box.left)),
    down: Math.trunc(((area.bottom - area.top) * ONE) / (box.bottom - box.top)),
  }
}

function stretched(picture: Picture, { left, top }: Rect, smooth: boolean, transform: Transform): RowSource {
  return sampledSource(picture, { transform, smooth, repeat: REPEAT.none, left, top })
}

function whole(fixed: number): number {
  return Math.floor(fixed / ONE)
}

/** A row of the transform times the middle of a pixel, rounded. Integer and fractional part apart stay exact. */
function product(a: number, b: number, c: number, x: number, y: number): number {
  return a * x + b * y + c + Math.floor((a * HALF + b * HALF + HALF) / ONE)
}

type Fetch = (x: number, y: number) => number

function pixelOf({ width, height, data, hasAlpha }: Picture, repeat: number): Fetch {
  const alpha = hasAlpha ? 0 : 0xff000000
  const at: Fetch = (x, y) => ((data[y * width + x] as number) | alpha) >>> 0
  if (repeat === REPEAT.none) return (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : at(x, y))
  const fold = foldOf(repeat)
  return (x, y) => at(fold(x, width), fold(y, height))
}

function foldOf(repeat: number): (place: number, size: number) => number {
  if (repeat === REPEAT.pad) return (place, size) => Math.min(Math.max(place, 0), size - 1)
  const turn = (place: number, size: number) => place - Math.floor(place / size) * size
  if (repeat === REPEAT.normal) return turn
  return (place, size) => {
    const folded = turn(place, size * 2)
    return folded < size ? folded : size * 2 - folded - 1
  }
}

function mixed(fetch: Fetch, u: number, v: number): number {
  const x = whole(u)
  const y = whole(v)
  // Seven bits of the fraction, as 256ths.
  const right = Math.floor((u - x * ONE) / 512) * 2
  const below = Math.floor((v - y * ONE) / 512) * 2
  const left = 256 - right
  const above = 256 - below
  return mix(
    fetch(x, y),
    left * above,
    fetch(x + 1, y),
    right * above,
    fetch(x, y + 1),
    left * below,
    fetch(x + 1, y + 1),
    right * below,
  )
}

function mix(a: number, wa: number, b: number, wb: number, c: number, wc: number, d: number, wd: number): number {
  let pixel = 0
  for (let shift = 0; shift < 32; shift += 8) {
    const sum =
      ((a >>> shift) & 0xff) * wa +
      ((b >>> shift) & 0xff) * wb +
      ((c >>> shift) & 0xff) * wc +
      ((d >>> shift) & 0xff) * wd
    pixel |= (sum >>> 16) << shift
  }
  return pixel >>> 0
}
