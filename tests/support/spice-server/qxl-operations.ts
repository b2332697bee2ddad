import { SpiceWriter } from '../../../framework/protocols/spice/wire/writer.ts'
import { putBitmap, rect, type Area, type Bitmap } from './picture.ts'
import { QXL_COMMAND, SURFACE_FORMAT, type QxlDevice } from './qxl-device.ts'

/** A colour as `0x00RRGGBB`, a picture that repeats, or nothing. */
export type QxlBrush = number | { picture: Bitmap; x: number; y: number } | undefined

/** Bits of a picture that say which pixels count. */
export interface QxlMask {
  bitmap: Bitmap
  x?: number
  y?: number
  invers?: boolean
}

/** An image in the card's memory, or a bitmap that is put there. */
export type QxlSource = Bitmap | bigint

export interface QxlGlyph {
  /** Left upper corner on the surface. */
  x: number
  y: number
  width: number
  height: number
  bytes: Uint8Array
}

/** Points in sixteenths of a pixel. */
export interface QxlPathSegment {
  /** `QXL_PATH_*`: 1 begin, 2 end, 8 close, 16 Bézier curves. */
  flags: number
  points: readonly (readonly [number, number])[]
}

/** The parts of the union in `struct QXLDrawable`, as the card wants them; what they refer to is put into its memory. */
export class QxlOperations {
  readonly #card: QxlDevice

  constructor(card: QxlDevice) {
    this.#card = card
  }

  async fill(brush: QxlBrush, rop: number, mask?: QxlMask): Promise<Uint8Array> {
    const writer = new SpiceWriter()
    await this.#brush(writer, brush)
    return await this.#mask(writer.u16(rop), mask)
  }

