import { isAtpError } from '../../../core/errors.ts'
import { GlzWindow } from '../codec/glz-window.ts'
import { MAX_IMAGE_PIXELS, type Pixels } from '../codec/pixels.ts'
import { spiceProtocolError, spiceUnsupportedError } from '../errors.ts'
import { DISPLAY_SERVER } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { drawOperation, drawOperationName } from './draw-operations.ts'
import { AHEAD_MIN_BYTES, imageAhead, takesLong, type AheadJob } from './decode-ahead.ts'
import { readClip } from './draw-messages.ts'
import { isEmpty, type Rect } from './geometry.ts'
import { ImageCache } from './image-cache.ts'
import { ImageStore, type ImageDone } from './images.ts'
import * as messages from './messages.ts'
import { PaletteCache } from './palette-cache.ts'
import { VideoStreams, type VideoStream } from './streams.ts'
import { isDrawableFormat, Surface } from './surface.ts'

/** What a server sent, by name. What was not seen has no entry. */
export interface DisplayCounters {
  /** Draw operations: `copy`, `fill`… */
  draws: Record<string, number>
  /** Images by the type that the message gave them: `lz4`, `fromCache`… */
  images: Record<string, number>
  /** Streams created, by codec. */
  streams: Record<string, number>
  /** Frames of streams, by codec. */
  frames: Record<string, number>
  /** Surfaces created, by the number of their format. */
  surfaces: Record<string, number>
  /** What the protocol allows and this client cannot show. */
  unsupported: Record<string, number>
}

export interface DisplayStateOptions {
  /** Of the session; by default the state has one of its own. */
  cache?: ImageCache
  /** Of the session; by default the state has one of its own. */
  glz?: GlzWindow
}

/** Pixels of all surfaces together: 256 Mi, 1 GiB of memory. */
const MAX_SURFACE_PIXELS = 4 * MAX_IMAGE_PIXELS
/** Pixels of the GLZ window, unless told otherwise: 16 Mi. */
const GLZ_WINDOW_PIXELS = 16 * 1024 * 1024

type Handler = (reader: SpiceReader) => void

/**
 * What a display channel shows: made of the channel's messages, independent of how they come.
 *
 * Handlers are properties; each may be undefined.
 */
