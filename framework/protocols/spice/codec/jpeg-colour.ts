import type { JpegComponent, JpegFrame } from './jpeg-frame.ts'

// Samples become pixels as in the reference decoder: coarser colours are blended between their neighbours, and the
// conversion from YCbCr is rounded in 16 bits.

const RED_OF_CR = Int32Array.from({ length: 256 }, (_, n) => (91881 * (n - 128) + 32768) >> 16)
const BLUE_OF_CB = Int32Array.from({ length: 256 }, (_, n) => (116130 * (n - 128) + 32768) >> 16)
const GREEN_OF_CR = Int32Array.from({ length: 256 }, (_, n) => -46802 * (n - 128))
const GREEN_OF_CB = Int32Array.from({ length: 256 }, (_, n) => -22554 * (n - 128) + 32768)

/** How three components are meant. */
export type ColourSpace = 'ycc' | 'rgb'

/** The frame's samples as opaque pixels. */
export function toPixels(frame: JpegFrame, space: ColourSpace, pixels: Int32Array): void {
  const { width, height, components } = frame
  const rows = components.map((component) => rowSource(component, frame))
  for (let y = 0, to = 0; y < height; y++, to += width) {
    const [first, second, third] = rows.map((row) => row(y)) as [Uint8Array, Uint8Array?, Uint8Array?]
    if (!second || !third) {
      for (let x = 0; x < width; x++) pixels[to + x] = 0xff000000 | ((first[x] as number) * 0x010101)
    } else if (space === 'rgb') {
      for (let x = 0; x < width; x++) {
        pixels[to + x] = 0xff000000 | ((first[x] as number) << 16) | ((second[x] as number) << 8) | (third[x] as number)
      }
    } else {
      convertRow(first, second, third, pixels, to, width)
    }
  }
}

function convertRow(
  luma: Uint8Array,
  cb: Uint8Array,
  cr: Uint8Array,
  pixels: Int32Array,
  to: number,
  width: number,
): void {
  for (let x = 0; x < width; x++) {
    const y = luma[x] as number
    const blueness = cb[x] as number
    const redness = cr[x] as number
    let red = y + (RED_OF_CR[redness] as number)
    let green = y + (((GREEN_OF_CB[blueness] as number) + (GREEN_OF_CR[redness] as number)) >> 16)
    let blue = y + (BLUE_OF_CB[blueness] as number)
    if (((red | green | blue) & ~255) !== 0) {
      red = red < 0 ? 0 : red > 255 ? 255 : red
      green = green < 0 ? 0 : green > 255 ? 255 : green
      blue = blue < 0 ? 0 : blue > 255 ? 255 : blue
    }
    pixels[to + x] = 0xff000000 | (red << 16) | (green << 8) | blue
  }
}

/** Rows of a component as fine as the picture; what a function returned is valid until its next call. */
function rowSource(component: JpegComponent, { width, maxH, maxV }: JpegFrame): (y: number) => Uint8Array {
  const across = maxH / component.h
  const down = maxV / component.v
  const { samples, blocksPerLine, height } = component
  const row = (y: number): Uint8Array => samples.subarray(y * blocksPerLine * 8, (y + 1) * blocksPerLine * 8)
  if (across === 1 && down === 1) return row
  const line = new Uint8Array(width + maxH)
  const isWide = component.width > 2
  /** The row above or below, whichever is nearer; the edges are their own neighbours. */
  const neighbour = (y: number): Uint8Array =>
    row(Math.min(Math.max((y >> 1) + ((y & 1) === 0 ? -1 : 1), 0), height - 1))
  if (across === 2 && down === 1 && isWide) {
    return (y) => blendAcross(row(y), component.width, line)
  }
  if (across === 2 && down === 2 && isWide) {
    const sums = new Int32Array(component.width)
    return (y) => blendBoth(row(y >> 1), neighbour(y), sums, line)
  }
  if (across === 1 && down === 2) {
    return (y) => {
      const near = row(y >> 1)
      const far = neighbour(y)
      const bias = (y & 1) === 0 ? 1 : 2
      for (let x = 0; x < width; x++) line[x] = ((near[x] as number) * 3 + (far[x] as number) + bias) >> 2
      return line
    }
  }
  return (y) => {
    const source = row(Math.floor(y / down))
    for (let x = 0; x < width; x++) line[x] = source[Math.floor(x / across)] as number
    return line
  }
}

/** Twice as many samples, three parts of the nearer and one of the other neighbour. */
function blendAcross(source: Uint8Array, count: number, line: Uint8Array): Uint8Array {
  for (let x = 0; x < count; x++) {
    const here = source[x] as number
    const before = x === 0 ? here : (source[x - 1] as number)
    const after = x === count - 1 ? here : (source[x + 1] as number)
    line[x * 2] = (here * 3 + before + 1) >> 2
    line[x * 2 + 1] = (here * 3 + after + 2) >> 2
  }
  return line
}

/** As {@link blendAcross} in both directions. */
function blendBoth(near: Uint8Array, far: Uint8Array, sums: Int32Array, line: Uint8Array): Uint8Array {
  const count = sums.length
  for (let x = 0; x < count; x++) sums[x] = (near[x] as number) * 3 + (far[x] as number)
  for (let x = 0; x < count; x++) {
    const here = sums[x] as number
    const before = x === 0 ? here : (sums[x - 1] as number)
    const after = x === count - 1 ? here : (sums[x + 1] as number)
    line[x * 2] = (here * 3 + before + 8) >> 4
    line[x * 2 + 1] = (here * 3 + after + 7) >> 4
  }
  return line
}
