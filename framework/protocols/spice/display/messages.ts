import type { SpiceReader } from '../wire/reader.ts'
import { readClip } from './draw-messages.ts'
import { readRect, type Rect } from './geometry.ts'

/** `SpiceMsgSurfaceCreate` */
export interface SurfaceCreate {
  surfaceId: number
  width: number
  height: number
  /** {@link SURFACE_FORMAT} */
  format: number
  primary: boolean
}

/** `SPICE_SURFACE_FMT_*` */
export const SURFACE_FORMAT = { a1: 1, a8: 8, rgb555: 16, xrgb: 32, rgb565: 80, argb: 96 } as const

/** `SPICE_VIDEO_CODEC_TYPE_*`, by number. */
export const VIDEO_CODEC_NAMES: Readonly<Record<number, string>> = {
  1: 'mjpeg',
  2: 'vp8',
  3: 'h264',
  4: 'vp9',
  5: 'h265',
}

/** `SpiceMsgDisplayStreamCreate` */
export interface StreamCreate {
  surfaceId: number
  streamId: number
  topDown: boolean
  /** Number of {@link VIDEO_CODEC_NAMES}. */
  codec: number
  /** Size of the encoded frames. */
  width: number
  height: number
  /** Where frames lie on the surface. */
  destination: Rect
  clip: Rect[] | undefined
}

/** `SpiceMsgDisplayStreamData`, plain or sized. */
export interface StreamData {
  streamId: number
  multiMediaTimeMs: number
  /** Of sized frames only. */
  sized: { width: number; height: number; destination: Rect } | undefined
  data: Uint8Array
}

/** `SpiceHead`: one monitor, a part of a surface. */
interface Head {
  monitorId: number
  surfaceId: number
  width: number
  height: number
  x: number
  y: number
}

/** `SpiceMsgDisplayMonitorsConfig` */
export interface MonitorsConfig {
  /** 0: not limited. */
  maxAllowed: number
  heads: Head[]
}

/** `SpiceMsgDisplayStreamActivateReport`: the server wants to be told how a stream arrives. */
export interface StreamReportRequest {
  streamId: number
  uniqueId: number
  /** A report is due after so many frames… */
  maxWindowSize: number
  /** …or after this time. */
  timeoutMs: number
}

export function readSurfaceCreate(reader: SpiceReader): SurfaceCreate {
  return {
    surfaceId: reader.u32(),
    width: reader.u32(),
    height: reader.u32(),
    format: reader.u32(),
    primary: (reader.u32() & 1) !== 0,
  }
}

export function readStreamCreate(reader: SpiceReader): StreamCreate {
  const surfaceId = reader.u32()
  const streamId = reader.u32()
  const topDown = (reader.u8() & 1) !== 0
  const codec = reader.u8()
  // The stamp, a time of the server, means nothing to a client.
  reader.skip(8)
  const width = reader.u32()
  const height = reader.u32()
  // Size of the source on the server's side; frames may be smaller.
  reader.skip(8)
  return { surfaceId, streamId, topDown, codec, width, height, destination: readRect(reader), clip: readClip(reader) }
}

/** @param isSized whether the message is `STREAM_DATA_SIZED`. */
export function readStreamData(reader: SpiceReader, isSized: boolean): StreamData {
  const streamId = reader.u32()
  const multiMediaTimeMs = reader.u32()
  const sized = isSized ? { width: reader.u32(), height: reader.u32(), destination: readRect(reader) } : undefined
  return { streamId, multiMediaTimeMs, sized, data: reader.bytes(reader.u32()) }
}

export function readMonitorsConfig(reader: SpiceReader): MonitorsConfig {
  const count = reader.u16()
  const maxAllowed = reader.u16()
  reader.counted(count, 28, 'monitors')
  const heads = Array.from({ length: count }, () => {
    const head = {
      monitorId: reader.u32(),
      surfaceId: reader.u32(),
      width: reader.u32(),
      height: reader.u32(),
      x: reader.u32(),
      y: reader.u32(),
    }
    // No flag is defined.
    reader.skip(4)
    return head
  })
  return { maxAllowed, heads }
}

export function readStreamReportRequest(reader: SpiceReader): StreamReportRequest {
  return {
    streamId: reader.u32(),
    uniqueId: reader.u32(),
    maxWindowSize: reader.u32(),
    timeoutMs: reader.u32(),
  }
}

const RESOURCE_PIXMAP = 1

/** `SpiceResourceList` of `INVAL_LIST`: the ids of the images to forget. */
export function readInvalList(reader: SpiceReader): bigint[] {
  const count = reader.counted(reader.u16(), 9, 'resources')
  return Array.from({ length: count }, () => {
    const type = reader.u8()
    if (type !== RESOURCE_PIXMAP) throw reader.error(`there is no resource of type ${type}`)
    return reader.u64()
  })
}
