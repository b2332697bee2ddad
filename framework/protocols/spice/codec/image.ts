import type { SpiceReader } from '../wire/reader.ts'
import { IMAGE_TYPE } from '../wire/numbers.ts'
import { decodeBitmap, decodeBitmapMask, type Bitmap } from './bitmap.ts'
import type { GlzWindow } from './glz-window.ts'
import { decodeGlz } from './glz.ts'
import { imageJob, runImageJob, type ImageJobResult } from './image-job.ts'
import { decodeLz, decodeLzAlpha, decodeLzPalette } from './lz.ts'
import { decodeLz4, decodeLz4Alpha } from './lz4.ts'
import { imageError, pixelCount, type Mask, type Pixels, type Room } from './pixels.ts'

/** `SpiceImageDescriptor` */
export interface ImageDescriptor {
  /** Names the image in caches. */
  id: bigint
  /** `SPICE_IMAGE_TYPE_*` */
  type: number
  /** `SPICE_IMAGE_FLAGS_*` */
  flags: number
  width: number
  height: number
}

/** Palettes that the server expects the client to remember. */
interface PaletteStore {
  put(id: bigint, colors: Uint32Array): void
  /** @throws when there is no such palette. */
  get(id: bigint): Uint32Array
}

/** What images refer to besides their own bytes. */
export interface ImageContext {
  glz: GlzWindow
  palettes: PaletteStore
  /** Memory for a picture that is not kept. Default: new memory. */
  room?: Room
  /** What came of the image's {@link ImageJob}, where that was done before. */
  done?: ImageJobResult | undefined
}

/** Bits of `SPICE_BITMAP_FLAGS_*`. */
const BITMAP_FLAG = { cachePalette: 1, paletteFromCache: 2, topDown: 4 } as const

/**
 * Decodes the image behind a descriptor. References to caches and surfaces are no images: who calls resolves them.
 *
 * @param reader of the message's body, just behind the descriptor.
 * @throws `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`, and `ATP_SPICE_IMAGE_AWAITED` (see {@link GlzWindow}).
 */
export function decodeImage(descriptor: ImageDescriptor, reader: SpiceReader, context: ImageContext): Pixels {
  const { type, width, height } = descriptor
  const size = { width, height }
  pixelCount('descriptor', size)
  switch (type) {
    case IMAGE_TYPE.bitmap: {
      const { bitmap, palette } = readBitmap(descriptor, reader, context)
      return decodeBitmap(bitmap, palette)
    }
    case IMAGE_TYPE.lzRgb:
      return decodeLz(sized(reader), size, context.room)
    case IMAGE_TYPE.lzPlt: {
      const flags = reader.u8()
      const sizeBytes = reader.u32()
      const palette = readPalette(flags, reader, context)
      if (!palette) throw imageError('palette', 'there is none')
      return decodeLzPalette(reader.bytes(sizeBytes), size, palette)
    }
    case IMAGE_TYPE.lz4:
      return decodeLz4(sized(reader), size, context.room)
    case IMAGE_TYPE.glzRgb:
      return decodeGlz(sized(reader), size, context.glz)
  }
  const done = context.done ?? jobDone(descriptor, reader)
  if (done.pixels) return done.pixels
  return decodeGlz(done.bytes as Uint8Array, size, context.glz)
}

function jobDone(descriptor: ImageDescriptor, reader: SpiceReader): ImageJobResult {
  const job = imageJob(descriptor, reader)
  if (job) return runImageJob(job)
  throw imageError('descriptor', `images of type ${descriptor.type} have no pixels of their own`)
}

/**
 * Decodes an image that is a mask: a bitmap of 1 bit, or A8, also behind LZ and LZ4.
 *
 * @param reader of the message's body, just behind the descriptor.
 * @throws `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`
 */
export function decodeMask(descriptor: ImageDescriptor, reader: SpiceReader, context: ImageContext): Mask {
  pixelCount('descriptor', descriptor)
  if (descriptor.type === IMAGE_TYPE.bitmap) return decodeBitmapMask(readBitmap(descriptor, reader, context).bitmap)
  if (descriptor.type === IMAGE_TYPE.lzRgb) return decodeLzAlpha(sized(reader), descriptor)
  if (descriptor.type === IMAGE_TYPE.lz4) return decodeLz4Alpha(sized(reader), descriptor)
  throw imageError('mask', `images of type ${descriptor.type} are no masks`)
}

function sized(reader: SpiceReader): Uint8Array {
  return reader.bytes(reader.u32())
}

interface BitmapAndPalette {
  bitmap: Bitmap
  /** Undefined in formats without one, and in masks. */
  palette: Uint32Array | undefined
}

function readBitmap(descriptor: ImageDescriptor, reader: SpiceReader, context: ImageContext): BitmapAndPalette {
  const format = reader.u8()
  const flags = reader.u8()
  const width = reader.u32()
  const height = reader.u32()
  const strideBytes = reader.u32()
  if (width !== descriptor.width || height !== descriptor.height) {
    throw imageError(
      'bitmap',
      `it has ${width}×${height} pixels where the descriptor says ${descriptor.width}×${descriptor.height}`,
    )
  }
  const palette = readPalette(flags, reader, context)
  const data = reader.bytes(strideBytes * height)
  const topDown = (flags & BITMAP_FLAG.topDown) !== 0
  return { bitmap: { format, width, height, strideBytes, topDown, data }, palette }
}

/** A palette from the cache, or behind a pointer, which is null where there is none. */
function readPalette(flags: number, reader: SpiceReader, { palettes }: ImageContext): Uint32Array | undefined {
  if ((flags & BITMAP_FLAG.paletteFromCache) !== 0) return palettes.get(reader.u64())
  const at = reader.pointer()
  if (!at) return undefined
  const id = at.u64()
  const count = at.u16()
  if (count > 256) throw imageError('palette', `${count} colours`)
  const colors = Uint32Array.from({ length: at.counted(count, 4, 'colours') }, () => at.u32())
  if ((flags & BITMAP_FLAG.cachePalette) !== 0) palettes.put(id, colors)
  return colors
}
