import pixelmatch from 'pixelmatch'
import type { CompareOptions, Picture, Region } from './api.ts'
import { assertInside, crop, toRgba } from './picture.ts'

export interface Comparison {
  same: boolean
  /** Pixels that differ. All of them when the sizes do. */
  differing: number
  /** In words, for an error. */
  reason: string
  /** The differences in red on the pale picture; absent when the sizes differ. */
  difference?: Picture
}

/**
 * Compares pictures of a whole screen, or of its region: `expected` has the size of one or the other.
 *
 * @throws `ATP_SCREEN_REGION` when the region or a mask lies outside of the screen.
 */
export function compare(actual: Picture, expected: Picture, options: CompareOptions = {}): Comparison {
  const { region, masks = [], tolerance = 0, maxPixels = 0 } = options
  const seen = mask(crop(actual, region), masks, actual, region)
  const whole = expected.width === actual.width && expected.height === actual.height
  const wanted = mask(whole ? crop(expected, region) : copy(expected), masks, actual, region)
  if (seen.width !== wanted.width || seen.height !== wanted.height) {
    const reason = `it has ${seen.width}×${seen.height} pixels, expected were ${wanted.width}×${wanted.height}`
    return { same: false, differing: seen.width * seen.height, reason }
  }
  const { width, height } = seen
  const output = new Uint8Array(width * height * 4)
  const settings = { threshold: tolerance, includeAA: true }
  const differing = pixelmatch(toRgba(seen), toRgba(wanted), output, width, height, settings)
  const pixels = `${differing} of ${width * height} pixels differ`
  return {
    same: differing <= maxPixels,
    differing,
    reason: maxPixels > 0 ? `${pixels}, ${maxPixels} may` : pixels,
    difference: fromRgba(output, width, height),
  }
}

/** Whether two pictures of the same screen differ: {@link compare} without a picture of the differences, and cheap. */
export function differs(one: Picture, other: Picture, options: CompareOptions = {}): boolean {
  if (one.width !== other.width || one.height !== other.height) return true
  const { region, masks = [], tolerance = 0, maxPixels = 0 } = options
  if (tolerance > 0) return !compare(one, other, options).same
  const a = mask(crop(one, region), masks, one, region).data
  const b = mask(crop(other, region), masks, other, region).data
  let differing = 0
  for (let at = 0; at < a.length; at++) {
    if ((((a[at] as number) ^ (b[at] as number)) & 0xffffff) !== 0 && ++differing > maxPixels) return true
  }
  return false
}

/** Blackens the masked parts. `seen` is the region of `screen`. */
function mask(seen: Picture, masks: readonly Region[], screen: Picture, region: Region | undefined): Picture {
  if (masks.length === 0) return seen
  const { x: left, y: top } = region ?? { x: 0, y: 0 }
  const masked = copy(seen)
  for (const each of masks) {
    assertInside(each, screen)
    const fromX = Math.max(0, each.x - left)
    const toX = Math.min(seen.width, each.x - left + each.width)
    if (toX <= fromX) continue
    const toY = Math.min(seen.height, each.y - top + each.height)
    for (let y = Math.max(0, each.y - top); y < toY; y++)
      masked.data.fill(0, y * seen.width + fromX, y * seen.width + toX)
  }
  return masked
}

function copy({ width, height, data }: Picture): Picture {
  return { width, height, data: data.slice() }
}

function fromRgba(bytes: Uint8Array, width: number, height: number): Picture {
  const data = new Uint32Array(width * height)
  for (let at = 0; at < data.length; at++) {
    const [red = 0, green = 0, blue = 0] = bytes.subarray(at * 4, at * 4 + 3)
    data[at] = (red << 16) | (green << 8) | blue
  }
  return { width, height, data }
}
