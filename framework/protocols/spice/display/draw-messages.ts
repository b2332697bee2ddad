import type { ImageDescriptor } from '../codec/image.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { readPoint, readRect, type Point, type Rect } from './geometry.ts'

/** `SpiceMsgDisplayBase`: what every draw operation begins with. */
export interface DrawBase {
  surfaceId: number
  /** The destination. */
  box: Rect
  /** Undefined: not clipped. */
  clip: Rect[] | undefined
}

/** `SPICE_IMAGE_FLAGS_*` as bits. */
export const IMAGE_FLAG = { cacheMe: 1, highBitsSet: 2, cacheReplaceMe: 4 } as const

/** An image of a message, not decoded yet. */
export interface ImageSource {
  descriptor: ImageDescriptor
  /** Stands behind the descriptor, in the body of the message: pointers inside of the image are offsets there. */
  reader: SpiceReader
}

/** `SpiceBrush`: what a shape is filled with. */
export type Brush =
  | { type: 'none' }
  | { type: 'solid'; color: number }
  /** The image repeats in both directions; `origin` is where its first pixel lies on the surface. */
  | { type: 'pattern'; image: ImageSource; origin: Point }

/** `SpiceQMask`: pixels of the box that count. */
export interface QMask {
  /** Whether clear bits count instead of set ones. */
  invers: boolean
  /** The pixel of the mask that lies on the corner of the box. */
  position: Point
  image: ImageSource
}

/** `SPICE_IMAGE_SCALE_MODE_*` */
export const SCALE_MODE = { interpolate: 0, nearest: 1 } as const

interface FromImage {
  source: ImageSource
  sourceArea: Rect
}
interface Scaled extends FromImage {
  scaleMode: number
  mask: QMask | undefined
}
export interface Fill {
  brush: Brush
  /** {@link ROPD} bits. */
  ropDescriptor: number
  mask: QMask | undefined
}
export interface Copy extends Scaled {
  ropDescriptor: number
}
export interface Opaque extends Copy {
  brush: Brush
}
export interface Rop3 extends Scaled {
  brush: Brush
  /** Windows' ternary raster operation. */
  rop3: number
}
export interface Transparent extends FromImage {
  /** The colour that is left out, as the image's format has it and as 32 bits. */
  sourceColor: number
  trueColor: number
}
/** `SPICE_ALPHA_FLAGS_*` as bits. */
export const ALPHA_FLAG = { destHasAlpha: 1, srcSurfaceHasAlpha: 2 } as const
export interface AlphaBlend extends FromImage {
  /** {@link ALPHA_FLAG} bits. */
  alphaFlags: number
  /** 0 to 255, for the whole image. */
  alpha: number
}

/** `SPICE_PATH_*` as bits. */
export const PATH_FLAG = { begin: 1, end: 2, close: 8, bezier: 16 } as const
export interface PathSegment {
  /** {@link PATH_FLAG} bits. */
  flags: number
  /** x and y in turn, in sixteenths of a pixel. */
  points: Int32Array
}
export interface Stroke {
  segments: PathSegment[]
  /** Lengths of dashes and gaps in turn, in sixteenths of a pixel; undefined for a solid line. */
  style: number[] | undefined
  startWithGap: boolean
  brush: Brush
  ropDescriptor: number
}

export interface Glyph {
  /** Where the glyph's box lies on the surface. */
  rect: Rect
  /** Rows of 1, 4 or 8 bits a pixel, each padded to whole bytes. */
  data: Uint8Array
}
export interface Text {
  bitsPerPixel: 1 | 4 | 8
  glyphs: Glyph[]
  backArea: Rect
  foreBrush: Brush
  backBrush: Brush
}

