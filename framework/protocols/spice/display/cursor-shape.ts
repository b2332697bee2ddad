import { rgb555 } from '../codec/lz-stream.ts'
import type { SpiceReader } from '../wire/reader.ts'

/** A pointer's picture. */
export interface CursorShape {
  width: number
  height: number
  /** The pixel that is at the pointer's place. */
  hotSpot: { x: number; y: number }
  /** `width * height` pixels, row by row from the top: `0xAARRGGBB`, premultiplied. */
  data: Uint32Array<ArrayBuffer>
  /** One byte a pixel where a shape has a mask: not 0 keeps the screen, which `data` inverts then. */
  keeps: Uint8Array<ArrayBuffer> | undefined
}

/** `SPICE_CURSOR_TYPE_*` */
const TYPE = { alpha: 0, mono: 1, color4: 2, color8: 3, color16: 4, color24: 5, color32: 6 }
/** Longest side of a pointer. */
const MAX_SIDE = 1024
const OPAQUE = 0xff000000

/**
 * Reads the picture behind a cursor's header: pixels from the top, then the palette, then the mask.
 *
 * @throws `ATP_SPICE_PROTOCOL`
 */
export function readCursorShape(
  reader: SpiceReader,
  type: number,
  { width, height, hotSpot }: Pick<CursorShape, 'width' | 'height' | 'hotSpot'>,
): CursorShape {
  if (width === 0 || height === 0 || width > MAX_SIDE || height > MAX_SIDE) {
    throw reader.error(`a pointer of ${width}×${height} pixels is impossible`)
  }
  const size = { width, height, hotSpot }
  if (type === TYPE.alpha) return { ...size, data: words(reader.bytes(width * height * 4)), keeps: undefined }
  if (type === TYPE.mono) {
    const keeps = bits(reader, width, height)
    const white = bits(reader, width, height)
    return { ...size, data: Uint32Array.from(white, (bit) => (bit ? 0xffffffff : OPAQUE)), keeps }
  }
  const data = readColors(reader, type, width, height)
  return { ...size, data, keeps: bits(reader, width, height) }
}

function readColors(reader: SpiceReader, type: number, width: number, height: number): Uint32Array<ArrayBuffer> {
  const count = width * height
  switch (type) {
    case TYPE.color4: {
      const rowBytes = (width + 1) >>> 1
      const rows = reader.bytes(rowBytes * height)
      const palette = words(reader.bytes(16 * 4))
      return filled(count, (at) => {
        const x = at % width
        const byte = rows[Math.floor(at / width) * rowBytes + (x >>> 1)] as number
        return palette[x & 1 ? byte & 0x0f : byte >>> 4] as number
      })
    }
    case TYPE.color8: {
      const indices = reader.bytes(count)
      const palette = words(reader.bytes(256 * 4))
      return filled(count, (at) => palette[indices[at] as number] as number)
    }
    case TYPE.color16: {
      const bytes = reader.bytes(count * 2)
      return filled(count, (at) => rgb555((bytes[at * 2] as number) | ((bytes[at * 2 + 1] as number) << 8)))
    }
    case TYPE.color24: {
      const bytes = reader.bytes(count * 3)
      const byte = (at: number) => bytes[at] as number
      return filled(count, (at) => byte(at * 3) | (byte(at * 3 + 1) << 8) | (byte(at * 3 + 2) << 16))
    }
    case TYPE.color32: {
      const pixels = words(reader.bytes(count * 4))
      return filled(count, (at) => pixels[at] as number)
    }
  }
  throw reader.error(`there is no pointer of type ${type}`)
}

function filled(count: number, color: (at: number) => number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: count }, (_, at) => color(at) | OPAQUE)
}

function words(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  return new Uint32Array(Uint8Array.from(bytes).buffer)
}

/** Rows of one bit a pixel, the highest bit leftmost, each of whole bytes. */
function bits(reader: SpiceReader, width: number, height: number): Uint8Array<ArrayBuffer> {
  const rowBytes = (width + 7) >>> 3
  const bytes = reader.bytes(rowBytes * height)
  const out = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      out[y * width + x] = ((bytes[y * rowBytes + (x >>> 3)] as number) >>> (7 - (x & 7))) & 1
    }
  }
  return out
}
