import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { protocolError } from '../../../core/errors.ts'
import { imageError } from './pixels.ts'

/** A decoded GLZ image to which later ones may refer. */
export interface GlzImage {
  /** The server numbers the images of a window from 0, over all display channels. */
  id: number
  /** The oldest image to which this and later ones refer. */
  oldestId: number
  /** Pixels in the order of the stream. */
  words: Int32Array
}

/**
 * The decoded images to which GLZ images refer: one for a session, shared by its display channels.
 *
 * Channels are read independently, so an image may come before one that it refers to. Decoding it throws
 * `ATP_SPICE_IMAGE_AWAITED`; {@link GlzWindow.arrival} tells when to try again.
 */
export class GlzWindow {
  /** What the window may hold besides the newest image: the dictionary size that `INIT` announces. */
  readonly maxPixels: number
  readonly #images = new Map<number, GlzImage>()
  readonly #waiting = new Map<number, Set<() => void>>()
  /** All images below this number have come. */
  #nextId = 0
  #pixels = 0

  constructor(maxPixels: number) {
    this.maxPixels = maxPixels
  }

  /** Pixels held. */
  get pixels(): number {
    return this.#pixels
  }

  /**
   * The pixels of an image.
   *
   * @throws `ATP_SPICE_IMAGE_AWAITED` when it has not come, `ATP_SPICE_IMAGE` when it is gone.
   */
  get(id: number): Int32Array {
    const image = this.#images.get(id)
    if (image) return image.words
    if (id < this.#nextId) throw imageError('glz', `image ${id} is referred to, which the window no longer holds`)
    throw protocolError('ATP_SPICE_IMAGE_AWAITED', `SPICE image glz: image ${id} is referred to and has not come`, {
      context: { awaitedId: id },
      retryable: true,
    })
  }

  /**
   * Adds a decoded image, and drops those that no other will refer to.
   *
   * @throws `ATP_SPICE_IMAGE` for a number that came already.
   */
  add(image: GlzImage): void {
    // The server began anew: a display channel was opened after all had been closed.
    if (image.id === 0) this.clear()
    if (image.id < this.#nextId || this.#images.has(image.id)) {
      throw imageError('glz', `image ${image.id} comes a second time`)
    }
    this.#images.set(image.id, image)
    this.#pixels += image.words.length
    // Only where no image is missing is it known what nobody refers to any more.
    let oldestId = -1
    for (let next = this.#images.get(this.#nextId); next; next = this.#images.get(this.#nextId)) {
      oldestId = next.oldestId
      this.#nextId++
    }
    for (const id of this.#images.keys()) {
      if (id < oldestId) this.#drop(id)
    }
    for (const id of this.#images.keys()) {
      if (this.#pixels - image.words.length <= this.maxPixels) break
      if (id !== image.id) this.#drop(id)
    }
    for (const wake of this.#waiting.get(image.id) ?? []) wake()
    this.#waiting.delete(image.id)
  }

  #drop(id: number): void {
    this.#pixels -= this.#images.get(id)?.words.length ?? 0
    this.#images.delete(id)
  }

  /**
   * Resolves once an image has come, which another display channel brings.
   *
   * @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED`
   */
  async arrival(id: number, options: CallOptions): Promise<void> {
    if (id < this.#nextId || this.#images.has(id)) return
    let wake: (() => void) | undefined
    try {
      await withDeadline(`the wait for GLZ image ${id}`, options, () => {
        return new Promise<void>((resolve) => {
          wake = resolve
          const waiting = this.#waiting.get(id) ?? new Set()
          this.#waiting.set(id, waiting.add(resolve))
        })
      })
    } finally {
      const waiting = this.#waiting.get(id)
      if (wake) waiting?.delete(wake)
      if (waiting?.size === 0) this.#waiting.delete(id)
    }
  }

  /** Forgets all images. */
  clear(): void {
    this.#images.clear()
    this.#nextId = 0
    this.#pixels = 0
  }
}
