import { DisplayState } from '../../../../framework/protocols/spice/display/display-state.ts'
import { DISPLAY_SERVER } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'

/** Body of `SURFACE_CREATE`. */
export function surfaceCreate(id: number, width: number, height: number, format: number, primary = false): Uint8Array {
  return new SpiceWriter()
    .u32(id)
    .u32(width)
    .u32(height)
    .u32(format)
    .u32(primary ? 1 : 0)
    .finish()
}

/** A display with an empty screen. */
export function newScreen(width: number, height: number, format: number): DisplayState {
  const display = new DisplayState()
  display.handle(DISPLAY_SERVER.surfaceCreate, surfaceCreate(0, width, height, format, true))
  return display
}

interface Box {
  x: number
  y: number
  width: number
  height: number
}

/** `SpiceMsgDisplayBase`, not clipped. */
export function drawBase({ x, y, width, height }: Box, surfaceId = 0): SpiceWriter {
  return new SpiceWriter()
    .u32(surfaceId)
    .i32(y)
    .i32(x)
    .i32(y + height)
    .i32(x + width)
    .u8(0)
}

/** Body of `DRAW_FILL` with one colour. */
export function fill(box: Box, color: number, surfaceId = 0): Uint8Array {
  const mask = new Uint8Array(13)
  return drawBase(box, surfaceId).u8(1).u32(color).u16(8).bytes(mask).finish()
}

/** Body of `DRAW_COPY` of a whole image, whose descriptor and data are given. */
export function copy(box: Box, image: Uint8Array): Uint8Array {
  const writer = drawBase(box)
  const imageOffset = writer.length + 4 + 16 + 2 + 1 + 13
  writer.u32(imageOffset).i32(0).i32(0).i32(box.height).i32(box.width).u16(8).u8(0).bytes(new Uint8Array(13))
  return writer.bytes(image).finish()
}

/** `SpiceImageDescriptor` */
export function descriptor(id: bigint, type: number, flags: number, width: number, height: number): SpiceWriter {
  return new SpiceWriter().u64(id).u8(type).u8(flags).u32(width).u32(height)
}