/** Three by two numbers of 16.16 fixed point: `x' = t00·x + t01·y + t02`. */
export type Transform = readonly [number, number, number, number, number, number]
export interface CompositeInput {
  image: ImageSource
  transform: Transform | undefined
  /** Pixman's filter: 0 fast, 1 good, 2 best, 3 nearest, 4 bilinear. */
  filter: number
  /** Pixman's repeat: 0 none, 1 normal, 2 pad, 3 reflect. */
  repeat: number
  /** The pixel of the input that lies on the corner of the box. */
  origin: Point
}
export interface Composite {
  /** Pixman's operator. */
  operator: number
  source: CompositeInput
  mask: CompositeInput | undefined
  componentAlpha: boolean
}

export function readBase(reader: SpiceReader): DrawBase {
  return { surfaceId: reader.u32(), box: readRect(reader), clip: readClip(reader) }
}

/** `SpiceClip`. @throws `ATP_SPICE_PROTOCOL` for a type that does not exist. */
export function readClip(reader: SpiceReader): Rect[] | undefined {
  const type = reader.u8()
  if (type === 0) return undefined
  if (type !== 1) throw reader.error(`there is no clip of type ${type}`)
  const count = reader.count32(16, 'clip rectangles')
  return Array.from({ length: count }, () => readRect(reader))
}

export function readFill(reader: SpiceReader): Fill {
  return { brush: readBrush(reader), ropDescriptor: reader.u16(), mask: readMask(reader) }
}

export function readOpaque(reader: SpiceReader): Opaque {
  const source = readImage(reader)
  const sourceArea = readRect(reader)
  const brush = readBrush(reader)
  return { source, sourceArea, brush, ropDescriptor: reader.u16(), scaleMode: reader.u8(), mask: readMask(reader) }
}

/** Of copy and blend. */
export function readCopy(reader: SpiceReader): Copy {
  return {
    source: readImage(reader),
    sourceArea: readRect(reader),
    ropDescriptor: reader.u16(),
    scaleMode: reader.u8(),
    mask: readMask(reader),
  }
}

export function readRop3(reader: SpiceReader): Rop3 {
  const source = readImage(reader)
  const sourceArea = readRect(reader)
  const brush = readBrush(reader)
  return { source, sourceArea, brush, rop3: reader.u8(), scaleMode: reader.u8(), mask: readMask(reader) }
}

export function readTransparent(reader: SpiceReader): Transparent {
  return {
    source: readImage(reader),
    sourceArea: readRect(reader),
    sourceColor: reader.u32(),
    trueColor: reader.u32(),
  }
}

export function readAlphaBlend(reader: SpiceReader): AlphaBlend {
  return {
    alphaFlags: reader.u8(),
    alpha: reader.u8(),
    source: readImage(reader),
    sourceArea: readRect(reader),
  }
}

const LINE_FLAG = { startWithGap: 4, styled: 8 }

export function readStroke(reader: SpiceReader): Stroke {
  const segments = readPath(reader.target('the path'))
  const flags = reader.u8()
  const style = flags & LINE_FLAG.styled ? readStyle(reader) : undefined
  return {
    segments,
    style,
    startWithGap: (flags & LINE_FLAG.startWithGap) !== 0,
    brush: readBrush(reader),
    ropDescriptor: reader.u16(),
  }
}

function readPath(reader: SpiceReader): PathSegment[] {
  const count = reader.count32(5, 'path segments')
  return Array.from({ length: count }, () => {
    const flags = reader.u8()
    const points = reader.count32(8, 'points')
    return { flags, points: Int32Array.from({ length: points * 2 }, () => reader.i32()) }
  })
}

function readStyle(reader: SpiceReader): number[] {
  const count = reader.u8()
  const style = reader.target('the line style')
  style.counted(count, 4, 'dashes')
  return Array.from({ length: count }, () => style.i32())
}

const STRING_FLAG = { a1: 1, a4: 2, a8: 4 }

export function readText(reader: SpiceReader): Text {
  const string = readString(reader.target('the string'))
  return {
    ...string,
    backArea: readRect(reader),
    foreBrush: readBrush(reader),
    backBrush: readBrush(reader),
  }
}

