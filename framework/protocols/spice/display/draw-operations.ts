import { IMAGE_TYPE, DISPLAY_SERVER } from '../wire/numbers.ts'
import type { SpiceReader } from '../wire/reader.ts'
import type { Bitmap } from '../codec/bitmap.ts'
import { spiceUnsupportedError } from '../errors.ts'
import { OPERATORS } from './composite-operators.ts'
import { blend } from './draw-blend.ts'
import { composite } from './draw-composite.ts'
import * as draw from './draw-messages.ts'
import { copyBits, paint, paintRop3, paintTransparent } from './draw-raster.ts'
import { strokePixels } from './draw-stroke.ts'
import { paintText } from './draw-text.ts'
import { intersect, isEmpty, readPoint, rectOf, sameSize, type Rect } from './geometry.ts'
import type { ImageStore } from './images.ts'
import { boundsOf, limitTo, regionOf, within, type Region } from './region.ts'
import { ROP_CLEAR, ROP_COPY, ROP_INVERT, ROP_SET, ROPD, rop2Of, type Rop2 } from './rop.ts'
import { patternSource, pictureSource, placeOf, solidSource, type Picture, type RowSource } from './row-source.ts'
import { sampledSource, scaledRows, scaledWhole } from './sampler.ts'
import type { Surface } from './surface.ts'

/** Where one operation draws, and from what. */
interface Canvas {
  surface: Surface
  box: Rect
  region: Region
  images: ImageStore
}

type Operation = (canvas: Canvas, reader: SpiceReader) => void

/** Draw operations by message type, with the names they are counted under. */
const OPERATIONS = new Map<number, { name: string; run: Operation }>([
  [DISPLAY_SERVER.copyBits, { name: 'copyBits', run: drawCopyBits }],
  [DISPLAY_SERVER.drawFill, { name: 'fill', run: drawFill }],
  [DISPLAY_SERVER.drawOpaque, { name: 'opaque', run: drawOpaque }],
  [DISPLAY_SERVER.drawCopy, { name: 'copy', run: drawCopy }],
  [DISPLAY_SERVER.drawBlend, { name: 'blend', run: drawCopy }],
  [DISPLAY_SERVER.drawBlackness, { name: 'blackness', run: (canvas, reader) => drawMasked(canvas, reader, ROP_CLEAR) }],
  [DISPLAY_SERVER.drawWhiteness, { name: 'whiteness', run: (canvas, reader) => drawMasked(canvas, reader, ROP_SET) }],
  [DISPLAY_SERVER.drawInvers, { name: 'invers', run: (canvas, reader) => drawMasked(canvas, reader, ROP_INVERT) }],
  [DISPLAY_SERVER.drawRop3, { name: 'rop3', run: drawRop3 }],
  [DISPLAY_SERVER.drawStroke, { name: 'stroke', run: drawStroke }],
  [DISPLAY_SERVER.drawText, { name: 'text', run: drawText }],
  [DISPLAY_SERVER.drawTransparent, { name: 'transparent', run: drawTransparent }],
  [DISPLAY_SERVER.drawAlphaBlend, { name: 'alphaBlend', run: drawAlphaBlend }],
  [DISPLAY_SERVER.drawComposite, { name: 'composite', run: drawComposite }],
])

/** The name of a draw operation; undefined when the message is none. */
export function drawOperationName(messageType: number): string | undefined {
  return OPERATIONS.get(messageType)?.name
}

/**
 * Carries a draw operation out.
 *
 * @returns the part of the surface that may have changed; undefined for nothing.
 * @throws `ATP_SPICE_PROTOCOL`, `ATP_SPICE_IMAGE`, `ATP_SPICE_UNSUPPORTED`, `ATP_SPICE_IMAGE_AWAITED`; the surface is
 * as before then.
 */
export function drawOperation(
  messageType: number,
  reader: SpiceReader,
  images: ImageStore,
  surfaceOf: (id: number) => Surface,
): { surface: Surface; rect: Rect } | undefined {
  const operation = OPERATIONS.get(messageType)
  if (!operation) throw reader.error('it is no draw operation')
  const { surfaceId, box, clip } = draw.readBase(reader)
  const surface = surfaceOf(surfaceId)
  const region = regionOf(surface.rect, box, clip)
  operation.run({ surface, box, region, images }, reader)
  surface.settle(region)
  const rect = boundsOf(region)
  return rect && { surface, rect }
}

function drawCopyBits({ surface, box, region }: Canvas, reader: SpiceReader): void {
  const from = readPoint(reader)
  const place = rectOf(box.left - from.x, box.top - from.y, surface.width, surface.height)
  copyBits(surface, limitTo(region, place), { x: box.left, y: box.top }, from)
}

