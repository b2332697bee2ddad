import { BITMAP_FORMAT, type Bitmap } from '../codec/bitmap.ts'
import type { GlzWindow } from '../codec/glz-window.ts'
import { decodeImage, decodeMask } from '../codec/image.ts'
import type { ImageJobResult } from '../codec/image-job.ts'
import { newRoom, type Room } from '../codec/pixels.ts'
import { IMAGE_TYPE } from '../wire/numbers.ts'
import { IMAGE_FLAG, type ImageSource, type QMask } from './draw-messages.ts'
import { intersect, isEmpty, rectOf, type Rect } from './geometry.ts'
import type { ImageCache } from './image-cache.ts'
import type { PaletteCache } from './palette-cache.ts'
import type { Stencil } from './region.ts'
import type { Picture } from './row-source.ts'
import type { Surface } from './surface.ts'

const TYPE_NAMES = new Map<number, string>(Object.entries(IMAGE_TYPE).map(([name, type]) => [type, name]))

/** The name of an image type in counters: that of {@link IMAGE_TYPE}, or `type 42`. */
function imageTypeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `type ${type}`
}

export interface ImageStoreOptions {
  cache: ImageCache
  palettes: PaletteCache
  glz: GlzWindow
  /** @throws `ATP_SPICE_PROTOCOL` when there is no such surface. */
  surface: (id: number) => Surface
  /** Called for every image with the name of its type. */
  onImage: (type: string) => void
}

/** An image of a message that was decoded before the message is handled. */
export interface ImageDone {
  /** Where in the message's body the image begins, behind its descriptor. */
  at: number
  result: ImageJobResult
}

/** Most pixels of the memory that is kept for pictures which are drawn at once: a screen of 3840 × 2160. */
const ROOM_PIXELS = 3840 * 2160

/** Where the pictures of draw operations come from: the message, caches, other surfaces. */
export class ImageStore {
  readonly #options: ImageStoreOptions
  #room = new Uint32Array(0)
  #done: ImageDone | undefined

  constructor(options: ImageStoreOptions) {
    this.#options = options
  }

  /** Has an image of the message that is handled next, or of none any more. */
  has(done: ImageDone | undefined): void {
    this.#done = done
  }

  /**
   * @param target what will be drawn to: a copy is made when that is the source, too.
   * @throws `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`, `ATP_SPICE_IMAGE_AWAITED`
   */
  picture(source: ImageSource, target: Surface): Picture {
    return this.#picture(source, target, newRoom)
  }

  /** As {@link picture}, which is good only until this is called again. */
  passingPicture(source: ImageSource, target: Surface): Picture {
    return this.#picture(source, target, isKept(source) ? newRoom : (pixels) => this.#sameRoom(pixels))
  }

  #picture({ descriptor, reader }: ImageSource, target: Surface, room: Room): Picture {
    const { cache, glz, palettes, surface, onImage } = this.#options
    const { id, type } = descriptor
    const start = reader.at(reader.offset)
    const done = this.#done?.at === reader.offset ? this.#done.result : undefined
    const picture =
      this.#find(type, id, start, target, surface) ?? decodeImage(descriptor, start, { glz, palettes, room, done })
    onImage(imageTypeName(type))
    if (isKept({ descriptor })) cache.put(id, picture, type === IMAGE_TYPE.jpeg || type === IMAGE_TYPE.jpegAlpha)
    return picture
  }

  #sameRoom(pixels: number): Uint32Array<ArrayBuffer> {
    if (pixels > ROOM_PIXELS) return newRoom(pixels)
    if (pixels > this.#room.length) this.#room = newRoom(pixels)
    return this.#room.subarray(0, pixels)
  }

  #find(
    type: number,
    id: bigint,
    reader: ImageSource['reader'],
    target: Surface,
    surface: (id: number) => Surface,
  ): Picture | undefined {
    if (type === IMAGE_TYPE.fromCache) return this.#options.cache.get(id, false)
    if (type === IMAGE_TYPE.fromCacheLossless) return this.#options.cache.get(id, true)
    if (type !== IMAGE_TYPE.surface) return undefined
    const source = surface(reader.u32())
    if (source !== target) return source
    const { width, height, hasAlpha } = source
    return { width, height, hasAlpha, data: source.data.slice() }
  }

  /**
   * The rows of an image that could be copied as they are: 32 bits, in one piece, not to be remembered.
   *
   * @returns undefined for all others.
   */
  plainRows({ descriptor, reader }: ImageSource): Bitmap | undefined {
    if (descriptor.type !== IMAGE_TYPE.bitmap || isKept({ descriptor })) return undefined
    const at = reader.at(reader.offset)
    const format = at.u8()
    if (format !== BITMAP_FORMAT.bit32) return undefined
    const topDown = (at.u8() & TOP_DOWN) !== 0
    const width = at.u32()
    const height = at.u32()
    const strideBytes = at.u32()
    const isWhole = width === descriptor.width && height === descriptor.height && strideBytes >= width * 4
    if (!isWhole || at.u32() !== 0) return undefined
    const data = at.bytes(strideBytes * height)
    this.#options.onImage(imageTypeName(IMAGE_TYPE.bitmap))
    return { format, width, height, strideBytes, topDown, data }
  }

  /**
   * The pixels of `box` that a mask lets through.
   *
   * @throws `ATP_SPICE_IMAGE`, `ATP_SPICE_PROTOCOL`
   */
  stencil({ image, invers, position }: QMask, box: Rect, surface: Rect): Stencil {
    const { glz, palettes, onImage } = this.#options
    const mask = decodeMask(image.descriptor, image.reader.at(image.reader.offset), { glz, palettes })
    onImage(imageTypeName(image.descriptor.type))
    const place = rectOf(box.left - position.x, box.top - position.y, mask.width, mask.height)
    const rect = intersect(intersect(place, box), surface)
    if (isEmpty(rect)) return { rect, bits: new Uint8Array() }
    const width = rect.right - rect.left
    const bits = new Uint8Array(width * (rect.bottom - rect.top))
    for (let y = rect.top; y < rect.bottom; y++) {
      const from = (y - place.top) * mask.width - place.left
      const to = (y - rect.top) * width - rect.left
      for (let x = rect.left; x < rect.right; x++)
        bits[to + x] = ((mask.data[from + x] as number) !== 0) !== invers ? 1 : 0
    }
    return { rect, bits }
  }
}

/** Whether the server wants an image to be remembered. */
function isKept({ descriptor: { flags } }: Pick<ImageSource, 'descriptor'>): boolean {
  return (flags & (IMAGE_FLAG.cacheMe | IMAGE_FLAG.cacheReplaceMe)) !== 0
}

// Of SPICE_BITMAP_FLAGS_*.
const TOP_DOWN = 4
