import { readFileSync } from 'node:fs'
import { GlzWindow } from '../../../../framework/protocols/spice/codec/glz-window.ts'
import {
  decodeImage,
  decodeMask,
  type ImageContext,
  type ImageDescriptor,
} from '../../../../framework/protocols/spice/codec/image.ts'
import type { Mask, Pixels } from '../../../../framework/protocols/spice/codec/pixels.ts'
import { SpiceReader } from '../../../../framework/protocols/spice/wire/reader.ts'

/** A message of a display channel, as spice-server 0.15.1 sent it, with an image in it. */
export interface Recording {
  /** `<compression>-<format>-<what>-<size>`, `-up` where rows come from the bottom. */
  file: string
  /** `SPICE_IMAGE_TYPE_*` */
  type: number
  width: number
  height: number
  /** Where the image's descriptor is. */
  imageOffset: number
  isMask?: boolean
  /** Hash of the bitmap that was drawn: pixels of `0xAARRGGBB` in little-endian words, or bytes of a mask. */
  sha256: string
}

const DESCRIPTOR_BYTES = 18
const folder = new URL('../recorded/images/', import.meta.url)

/** In the order in which they were sent; those with the same compression came over one channel. */
export const RECORDED = JSON.parse(readFileSync(new URL('images.json', folder), 'utf8')) as Recording[]

export function recordedBytes({ file }: Recording): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(new URL(file, folder)))
}

export function newContext(maxPixels = 16 * 1024 * 1024): ImageContext {
  const palettes = new Map<bigint, Uint32Array>()
  return {
    glz: new GlzWindow(maxPixels),
    palettes: {
      put: (id, colors) => void palettes.set(id, colors),
      get: (id) => palettes.get(id) ?? new Uint32Array(256),
    },
  }
}

export function readDescriptor(bytes: Uint8Array, imageOffset: number): ImageDescriptor {
  const reader = new SpiceReader(bytes, 'recording', imageOffset)
  return { id: reader.u64(), type: reader.u8(), flags: reader.u8(), width: reader.u32(), height: reader.u32() }
}

/** Decodes the image of a recording whose bytes may have been changed. */
export function decodeRecorded(recording: Recording, bytes: Uint8Array, context: ImageContext): Pixels | Mask {
  const { imageOffset, isMask } = recording
  const reader = new SpiceReader(bytes, 'recording', imageOffset + DESCRIPTOR_BYTES)
  return (isMask ? decodeMask : decodeImage)(readDescriptor(bytes, imageOffset), reader, context)
}