function readString(reader: SpiceReader): Pick<Text, 'bitsPerPixel' | 'glyphs'> {
  const count = reader.u16()
  const flags = reader.u8()
  const bitsPerPixel = bitsOfGlyphs(reader, flags)
  reader.counted(count, 20, 'glyphs')
  const glyphs = Array.from({ length: count }, () => {
    const position = readPoint(reader)
    const origin = readPoint(reader)
    const width = reader.u16()
    const height = reader.u16()
    const left = position.x + origin.x
    const top = position.y + origin.y
    return {
      rect: { top, left, bottom: top + height, right: left + width },
      data: reader.bytes(((width * bitsPerPixel + 7) >>> 3) * height),
    }
  })
  return { bitsPerPixel, glyphs }
}

function bitsOfGlyphs(reader: SpiceReader, flags: number): 1 | 4 | 8 {
  if (flags & STRING_FLAG.a1) return 1
  if (flags & STRING_FLAG.a4) return 4
  if (flags & STRING_FLAG.a8) return 8
  throw reader.error(`a string with flags ${flags} has glyphs of no known depth`)
}

// Three further flags say that alpha is 255 anyway: hints, not orders.
const COMPOSITE_FLAG = {
  componentAlpha: 1 << 18,
  hasMask: 1 << 19,
  hasSourceTransform: 1 << 20,
  hasMaskTransform: 1 << 21,
}

export function readComposite(reader: SpiceReader): Composite {
  const flags = reader.u32()
  const image = readImage(reader)
  const maskImage = flags & COMPOSITE_FLAG.hasMask ? readImage(reader) : undefined
  const transform = flags & COMPOSITE_FLAG.hasSourceTransform ? readTransform(reader) : undefined
  const maskTransform = flags & COMPOSITE_FLAG.hasMaskTransform ? readTransform(reader) : undefined
  const origin = { x: reader.i16(), y: reader.i16() }
  const maskOrigin = { x: reader.i16(), y: reader.i16() }
  return {
    operator: flags & 0xff,
    source: {
      image,
      transform,
      filter: (flags >>> 8) & 7,
      repeat: (flags >>> 14) & 3,
      origin,
    },
    mask: maskImage && {
      image: maskImage,
      transform: maskTransform,
      filter: (flags >>> 11) & 7,
      repeat: (flags >>> 16) & 3,
      origin: maskOrigin,
    },
    componentAlpha: (flags & COMPOSITE_FLAG.componentAlpha) !== 0,
  }
}

function readTransform(reader: SpiceReader): Transform {
  return [reader.i32(), reader.i32(), reader.i32(), reader.i32(), reader.i32(), reader.i32()]
}

/** `SpiceQMask`; undefined where no image is given: everything counts. */
export function readMask(reader: SpiceReader): QMask | undefined {
  const flags = reader.u8()
  const position = readPoint(reader)
  const bitmap = reader.pointer()
  if (!bitmap) return undefined
  return { invers: (flags & 1) !== 0, position, image: readImageAt(bitmap) }
}

function readBrush(reader: SpiceReader): Brush {
  const type = reader.u8()
  if (type === 0) return { type: 'none' }
  if (type === 1) return { type: 'solid', color: reader.u32() }
  if (type !== 2) throw reader.error(`there is no brush of type ${type}`)
  return { type: 'pattern', image: readImage(reader), origin: readPoint(reader) }
}

export function readImage(reader: SpiceReader): ImageSource {
  return readImageAt(reader.target('an image'))
}

function readImageAt(reader: SpiceReader): ImageSource {
  const descriptor = {
    id: reader.u64(),
    type: reader.u8(),
    flags: reader.u8(),
    width: reader.u32(),
    height: reader.u32(),
  }
  return { descriptor, reader }
}