  /** Of copy and blend. */
  async copy(source: QxlSource, area: Area, rop: number, scaleMode = 0, mask?: QxlMask): Promise<Uint8Array> {
    const writer = new SpiceWriter().u64(await this.#image(source))
    return await this.#mask(rect(writer, area).u16(rop).u8(scaleMode), mask)
  }

  async opaque(source: QxlSource, area: Area, brush: QxlBrush, rop: number, scaleMode = 0): Promise<Uint8Array> {
    const writer = rect(new SpiceWriter().u64(await this.#image(source)), area)
    await this.#brush(writer, brush)
    return await this.#mask(writer.u16(rop).u8(scaleMode), undefined)
  }

  async rop3(
    source: QxlSource,
    area: Area,
    brush: QxlBrush,
    rop3: number,
    mask?: QxlMask,
    scaleMode = 0,
  ): Promise<Uint8Array> {
    const writer = rect(new SpiceWriter().u64(await this.#image(source)), area)
    await this.#brush(writer, brush)
    return await this.#mask(writer.u8(rop3).u8(scaleMode), mask)
  }

  /** Of blackness, whiteness and invers. */
  async masked(mask?: QxlMask): Promise<Uint8Array> {
    return await this.#mask(new SpiceWriter(), mask)
  }

  async transparent(source: QxlSource, area: Area, color: number): Promise<Uint8Array> {
    return rect(new SpiceWriter().u64(await this.#image(source)), area)
      .u32(color)
      .u32(color)
      .finish()
  }

  async alphaBlend(source: QxlSource, area: Area, alpha: number, flags = 0): Promise<Uint8Array> {
    return rect(
      new SpiceWriter()
        .u16(flags)
        .u8(alpha)
        .u64(await this.#image(source)),
      area,
    ).finish()
  }

  copyBits(x: number, y: number): Uint8Array {
    return new SpiceWriter().i32(x).i32(y).finish()
  }

  /** @param style lengths of dashes and gaps in sixteenths of a pixel. */
  async stroke(
    segments: readonly QxlPathSegment[],
    brush: QxlBrush,
    rop: number,
    { style, startWithGap = false, backRop = rop }: { style?: number[]; startWithGap?: boolean; backRop?: number } = {},
  ): Promise<Uint8Array> {
    const path = new SpiceWriter()
    for (const { flags, points } of segments) {
      path.u32(flags).u32(points.length)
      for (const [x, y] of points) path.i32(x).i32(y)
    }
    const bytes = path.finish()
    const chunk = new SpiceWriter().u32(bytes.length).u32(bytes.length).u64(0n).u64(0n).bytes(bytes)
    const writer = new SpiceWriter().u64(await this.#card.put(chunk.finish()))
    const lengths = new SpiceWriter()
    for (const length of style ?? []) lengths.i32(length)
    writer
      .u8((style ? 8 : 0) | (startWithGap ? 4 : 0))
      .u8(0)
      .u8(0)
      .u8(style?.length ?? 0)
      .i32(0)
      .i32(0)
    writer.u64(style ? await this.#card.put(lengths.finish()) : 0n)
    await this.#brush(writer, brush)
    return writer.u16(rop).u16(backRop).finish()
  }

  /** @param flags `SPICE_STRING_FLAGS_*`: 1, 2, 4 for glyphs of 1, 4, 8 bits; 8 from the top. */
  async text(
    glyphs: readonly QxlGlyph[],
    flags: number,
    brush: QxlBrush,
    {
      backArea,
      backBrush,
      rop = 8,
      backRop = 8,
    }: { backArea?: Area; backBrush?: QxlBrush; rop?: number; backRop?: number } = {},
  ): Promise<Uint8Array> {
    const string = new SpiceWriter()
    for (const { x, y, width, height, bytes } of glyphs) {
      string.i32(x).i32(y).i32(0).i32(0).u16(width).u16(height).bytes(bytes)
    }
    const data = string.finish()
    const chunk = new SpiceWriter().u32(data.length).u16(glyphs.length).u16(flags)
    chunk.u32(data.length).u64(0n).u64(0n).bytes(data)
    const writer = new SpiceWriter().u64(await this.#card.put(chunk.finish()))
    rect(writer, backArea ?? { x: 0, y: 0, width: 0, height: 0 })
    await this.#brush(writer, brush)
    await this.#brush(writer, backBrush)
    return writer.u16(rop).u16(backRop).finish()
  }

  /** @param flags operator, filters, repeats as in `struct QXLComposite`. */
  async composite(
    flags: number,
    source: QxlSource,
    {
      mask,
      transform,
      maskTransform,
      origin = [0, 0],
      maskOrigin = [0, 0],
    }: {
      mask?: QxlSource
      transform?: readonly number[]
      maskTransform?: readonly number[]
      origin?: readonly [number, number]
      maskOrigin?: readonly [number, number]
    } = {},
  ): Promise<Uint8Array> {
    const matrix = async (numbers: readonly number[] | undefined) => {
      if (!numbers) return 0n
      const writer = new SpiceWriter()
      for (const number of numbers) writer.i32(number)
      return await this.#card.put(writer.finish())
    }
    const writer = new SpiceWriter().u32(flags).u64(await this.#image(source))
    writer.u64(await matrix(transform)).u64(mask === undefined ? 0n : await this.#image(mask))
    writer.u64(await matrix(maskTransform))
    for (const place of [...origin, ...maskOrigin]) writer.u16(place & 0xffff)
    return writer.finish()
  }

  /** Makes a surface beside the screen. @param format one of `SURFACE_FORMAT`. */
  async createSurface(surfaceId: number, format: number, width: number, height: number): Promise<void> {
    const stride = width * (format === SURFACE_FORMAT.a8 ? 1 : 4)
    const data = await this.#card.put(new Uint8Array(stride * height))
    const command = new SpiceWriter().u64(1n).u32(surfaceId).u8(0).u32(0)
    command.u32(format).u32(width).u32(height).i32(stride).u64(data)
    await this.#card.command(QXL_COMMAND.surface, await this.#card.put(command.finish()))
  }

  /** Takes a surface away again. */
  async destroySurface(surfaceId: number): Promise<void> {
    const command = new SpiceWriter().u64(1n).u32(surfaceId).u8(1).bytes(new Uint8Array(28))
    await this.#card.command(QXL_COMMAND.surface, await this.#card.put(command.finish()))
  }

  /** An image that is another surface. */
  async surfaceImage(surfaceId: number, width: number, height: number): Promise<bigint> {
    const image = new SpiceWriter()
      .u64((BigInt(surfaceId) << 32n) | 1n)
      .u8(104)
      .u8(0)
      .u32(width)
      .u32(height)
    return await this.#card.put(image.u32(surfaceId).finish())
  }

  async #image(source: QxlSource): Promise<bigint> {
    return typeof source === 'bigint' ? source : await putBitmap(this.#card, source)
  }

  async #brush(writer: SpiceWriter, brush: QxlBrush): Promise<void> {
    if (brush === undefined) writer.u32(0).bytes(new Uint8Array(16))
    else if (typeof brush === 'number') writer.u32(1).u32(brush).bytes(new Uint8Array(12))
    else
      writer
        .u32(2)
        .u64(await putBitmap(this.#card, brush.picture))
        .i32(brush.x)
        .i32(brush.y)
  }

  async #mask(writer: SpiceWriter, mask: QxlMask | undefined): Promise<Uint8Array> {
    writer
      .u8(mask?.invers ? 1 : 0)
      .i32(mask?.x ?? 0)
      .i32(mask?.y ?? 0)
    return writer.u64(mask ? await putBitmap(this.#card, mask.bitmap) : 0n).finish()
  }
}
