import type { JpegTables } from '../codec/jpeg-frame.ts'
import { runImageJob, type ImageJob, type ImageJobResult } from '../codec/image-job.ts'
import { newJpegTables } from '../codec/jpeg.ts'
import type { Pixels } from '../codec/pixels.ts'
import { spiceProtocolError, spiceUnsupportedError } from '../errors.ts'
import { paint } from './draw-raster.ts'
import { isEmpty, rectOf, sameSize, type Rect } from './geometry.ts'
import { VIDEO_CODEC_NAMES, type StreamCreate, type StreamData } from './messages.ts'
import { boundsOf, regionOf } from './region.ts'
import { ROP_COPY } from './rop.ts'
import { pictureSource, type Picture } from './row-source.ts'
import { scaledRows } from './sampler.ts'
import type { Surface } from './surface.ts'

/** A video that the server sends for a part of a surface. */
export interface VideoStream extends StreamCreate {
  codecName: string
  frames: number
  bytes: number
  /** Of the MJPEG frames so far. */
  tables: JpegTables
}

// Servers number streams from 0 and have 50 at most.
const MAX_STREAMS = 1024

/** The streams of a display channel. MJPEG is shown; frames of other codecs are refused. */
export class VideoStreams {
  readonly #streams = new Map<number, VideoStream>()

  /** Those that are open, by number. */
  get open(): ReadonlyMap<number, VideoStream> {
    return this.#streams
  }

  /** @throws `ATP_SPICE_PROTOCOL` for a number in use, and for more streams than any server has. */
  create(stream: StreamCreate): VideoStream {
    if (this.#streams.has(stream.streamId)) throw streamError(stream.streamId, 'is created a second time')
    if (this.#streams.size >= MAX_STREAMS) throw streamError(stream.streamId, `is one more than ${MAX_STREAMS}`)
    const codecName = VIDEO_CODEC_NAMES[stream.codec] ?? `codec ${stream.codec}`
    const created = { ...stream, codecName, frames: 0, bytes: 0, tables: newJpegTables() }
    this.#streams.set(stream.streamId, created)
    return created
  }

  /** @throws `ATP_SPICE_PROTOCOL` when there is no such stream. */
  get(streamId: number): VideoStream {
    const stream = this.#streams.get(streamId)
    if (!stream) throw streamError(streamId, 'does not exist')
    return stream
  }

  setClip(streamId: number, clip: Rect[] | undefined): void {
    this.get(streamId).clip = clip
  }

  destroy(streamId: number): void {
    this.get(streamId)
    this.#streams.delete(streamId)
  }

  destroyOf(surfaceId: number): void {
    for (const [id, stream] of this.#streams) if (stream.surfaceId === surfaceId) this.#streams.delete(id)
  }

  destroyAll(): void {
    this.#streams.clear()
  }

  /** The decoding of a frame; undefined where it is none of MJPEG, or shows nothing. */
  job(data: StreamData, surface: Surface): ImageJob | undefined {
    const stream = this.get(data.streamId)
    const box = data.sized?.destination ?? stream.destination
    const isSeen = boundsOf(regionOf(surface.rect, box, stream.clip)) !== undefined
    return isSeen && stream.codecName === 'mjpeg' ? frameJob(stream, data) : undefined
  }

  /**
   * Shows a frame.
   *
   * @param done what came of the frame's {@link job}, where that was done already.
   * @returns what changed on the surface.
   * @throws `ATP_SPICE_UNSUPPORTED` for another codec than MJPEG, `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`
   */
  show(data: StreamData, surface: Surface, done?: ImageJobResult): Rect | undefined {
    const stream = this.get(data.streamId)
    stream.frames++
    stream.bytes += data.data.length
    if (stream.codecName !== 'mjpeg')
      throw spiceUnsupportedError('display stream', `video of codec ${stream.codecName}`)
    const box = data.sized?.destination ?? stream.destination
    const region = regionOf(surface.rect, box, stream.clip)
    const changed = boundsOf(region)
    if (!changed) return undefined
    const { pixels, tables } = done ?? runImageJob(frameJob(stream, data))
    const frame = pixels as Pixels
    if (tables) stream.tables = tables
    paint(surface, region, frameRows(stream.topDown ? frame : upsideDown(frame), box), ROP_COPY)
    surface.settle(region)
    return changed
  }
}

function frameJob({ width, height, tables }: VideoStream, { data, sized }: StreamData): ImageJob {
  return { codec: 'jpeg', bytes: data, size: sized ?? { width, height }, tables }
}

function frameRows(frame: Picture, box: Rect) {
  const area = rectOf(0, 0, frame.width, frame.height)
  if (sameSize(area, box) || isEmpty(box)) return pictureSource(frame, box.left, box.top)
  return scaledRows(frame, area, box, false)
}

function upsideDown({ width, height, data, hasAlpha }: Picture): Picture {
  const turned = new Uint32Array(data.length)
  for (let y = 0; y < height; y++) turned.set(data.subarray(y * width, (y + 1) * width), (height - 1 - y) * width)
  return { width, height, data: turned, hasAlpha }
}

function streamError(streamId: number, what: string): Error {
  return spiceProtocolError('display stream', `stream ${streamId} ${what}`)
}
