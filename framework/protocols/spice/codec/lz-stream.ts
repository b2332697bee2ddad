import { imageError } from './pixels.ts'

/**
 * The LZ stream inside SPICE's LZ images: control bytes below 32 announce literals, others a length and a distance back
 * in what was decoded, both in units of the stream: bytes (palette indices, alpha) or pixels. Which bias a length has
 * depends on the unit: the least that pays.
 */

/** No byte of a stream makes more units than this, so that a lying header costs no memory. */
const MOST_UNITS_A_BYTE = 255
/** From here on a second pair of bytes holds the distance. */
const FAR = 8191
/** Copies of more units go through the engine's own, which is slow to start. */
const LONG_COPY = 48

/** @throws `ATP_SPICE_IMAGE` when so few bytes cannot hold so many units. */
export function checkRatio(place: string, units: number, sourceBytes: number): void {
  if (units <= sourceBytes * MOST_UNITS_A_BYTE) return
  throw imageError(place, `${units} pixels cannot come from ${sourceBytes} bytes`)
}

/** The error for a stream that ends too early, or that would write or read outside of its picture. */
export function brokenStream(place: string, at: number, to: number, units: number): Error {
  return imageError(place, `the stream breaks at byte ${at}, after ${to} of ${units} pixels`)
}

/** Copies `length` pixels from `distance` before `to`; source and target may overlap, which repeats the source. */
export function copyPixelsBack(out: Int32Array, to: number, distance: number, length: number): void {
  const end = to + length
  if (length < LONG_COPY) {
    for (; to < end; to++) out[to] = out[to - distance] as number
  } else if (distance === 1) {
    out.fill(out[to - 1] as number, to, end)
  } else {
    // What repeats is there twice as often after every copy.
    for (const from = to - distance; to < end;) {
      const copied = Math.min(to - from, end - to)
      out.copyWithin(to, from, from + copied)
      to += copied
    }
  }
}

/** As {@link copyPixelsBack}, for bytes. One function for both would make the engine slow at both. */
export function copyBytesBack(out: Uint8Array, to: number, distance: number, length: number): void {
  const end = to + length
  if (length < LONG_COPY) {
    for (; to < end; to++) out[to] = out[to - distance] as number
  } else if (distance === 1) {
    out.fill(out[to - 1] as number, to, end)
  } else {
    // What repeats is there twice as often after every copy.
    for (const from = to - distance; to < end;) {
      const copied = Math.min(to - from, end - to)
      out.copyWithin(to, from, from + copied)
      to += copied
    }
  }
}

/** How literals of pixels are written: two bytes of five bits a colour, or three of eight. */
export type PixelBytes = 2 | 3

/**
 * Fills `out` with pixels, opaque, from the stream at `start`. Returns where the stream ended.
 *
 * @throws `ATP_SPICE_IMAGE`
 */
export function lzPixels(
  place: string,
  source: Uint8Array,
  start: number,
  out: Int32Array,
  pixelBytes: PixelBytes,
): number {
  const units = out.length
  const bias = pixelBytes === 2 ? 1 : 0
  let at = start
  let to = 0
  while (to < units) {
    // Beyond the end there is nothing, which reads as 0; the checks below see it before anything is used.
    const control = (source[at++] as number) | 0
    if (control < 32) {
      const end = to + control + 1
      if (end > units || (control + 1) * pixelBytes > source.length - at) throw brokenStream(place, at, to, units)
      if (pixelBytes === 2) {
        for (; to < end; to++, at += 2) {
          out[to] = rgb555(((source[at] as number) << 8) | (source[at + 1] as number))
        }
      } else {
        for (; to < end; to++, at += 3) {
          out[to] =
            0xff000000 | (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16)
        }
      }
      continue
    }
    let length = (control >> 5) + bias
    if (control >= 0xe0) {
      let more: number
      do {
        more = (source[at++] as number) | 0
        length += more
      } while (more === 255)
    }
    const low = (source[at++] as number) | 0
    let distance = ((control & 31) << 8) + low + 1
    if (distance === FAR + 1) {
      distance += ((source[at] as number) << 8) | (source[at + 1] as number)
      at += 2
    }
    if (at > source.length || distance > to || length > units - to) throw brokenStream(place, at, to, units)
    copyPixelsBack(out, to, distance, length)
    to += length
  }
  return at
}

/** As {@link lzPixels} for streams of bytes: palette indices and alpha. */
export function lzBytes(place: string, source: Uint8Array, start: number, out: Uint8Array): number {
  const units = out.length
  let at = start
  let to = 0
  while (to < units) {
    const control = (source[at++] as number) | 0
    if (control < 32) {
      const end = to + control + 1
      if (end > units || control + 1 > source.length - at) throw brokenStream(place, at, to, units)
      while (to < end) out[to++] = source[at++] as number
      continue
    }
    let length = (control >> 5) + 2
    if (control >= 0xe0) {
      let more: number
      do {
        more = (source[at++] as number) | 0
        length += more
      } while (more === 255)
    }
    const low = (source[at++] as number) | 0
    let distance = ((control & 31) << 8) + low + 1
    if (distance === FAR + 1) {
      distance += ((source[at] as number) << 8) | (source[at + 1] as number)
      at += 2
    }
    if (at > source.length || distance > to || length > units - to) throw brokenStream(place, at, to, units)
    copyBytesBack(out, to, distance, length)
    to += length
  }
  return at
}

/** A pixel of five bits a colour, widened to eight by repeating the topmost. */
export function rgb555(word: number): number {
  const red = (word >> 10) & 31
  const green = (word >> 5) & 31
  const blue = word & 31
  return (
    0xff000000 | (((red << 3) | (red >> 2)) << 16) | (((green << 3) | (green >> 2)) << 8) | ((blue << 3) | (blue >> 2))
  )
}
