import { SpiceWriter } from '../../../framework/protocols/spice/wire/writer.ts'
import { IMAGE_TYPE } from '../../../framework/protocols/spice/wire/numbers.ts'
import { QXL_COMMAND, type QxlDevice } from './qxl-device.ts'

/** `QXL_DRAW_*` */
export const QXL_DRAW = {
  nop: 0,
  fill: 1,
  opaque: 2,
  copy: 3,
  copyBits: 4,
  blend: 5,
  blackness: 6,
  whiteness: 7,
  invers: 8,
  rop3: 9,
  stroke: 10,
  text: 11,
  transparent: 12,
  alphaBlend: 13,
  composite: 14,
} as const

/** `SPICE_BITMAP_FMT_*` */
export const BITMAP_FORMAT = {
  bit1Le: 1,
  bit1Be: 2,
  bit4Le: 3,
  bit4Be: 4,
  bit8: 5,
  rgb16: 6,
  rgb24: 7,
  rgb32: 8,
  rgba: 9,
  a8: 10,
} as const

/** Left, top, width and height in pixels. */
export interface Area {
  x: number
  y: number
  width: number
  height: number
}

/** A bitmap as a guest's driver has it: rows from the top, `stride` bytes apart, in one of {@link BITMAP_FORMAT}. */
export interface Bitmap {
  width: number
  height: number
  format: number
  stride: number
  bytes: Uint8Array
  /** Colours as `0x00RRGGBB`, for the formats with indices. */
  palette?: readonly number[]
}

/** `QXLRect`: top, left, bottom, right. */
export function rect(writer: SpiceWriter, { x, y, width, height }: Area): SpiceWriter {
  return writer
    .i32(y)
    .i32(x)
    .i32(y + height)
    .i32(x + width)
}

/**
 * Puts a bitmap into the card's memory, as the image that draw operations take.
 *
 * @param isKept whether clients should keep it: drawn again, it need not be sent.
 */
export async function putBitmap(card: QxlDevice, bitmap: Bitmap, isKept = false): Promise<bigint> {
  const data = await card.put(bitmap.bytes)
  const colours = new SpiceWriter().u64(0n).u16(bitmap.palette?.length ?? 0)
  for (const colour of bitmap.palette ?? []) colours.u32(colour)
  const palette = bitmap.palette ? await card.put(colours.finish()) : 0n
  const { width, height } = bitmap
  // Type 0 is a bitmap; flags 5: its data lie in one piece, from the top.
  const image = new SpiceWriter()
    .u64(nextImageId())
    .u8(0)
    .u8(isKept ? 1 : 0)
    .u32(width)
    .u32(height)
  image.u8(bitmap.format).u8(5).u32(width).u32(height).u32(bitmap.stride).u64(palette).u64(data)
  return card.put(image.finish())
}

let imageIds = 0
/** An image is known by its id for good: none is used twice. */
function nextImageId(): bigint {
  return BigInt(++imageIds) << 32n
}

/**
 * Hands a draw operation to the server: one of {@link QXL_DRAW} with its part of the union in `struct QXLDrawable`.
 *
 * @param clip rectangles outside of which nothing is drawn.
 * @param surfaces the surface to draw on, by default the screen, and another one that the operation reads.
 */
export async function draw(
  card: QxlDevice,
  type: number,
  area: Area,
  operation: Uint8Array,
  clip?: readonly Area[],
  { surfaceId = 0, reads }: { surfaceId?: number; reads?: { surfaceId: number; area: Area } } = {},
): Promise<void> {
  const drawable = new SpiceWriter(256).u64(1n).u32(surfaceId)
  // Effect 1, opaque, lets the server drop what lies below; 0, blend, does not.
  drawable
    .u8(type === QXL_DRAW.copy && !clip ? 1 : 0)
    .u8(type)
    .u8(0)
  rect(drawable, { x: 0, y: 0, width: 0, height: 0 })
  rect(drawable, area)
  if (clip) {
    const rects = new SpiceWriter()
    for (const one of clip) rect(rects, one)
    const bytes = rects.finish()
    const chunk = new SpiceWriter().u32(clip.length).u32(bytes.length).u64(0n).u64(0n).bytes(bytes)
    drawable.u32(1).u64(await card.put(chunk.finish()))
  } else {
    drawable.u32(0).u64(0n)
  }
  const nowhere = { x: 0, y: 0, width: 0, height: 0 }
  drawable
    .u32(0)
    .i32(reads?.surfaceId ?? -1)
    .i32(-1)
    .i32(-1)
  for (const area of [reads?.area ?? nowhere, nowhere, nowhere]) rect(drawable, area)
  drawable.bytes(operation)
  // The union has the size of its largest part whatever it holds.
  drawable.bytes(new Uint8Array(128))
  await card.command(QXL_COMMAND.draw, await card.put(drawable.finish()))
}

/** Puts an image into the card's memory that the guest's driver compressed itself, as QUIC. */
export async function putQuic(
  card: QxlDevice,
  bytes: Uint8Array,
  size: Pick<Area, 'width' | 'height'>,
): Promise<bigint> {
  const image = new SpiceWriter().u64(nextImageId()).u8(IMAGE_TYPE.quic).u8(0).u32(size.width).u32(size.height)
  // A chunk of data in place, without others before and behind.
  image.u32(bytes.length).u32(bytes.length).u64(0n).u64(0n).bytes(bytes)
  return card.put(image.finish())
}

/** Copies an image to a place on the screen. */
export async function drawImage(card: QxlDevice, image: bigint, area: Area): Promise<void> {
  const copy = new SpiceWriter().u64(image)
  // SPICE_ROPD_OP_PUT, scale mode 0, no mask.
  rect(copy, { ...area, x: 0, y: 0 })
    .u16(8)
    .u8(0)
    .u8(0)
    .u32(0)
    .u32(0)
    .u64(0n)
  await draw(card, QXL_DRAW.copy, area, copy.finish())
}

/** Copies a bitmap to a place on the screen. */
export async function drawBitmap(card: QxlDevice, bitmap: Bitmap, x = 0, y = 0): Promise<void> {
  const { width, height } = bitmap
  await drawImage(card, await putBitmap(card, bitmap), { x, y, width, height })
}
