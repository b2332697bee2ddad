import { spiceProtocolError } from '../errors.ts'
import type { Picture } from './row-source.ts'

/**
 * Images that the server expects its client to remember, shared by the display channels of a session. The server
 * decides what is forgotten; it knows from `INIT` how much there is room for.
 */
export class ImageCache {
  /** Most pixels that are kept: what `INIT` announces. */
  readonly limitPixels: number
  readonly #images = new Map<bigint, { picture: Picture; isLossy: boolean }>()
  #pixels = 0

  /** @param limitPixels by default 16 Mi pixels, 64 MiB. */
  constructor(limitPixels = 16 * 1024 * 1024) {
    this.limitPixels = limitPixels
  }

  get size(): number {
    return this.#images.size
  }

  /** @throws `ATP_SPICE_PROTOCOL` when the server makes the cache larger than it was told. */
  put(id: bigint, picture: Picture, isLossy: boolean): void {
    this.forget(id)
    const pixels = picture.width * picture.height
    if (this.#pixels + pixels > this.limitPixels) {
      throw spiceProtocolError('image cache', `with image ${id} it holds more than ${this.limitPixels} pixels`)
    }
    this.#images.set(id, { picture, isLossy })
    this.#pixels += pixels
  }

  /** @throws `ATP_SPICE_PROTOCOL` when there is no such image, or only a lossy one where a lossless is needed. */
  get(id: bigint, mustBeLossless: boolean): Picture {
    const found = this.#images.get(id)
    if (!found) throw spiceProtocolError('image cache', `it has no image ${id}`)
    if (mustBeLossless && found.isLossy) throw spiceProtocolError('image cache', `image ${id} is a lossy one`)
    return found.picture
  }

  forget(id: bigint): void {
    const found = this.#images.get(id)
    if (!found) return
    this.#pixels -= found.picture.width * found.picture.height
    this.#images.delete(id)
  }

  clear(): void {
    this.#images.clear()
    this.#pixels = 0
  }
}