function drawFill(canvas: Canvas, reader: SpiceReader): void {
  const { brush, ropDescriptor, mask } = draw.readFill(reader)
  const source = brushSource(canvas, brush)
  if (source)
    paint(canvas.surface, masked(canvas, mask), source, rop2Of(ropDescriptor, ROPD.inversBrush, ROPD.inversDest))
}

// The source first, then the brush on it, as if it were the destination.
function drawOpaque(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readOpaque(reader)
  const source = scaledSource(canvas, message, message.scaleMode, reader)
  const brush = brushSource(canvas, message.brush)
  const region = limitTo(masked(canvas, message.mask), source.limit)
  paint(canvas.surface, region, source.rows, ROP_COPY)
  if (brush) paint(canvas.surface, region, brush, rop2Of(message.ropDescriptor, ROPD.inversBrush, ROPD.inversSrc))
}

function drawCopy(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readCopy(reader)
  const { surface, images, region } = canvas
  const rop = rop2Of(message.ropDescriptor, ROPD.inversSrc, ROPD.inversDest)
  const isPlain = rop === ROP_COPY && !message.mask && sameSize(message.sourceArea, canvas.box)
  if (isPlain && region.stencils.length === 0) {
    const rows = images.plainRows(message.source) ?? rowsOf(images.passingPicture(message.source, surface))
    return copyRows(canvas, message, rows)
  }
  const source = scaledSource(canvas, message, message.scaleMode, reader)
  paint(surface, limitTo(masked(canvas, message.mask), source.limit), source.rows, rop)
}

/** Rows of four bytes a pixel. */
type Rows = Pick<Bitmap, 'width' | 'height' | 'strideBytes' | 'topDown' | 'data'>

function rowsOf({ width, height, data }: Picture): Rows {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { width, height, strideBytes: width * 4, topDown: true, data: bytes }
}

/** Shorter rows cost less to copy than it costs to make a view of each. */
const SHORT_ROW_BYTES = 384

/** Two pixels at a time, wherever they lie. */
function copyPixels(from: DataView, start: number, to: DataView, at: number, sizeBytes: number): void {
  const pairs = sizeBytes & ~7
  for (let n = 0; n < pairs; n += 8) to.setBigUint64(at + n, from.getBigUint64(start + n, true), true)
  if (pairs < sizeBytes) to.setUint32(at + pairs, from.getUint32(start + pairs, true), true)
}

/** Copies to the surface as it is, where the fourth byte means as little as there. */
function copyRows({ surface, box, region }: Canvas, { sourceArea }: draw.Copy, rows: Rows): void {
  const place = rectOf(box.left - sourceArea.left, box.top - sourceArea.top, rows.width, rows.height)
  const bytes = new Uint8Array(surface.data.buffer)
  const words = new DataView(surface.data.buffer)
  const from = new DataView(rows.data.buffer, rows.data.byteOffset, rows.data.byteLength)
  const rowBytes = surface.width * 4
  for (const { top, left, bottom, right } of limitTo(region, place).rects) {
    const isWhole = rows.topDown && rows.strideBytes === rowBytes && right - left === surface.width
    const copied = isWhole ? bottom - top : 1
    for (let y = top; y < bottom; y += copied) {
      const row = y - place.top
      const start = (rows.topDown ? row : rows.height - 1 - row) * rows.strideBytes + (left - place.left) * 4
      const sizeBytes = (copied - 1) * rowBytes + (right - left) * 4
      const to = y * rowBytes + left * 4
      if (sizeBytes <= SHORT_ROW_BYTES) copyPixels(from, start, words, to, sizeBytes)
      else bytes.set(rows.data.subarray(start, start + sizeBytes), to)
    }
  }
}

function drawMasked(canvas: Canvas, reader: SpiceReader, rop: Rop2): void {
  paint(canvas.surface, masked(canvas, draw.readMask(reader)), solidSource(0), rop)
}

function drawRop3(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readRop3(reader)
  const source = scaledSource(canvas, message, message.scaleMode, reader, scaledWhole)
  const brush = brushSource(canvas, message.brush) ?? solidSource(0)
  paintRop3(canvas.surface, limitTo(masked(canvas, message.mask), source.limit), source.rows, brush, message.rop3)
}

function drawTransparent(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readTransparent(reader)
  const source = scaledSource(canvas, message, draw.SCALE_MODE.nearest, reader)
  paintTransparent(canvas.surface, limitTo(canvas.region, source.limit), source.rows, message.trueColor)
}

function drawAlphaBlend(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readAlphaBlend(reader)
  const source = scaledSource(canvas, message, draw.SCALE_MODE.nearest, reader)
  // A surface without alpha may hold some all the same; one with alpha has it whatever the flag says.
  const isTold =
    message.source.descriptor.type === IMAGE_TYPE.surface &&
    (message.alphaFlags & draw.ALPHA_FLAG.srcSurfaceHasAlpha) !== 0
  const hasAlpha = source.hasAlpha || isTold
  blend(canvas.surface, limitTo(canvas.region, source.limit), source.rows, message.alpha, hasAlpha)
}

