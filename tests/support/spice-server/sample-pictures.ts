import { BITMAP_FORMAT, type Bitmap } from './picture.ts'

/** Width and height in pixels, and `width * height` pixels from the top as `0xAARRGGBB`. */
export interface Picture {
  width: number
  height: number
  data: Uint32Array<ArrayBuffer>
}

/** The kinds of pictures that codecs treat differently. */
export const PICTURE_KINDS = ['flat', 'gradient', 'noise', 'text', 'photo', 'desktop'] as const
export type PictureKind = (typeof PICTURE_KINDS)[number]

/** A picture that is the same every time. */
export function samplePicture(kind: PictureKind, width: number, height: number): Picture {
  const picture = { width, height, data: new Uint32Array(width * height) }
  if (kind === 'text' || kind === 'desktop') paintDesktop(picture, kind === 'text')
  else paint(picture, PIXEL[kind]())
  return picture
}

type Pixel = (x: number, y: number, width: number, height: number) => number

const PIXEL: Record<'flat' | 'gradient' | 'noise' | 'photo', () => Pixel> = {
  flat: () => () => argb(0xff, 10, 200, 99),
  gradient: () => (x, y, width, height) => argb(x * y, (x * 255) / width, (y * 255) / height, x + y),
  noise: () => {
    const random = randomBytes()
    return () => argb(random(), random(), random(), random())
  },
  photo: () => {
    const random = randomBytes()
    return (x, y) => {
      const wave = Math.sin(x / 17) * Math.cos(y / 23)
      const other = Math.sin((x + y) / 31)
      return argb(
        128 + wave * 120,
        128 + wave * 100 + (random() & 7),
        128 + other * 90,
        100 + wave * 50 + (random() & 15),
      )
    }
  },
}

/** Windows with text before a soft background, or text alone. */
function paintDesktop(picture: Picture, isTextOnly: boolean): void {
  const { width, height } = picture
  const at = (share: number, whole: number): number => Math.floor(share * whole)
  if (isTextOnly) {
    paint(picture, () => argb(0, 20, 20, 20))
    paintText(picture, 0, 0, width, height, argb(0xff, 230, 230, 230))
    return
  }
  paint(picture, (x, y) => {
    const wave = Math.sin(x / 97) * Math.cos(y / 83)
    return argb(0xff, 40 + (y * 30) / height + wave * 20, 80 + (x * 40) / width, 140 + wave * 30)
  })
  const windows = [
    { x: 0.06, y: 0.05, width: 0.6, height: 0.7, back: argb(0xff, 255, 255, 255), ink: argb(0xff, 32, 32, 32) },
    { x: 0.5, y: 0.35, width: 0.45, height: 0.5, back: argb(0xff, 30, 30, 30), ink: argb(0xff, 208, 208, 208) },
    { x: 0, y: 0.95, width: 1, height: 0.05, back: argb(0xff, 32, 37, 48), ink: argb(0xff, 255, 255, 255) },
  ]
  for (const one of windows) {
    const left = at(one.x, width)
    const top = at(one.y, height)
    const right = left + at(one.width, width)
    const bottom = top + at(one.height, height)
    for (let y = top; y < bottom; y++) picture.data.fill(one.back, y * width + left, y * width + right)
    paintText(picture, left + 4, top + 4, right - 4, bottom - 4, one.ink)
  }
}

/** Lines of glyphs of 7×12 pixels, with a lighter edge as of smoothed type. */
function paintText(picture: Picture, left: number, top: number, right: number, bottom: number, ink: number): void {
  const random = randomBytes()
  const glyphs = Array.from({ length: 60 }, () => Array.from({ length: 12 }, () => random() & random() & 0x7f))
  const edge = argb(0xff, 160, 160, 176)
  for (let line = top; line + 12 <= bottom; line += 16) {
    const end = left + ((right - left) * (30 + (random() % 70))) / 100
    for (let start = left; start + 8 <= end; start += 8) {
      const glyph = glyphs[random() % 72] ?? []
      for (const [row, bits] of glyph.entries()) {
        for (let column = 0; column < 7; column++) {
          if (!((bits >> column) & 1)) continue
          const pixel = (line + row) * picture.width + start + column
          picture.data[pixel] = ink
          picture.data[pixel + 1] = edge
        }
      }
    }
  }
}

function paint({ width, height, data }: Picture, pixel: Pixel): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data[y * width + x] = pixel(x, y, width, height)
  }
}

function argb(alpha: number, red: number, green: number, blue: number): number {
  return (((alpha & 0xff) << 24) | ((red & 0xff) << 16) | ((green & 0xff) << 8) | (blue & 0xff)) >>> 0
}

/** Bytes that look like chance and are the same every time. */
function randomBytes(): () => number {
  let state = 12345
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 16) & 0xff
  }
}

/** The formats of bitmaps that hold colours. */
export type ColourFormat = 'rgb16' | 'rgb24' | 'rgb32' | 'rgba'
const PIXEL_BYTES: Record<ColourFormat, number> = { rgb16: 2, rgb24: 3, rgb32: 4, rgba: 4 }

/** A picture as a guest's driver has it: rows of whole words. */
export function toBitmap({ width, height, data }: Picture, format: ColourFormat): Bitmap {
  const pixelBytes = PIXEL_BYTES[format]
  const stride = (width * pixelBytes + 3) & ~3
  const bytes = new Uint8Array(stride * height)
  const view = new DataView(bytes.buffer)
  for (const [index, pixel] of data.entries()) {
    const at = Math.floor(index / width) * stride + (index % width) * pixelBytes
    if (format === 'rgb16') {
      view.setUint16(at, ((pixel >>> 9) & 0x7c00) | ((pixel >>> 6) & 0x3e0) | ((pixel >>> 3) & 0x1f), true)
    } else if (format === 'rgb24') {
      view.setUint16(at, pixel & 0xffff, true)
      view.setUint8(at + 2, (pixel >>> 16) & 0xff)
    } else {
      view.setUint32(at, pixel, true)
    }
  }
  return { width, height, format: BITMAP_FORMAT[format], stride, bytes }
}

/** What a client must make of that bitmap: 5 bits of a colour become 8, alpha is there only if the format has it. */
export function asSeen({ width, height, data }: Picture, format: ColourFormat): Picture {
  const seen = data.map((pixel) => {
    if (format === 'rgba') return pixel
    if (format !== 'rgb16') return (pixel | 0xff000000) >>> 0
    return (0xff000000 | (pixel & 0xf8f8f8) | ((pixel >>> 5) & 0x070707)) >>> 0
  })
  return { width, height, data: seen }
}
