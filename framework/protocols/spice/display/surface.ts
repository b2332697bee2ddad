import type { Pixels } from '../codec/pixels.ts'
import { forEachRun, type Region } from './region.ts'
import { rectOf, type Rect } from './geometry.ts'
import { SURFACE_FORMAT } from './messages.ts'

type Format = (typeof SURFACE_FORMAT)[keyof typeof SURFACE_FORMAT]

/** Whether surfaces of this format can be drawn to: all but those of one bit. */
export function isDrawableFormat(format: number): format is Format {
  return format !== SURFACE_FORMAT.a1 && Object.values<number>(SURFACE_FORMAT).includes(format)
}

/**
 * What draw operations change: the screen, or pictures that the guest keeps beside it.
 *
 * Surfaces of 16 bits hold the colours that their values stand for; those of 8 bits hold alpha without colours.
 */
export class Surface {
  readonly id: number
  readonly width: number
  readonly height: number
  readonly format: Format
  readonly rect: Rect
  /** Row by row from the top, `0xAARRGGBB`; without {@link hasAlpha} `AA` is whatever was drawn. */
  readonly data: Uint32Array<ArrayBuffer>

  constructor(id: number, width: number, height: number, format: Format) {
    this.id = id
    this.width = width
    this.height = height
    this.format = format
    this.rect = rectOf(0, 0, width, height)
    this.data = new Uint32Array(width * height)
  }

  /** Whether the alpha of pixels means something. */
  get hasAlpha(): boolean {
    return this.format === SURFACE_FORMAT.argb || this.format === SURFACE_FORMAT.a8
  }

  /** The colour of a brush as this surface's pixels have it. */
  color(value: number): number {
    if (this.format === SURFACE_FORMAT.rgb555) {
      return expand((value & 0x7c00) << 9, (value & 0x3e0) << 6, (value & 0x1f) << 3, SIX_BITS.rgb555)
    }
    if (this.format === SURFACE_FORMAT.rgb565) {
      return expand((value & 0xf800) << 8, (value & 0x7e0) << 5, (value & 0x1f) << 3, SIX_BITS.rgb565)
    }
    if (this.format === SURFACE_FORMAT.a8) return value << 24
    return value
  }

  /** Cuts pixels that were just drawn to what the format can hold. */
  settle(region: Region): void {
    if (this.format === SURFACE_FORMAT.xrgb || this.format === SURFACE_FORMAT.argb) return
    const cut = this.format === SURFACE_FORMAT.a8 ? alphaOnly : this.#sixteenBits()
    const { data, width } = this
    forEachRun(region, (x, y, count) => {
      const start = y * width + x
      for (let at = start; at < start + count; at++) data[at] = cut(data[at] as number)
    })
  }

  #sixteenBits(): (pixel: number) => number {
    const green = this.format === SURFACE_FORMAT.rgb565 ? SIX_BITS.rgb565 : SIX_BITS.rgb555
    return (pixel) => expand(pixel & 0xf80000, pixel & (0xff00 & (0xff00 << (8 - green))), pixel & 0xf8, green)
  }

  /** A copy of a part; without alpha, pixels are opaque. */
  read({ top, left, bottom, right }: Rect): Pixels {
    const width = right - left
    const data = new Uint32Array(width * (bottom - top))
    for (let y = top; y < bottom; y++) {
      const start = y * this.width + left
      data.set(this.data.subarray(start, start + width), (y - top) * width)
    }
    if (!this.hasAlpha) for (let at = 0; at < data.length; at++) data[at] = (data[at] as number) | 0xff000000
    return { width, height: bottom - top, data, hasAlpha: this.hasAlpha }
  }
}

// How many bits green has.
const SIX_BITS = { rgb555: 5, rgb565: 6 }

/** Fills the low bits of each colour with its high ones, so that white stays white. */
function expand(red: number, green: number, blue: number, greenBits: number): number {
  return (red | ((red >>> 5) & 0x070000) | green | ((green >>> greenBits) & 0xff00) | blue | (blue >>> 5)) >>> 0
}

function alphaOnly(pixel: number): number {
  return pixel & 0xff000000
}