function drawStroke(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readStroke(reader)
  const { surface, region } = canvas
  const bounds = boundsOf(region)
  const brush = brushSource(canvas, message.brush)
  if (!bounds || !brush) return
  const width = bounds.right - bounds.left
  const bits = new Uint8Array(width * (bounds.bottom - bounds.top))
  const rop = rop2Of(message.ropDescriptor, ROPD.inversBrush, ROPD.inversDest)
  strokePixels(message, bounds, rop, reader, (x, y) => {
    bits[(y - bounds.top) * width + x - bounds.left] = 1
  })
  paint(surface, within(region, { rect: bounds, bits }), brush, rop)
}

// The modes that a text message carries, too, are without effect in the reference renderer.
function drawText(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readText(reader)
  const back = isEmpty(message.backArea) ? undefined : brushSource(canvas, message.backBrush)
  const fore = brushSource(canvas, fromGlyphs(message))
  if (back) paint(canvas.surface, limitTo(canvas.region, message.backArea), back, ROP_COPY)
  if (fore) paintText(canvas.surface, canvas.region, message, fore)
}

// A pattern's origin is counted from the corner of the string.
function fromGlyphs({ foreBrush, glyphs }: draw.Text): draw.Brush {
  if (foreBrush.type !== 'pattern' || glyphs.length === 0) return foreBrush
  const left = glyphs.reduce((least, { rect }) => Math.min(least, rect.left), Infinity)
  const top = glyphs.reduce((least, { rect }) => Math.min(least, rect.top), Infinity)
  return { ...foreBrush, origin: { x: foreBrush.origin.x + left, y: foreBrush.origin.y + top } }
}

function drawComposite(canvas: Canvas, reader: SpiceReader): void {
  const message = draw.readComposite(reader)
  const combine = OPERATORS[message.operator]
  if (!combine) throw spiceUnsupportedError('composite', `operator ${message.operator}`)
  const source = inputSource(canvas, message.source)
  const mask = message.mask && inputSource(canvas, message.mask)
  const { componentAlpha } = message
  composite(canvas.surface, canvas.region, { combine, source, mask, componentAlpha })
}

function inputSource({ images, surface, box }: Canvas, input: draw.CompositeInput): RowSource {
  const picture = images.picture(input.image, surface)
  // Spice-server makes such an image opaque here, and nowhere else.
  const hasAlpha = picture.hasAlpha && picture.isAlphaOnly !== true
  const { width, height, data } = picture
  return sampledSource(
    { width, height, data, hasAlpha },
    {
      transform: input.transform ?? UNCHANGED,
      smooth: isSmooth(input.filter),
      repeat: input.repeat,
      left: box.left - input.origin.x,
      top: box.top - input.origin.y,
    },
  )
}

const UNCHANGED: draw.Transform = [0x10000, 0, 0, 0, 0x10000, 0]

// Pixman's good, best and bilinear.
function isSmooth(filter: number): boolean {
  return filter === 1 || filter === 2 || filter === 4
}

function masked({ surface, box, region, images }: Canvas, mask: draw.QMask | undefined): Region {
  return mask ? within(region, images.stencil(mask, box, surface.rect)) : region
}

function brushSource({ surface, images }: Canvas, brush: draw.Brush): RowSource | undefined {
  if (brush.type === 'none') return undefined
  if (brush.type === 'solid') return solidSource(surface.color(brush.color))
  return patternSource(images.picture(brush.image, surface), brush.origin)
}

interface ScaledSource {
  rows: RowSource
  /** Where there are pixels. */
  limit: Rect
  hasAlpha: boolean
}

function scaledSource(
  { images, surface, box }: Canvas,
  { source, sourceArea }: { source: draw.ImageSource; sourceArea: Rect },
  scaleMode: number,
  reader: SpiceReader,
  scale = scaledRows,
): ScaledSource {
  const picture = images.passingPicture(source, surface)
  const { hasAlpha } = picture
  if (sameSize(sourceArea, box)) {
    const limit = placeOf(picture, sourceArea, box)
    return { rows: pictureSource(picture, limit.left, limit.top), limit, hasAlpha }
  }
  const { left, top, right, bottom } = sourceArea
  const whole = rectOf(0, 0, picture.width, picture.height)
  if (isEmpty(sourceArea) || !sameSize(intersect(sourceArea, whole), sourceArea)) {
    throw reader.error(
      `the part ${left},${top} to ${right},${bottom} is not within a picture of ${picture.width}×${picture.height}`,
    )
  }
  return { rows: scale(picture, sourceArea, box, scaleMode === draw.SCALE_MODE.interpolate), limit: box, hasAlpha }
}