export class DisplayState {
  /** Called after each message that changed pixels of a surface. */
  onDamage: ((surfaceId: number, rect: Rect) => void) | undefined
  /** Called when the screen came, went or has another size. */
  onResize: ((primary: { width: number; height: number } | undefined) => void) | undefined
  /** Called when the server says that the first picture is complete. */
  onMark: (() => void) | undefined
  onMonitors: ((config: messages.MonitorsConfig) => void) | undefined
  onStream: ((stream: VideoStream) => void) | undefined
  /** The server wants reports on a stream. */
  onReportRequest: ((request: messages.StreamReportRequest) => void) | undefined
  readonly cache: ImageCache
  readonly glz: GlzWindow
  readonly #palettes = new PaletteCache()
  readonly #streams = new VideoStreams()
  readonly #images: ImageStore
  readonly #surfaces = new Map<number, Surface>()
  readonly #handlers: ReadonlyMap<number, Handler>
  #surfacePixels = 0
  #primary: Surface | undefined
  #monitors: messages.MonitorsConfig | undefined
  #isMarked = false
  readonly #counters: DisplayCounters = {
    draws: {},
    images: {},
    streams: {},
    frames: {},
    surfaces: {},
    unsupported: {},
  }

  constructor({ cache = new ImageCache(), glz = new GlzWindow(GLZ_WINDOW_PIXELS) }: DisplayStateOptions = {}) {
    this.cache = cache
    this.glz = glz
    this.#images = new ImageStore({
      cache,
      glz,
      palettes: this.#palettes,
      surface: (id) => this.#surface(id),
      onImage: (type) => count(this.#counters.images, type),
    })
    this.#handlers = this.#makeHandlers()
  }

  get counters(): DisplayCounters {
    return structuredClone(this.#counters)
  }

  get surfaces(): ReadonlyMap<number, Surface> {
    return this.#surfaces
  }

  /** The screen; undefined while there is none. */
  get primary(): Surface | undefined {
    return this.#primary
  }

  /** As the server told last; undefined until then. */
  get monitors(): messages.MonitorsConfig | undefined {
    return this.#monitors
  }

  /** Streams that are open, by number. */
  get streams(): ReadonlyMap<number, VideoStream> {
    return this.#streams.open
  }

  /** Whether the server said that the picture is complete. */
  get isMarked(): boolean {
    return this.#isMarked
  }

  /**
   * Takes one message of a display channel's own (numbers from 101 on).
   *
   * @throws `ATP_SPICE_PROTOCOL`, `ATP_SPICE_IMAGE`; `ATP_SPICE_UNSUPPORTED`, which is counted and leaves the state in
   * order; `ATP_SPICE_IMAGE_AWAITED`, after which the same message can be handed over again, see {@link GlzWindow}.
   * @param done what came of the message's {@link job}, where that was done before.
   */
  handle(messageType: number, body: Uint8Array, done?: ImageDone): void {
    const name = drawOperationName(messageType)
    const reader = new SpiceReader(body, `display ${name ?? `message ${messageType}`}`)
    if (name) return this.#draw(messageType, name, reader, done)
    if (isFrame(messageType)) return this.#showFrame(readFrame(messageType, reader), done)
    const handler = this.#handlers.get(messageType)
    if (!handler) throw this.#unsupported(`message ${messageType}`)
    handler(reader)
  }

  /**
   * What of a message can be decoded before it is handed over: the image that it draws, or, when it is the next message
   * (`isNext`), its frame of a stream, which depends on those before. What is decoded sooner than sent elsewhere is left
   * out, and so is what {@link handle} will not take.
   */
  job(messageType: number, body: Uint8Array, isNext: boolean): AheadJob | undefined {
    if (body.length < AHEAD_MIN_BYTES) return undefined
    const reader = new SpiceReader(body, 'display')
    try {
      if (!isFrame(messageType)) return imageAhead(messageType, reader)
      if (!isNext) return undefined
      const frame = readFrame(messageType, reader)
      const stream = this.#streams.get(frame.streamId)
      const job = this.#streams.job(frame, this.#surface(stream.surfaceId))
      return job && takesLong(job, frame.sized ?? stream) ? { at: reader.offset, job } : undefined
    } catch {
      return undefined
    }
  }

  /**
   * A copy of the screen, or of a part of it.
   *
   * @throws `ATP_SPICE_PROTOCOL` while there is no screen.
   */
  screenshot(part?: Rect): Pixels {
    if (!this.#primary) throw spiceProtocolError('display', 'there is no screen')
    return this.#primary.read(part ?? this.#primary.rect)
  }

  /** Forgets everything but the counters: for a channel that begins anew. */
  reset(): void {
    this.#streams.destroyAll()
    this.#palettes.clear()
    for (const id of this.#surfaces.keys()) this.#destroySurface(id)
    this.#monitors = undefined
    this.#isMarked = false
  }

  #draw(messageType: number, name: string, reader: SpiceReader, done: ImageDone | undefined): void {
    this.#images.has(done)
    try {
      const changed = drawOperation(messageType, reader, this.#images, (id) => this.#surface(id))
      if (changed) this.onDamage?.(changed.surface.id, changed.rect)
    } catch (error) {
      if (isUnsupported(error)) count(this.#counters.unsupported, name)
      throw error
    }
    count(this.#counters.draws, name)
  }

  #makeHandlers(): ReadonlyMap<number, Handler> {
    return new Map<number, Handler>([
      [DISPLAY_SERVER.mode, (reader) => this.#setMode(reader)],
      [DISPLAY_SERVER.mark, () => this.#mark()],
      [DISPLAY_SERVER.reset, () => this.reset()],
      [DISPLAY_SERVER.surfaceCreate, (reader) => this.#createSurface(messages.readSurfaceCreate(reader))],
      [DISPLAY_SERVER.surfaceDestroy, (reader) => this.#destroySurface(this.#surface(reader.u32()).id)],
      [DISPLAY_SERVER.invalList, (reader) => this.#invalidate(messages.readInvalList(reader))],
      [DISPLAY_SERVER.invalAllPixmaps, () => this.cache.clear()],
      [DISPLAY_SERVER.invalPalette, (reader) => this.#palettes.forget(reader.u64())],
      [DISPLAY_SERVER.invalAllPalettes, () => this.#palettes.clear()],
      [DISPLAY_SERVER.monitorsConfig, (reader) => this.#setMonitors(messages.readMonitorsConfig(reader))],
      [DISPLAY_SERVER.streamCreate, (reader) => this.#createStream(messages.readStreamCreate(reader))],
      [DISPLAY_SERVER.streamClip, (reader) => this.#streams.setClip(reader.u32(), readClip(reader))],
      [DISPLAY_SERVER.streamDestroy, (reader) => this.#streams.destroy(reader.u32())],
      [DISPLAY_SERVER.streamDestroyAll, () => this.#streams.destroyAll()],
      [
        DISPLAY_SERVER.streamActivateReport,
        (reader) => this.onReportRequest?.(messages.readStreamReportRequest(reader)),
      ],
    ])
  }

  #surface(id: number): Surface {
    const surface = this.#surfaces.get(id)
    if (!surface) throw spiceProtocolError('display', `there is no surface ${id}`)
    return surface
  }

  // Servers from before surfaces send it; the screen is surface 0.
  #setMode(reader: SpiceReader): void {
    const width = reader.u32()
    const height = reader.u32()
    const bits = reader.u32()
    if (this.#surfaces.has(0)) this.#destroySurface(0)
    const format = bits === 16 ? messages.SURFACE_FORMAT.rgb555 : messages.SURFACE_FORMAT.xrgb
    this.#createSurface({ surfaceId: 0, width, height, format, primary: true })
  }

  #mark(): void {
    this.#isMarked = true
    this.onMark?.()
  }

  #createSurface({ surfaceId, width, height, format, primary }: messages.SurfaceCreate): void {
    if (this.#surfaces.has(surfaceId)) {
      throw spiceProtocolError('display', `surface ${surfaceId} is created a second time`)
    }
    if (!isDrawableFormat(format)) throw this.#unsupported(`surfaces of format ${format}`)
    const pixels = width * height
    if (pixels === 0 || pixels > MAX_IMAGE_PIXELS || this.#surfacePixels + pixels > MAX_SURFACE_PIXELS) {
      throw spiceProtocolError('display', `a surface of ${width}×${height} pixels is impossible`)
    }
    const surface = new Surface(surfaceId, width, height, format)
    this.#surfaces.set(surfaceId, surface)
    this.#surfacePixels += pixels
    count(this.#counters.surfaces, String(format))
    if (!primary) return
    this.#primary = surface
    this.onResize?.({ width, height })
  }

  #destroySurface(id: number): void {
    const surface = this.#surface(id)
    this.#surfaces.delete(id)
    this.#surfacePixels -= surface.width * surface.height
    this.#streams.destroyOf(id)
    if (surface !== this.#primary) return
    this.#primary = undefined
    this.#isMarked = false
    this.onResize?.(undefined)
  }

  #invalidate(ids: readonly bigint[]): void {
    for (const id of ids) this.cache.forget(id)
  }

  #setMonitors(config: messages.MonitorsConfig): void {
    this.#monitors = config
    this.onMonitors?.(config)
  }

  #createStream(message: messages.StreamCreate): void {
    this.#surface(message.surfaceId)
    const stream = this.#streams.create(message)
    count(this.#counters.streams, stream.codecName)
    this.onStream?.(stream)
  }

  #showFrame(data: messages.StreamData, done: ImageDone | undefined): void {
    const stream = this.#streams.get(data.streamId)
    try {
      const rect = this.#streams.show(data, this.#surface(stream.surfaceId), done?.result)
      if (rect && !isEmpty(rect)) this.onDamage?.(stream.surfaceId, rect)
    } catch (error) {
      if (isUnsupported(error)) count(this.#counters.unsupported, `stream ${stream.codecName}`)
      throw error
    }
    count(this.#counters.frames, stream.codecName)
  }

  #unsupported(what: string): Error {
    count(this.#counters.unsupported, what)
    return spiceUnsupportedError('display', what)
  }
}

function isFrame(messageType: number): boolean {
  return messageType === DISPLAY_SERVER.streamData || messageType === DISPLAY_SERVER.streamDataSized
}

function readFrame(messageType: number, reader: SpiceReader): messages.StreamData {
  return messages.readStreamData(reader, messageType === DISPLAY_SERVER.streamDataSized)
}

function isUnsupported(error: unknown): boolean {
  return isAtpError(error, 'ATP_SPICE_UNSUPPORTED')
}

function count(counters: Record<string, number>, name: string): void {
  counters[name] = (counters[name] ?? 0) + 1
}
