import type { Pixels } from '../codec/pixels.ts'
import { spiceProtocolError } from '../errors.ts'
import { CURSOR_SERVER } from '../wire/numbers.ts'
import { SpiceReader } from '../wire/reader.ts'
import { readCursorShape, type CursorShape } from './cursor-shape.ts'
import { over } from './draw-blend.ts'

/** `SPICE_CURSOR_FLAGS_*` as bits. */
const FLAG = { none: 1, cacheMe: 2, fromCache: 4 }
// The server keeps 256 for a client.
const MAX_CACHED = 1024

/** What a cursor channel shows: shape and place of the pointer that the guest draws. */
export class CursorState {
  /** Called after each message that changed something. */
  onChange: (() => void) | undefined
  readonly #cache = new Map<bigint, CursorShape>()
  #shape: CursorShape | undefined
  #x = 0
  #y = 0
  #isVisible = false

  /** Undefined until the guest set one. */
  get shape(): CursorShape | undefined {
    return this.#shape
  }

  /** Where the hot spot is. Meaningful in the server's mouse mode only. */
  get position(): { x: number; y: number } {
    return { x: this.#x, y: this.#y }
  }

  get isVisible(): boolean {
    return this.#isVisible
  }

  /**
   * Takes one message of a cursor channel's own (numbers from 101 on).
   *
   * @throws `ATP_SPICE_PROTOCOL`
   */
  handle(messageType: number, body: Uint8Array): void {
    const reader = new SpiceReader(body, `cursor message ${messageType}`)
    switch (messageType) {
      case CURSOR_SERVER.init:
        this.#cache.clear()
        this.#place(reader)
        // Length and frequency of a trail, which nothing shows.
        reader.skip(4)
        this.#isVisible = reader.u8() !== 0
        this.#shape = this.#readShape(reader)
        break
      case CURSOR_SERVER.reset:
        this.reset()
        break
      case CURSOR_SERVER.set:
        this.#place(reader)
        this.#isVisible = reader.u8() !== 0
        this.#shape = this.#readShape(reader)
        break
      case CURSOR_SERVER.move:
        this.#place(reader)
        this.#isVisible = true
        break
      case CURSOR_SERVER.hide:
        this.#isVisible = false
        break
      case CURSOR_SERVER.trail:
        reader.skip(4)
        return
      case CURSOR_SERVER.invalOne:
        this.#cache.delete(reader.u64())
        return
      case CURSOR_SERVER.invalAll:
        this.#cache.clear()
        return
      default:
        throw reader.error('there is no such message')
    }
    this.onChange?.()
  }

  /** Forgets everything: for a channel that begins anew. */
  reset(): void {
    this.#cache.clear()
    this.#shape = undefined
    this.#isVisible = false
  }

  #place(reader: SpiceReader): void {
    this.#x = reader.i16()
    this.#y = reader.i16()
  }

  #readShape(reader: SpiceReader): CursorShape | undefined {
    const flags = reader.u16()
    if (flags & FLAG.none) return undefined
    const id = reader.u64()
    const type = reader.u8()
    const [width, height] = [reader.u16(), reader.u16()]
    const hotSpot = { x: reader.u16(), y: reader.u16() }
    if (flags & FLAG.fromCache) {
      const cached = this.#cache.get(id)
      if (!cached) throw spiceProtocolError('cursor', `the cache has no shape ${id}`)
      return cached
    }
    const shape = readCursorShape(reader, type, { width, height, hotSpot })
    if (flags & FLAG.cacheMe) {
      if (this.#cache.size >= MAX_CACHED) throw spiceProtocolError('cursor', `more than ${MAX_CACHED} cached shapes`)
      this.#cache.set(id, shape)
    }
    return shape
  }
}

/**
 * Draws a pointer onto a picture, in place.
 *
 * @param x place of the hot spot on the picture.
 */
export function drawCursor(
  picture: Pixels,
  { width, height, hotSpot, data, keeps }: CursorShape,
  x: number,
  y: number,
): void {
  for (let row = 0; row < height; row++) {
    const toY = y - hotSpot.y + row
    if (toY < 0 || toY >= picture.height) continue
    for (let column = 0; column < width; column++) {
      const toX = x - hotSpot.x + column
      if (toX < 0 || toX >= picture.width) continue
      const at = row * width + column
      const to = toY * picture.width + toX
      const pixel = data[at] as number
      const below = picture.data[to] as number
      // Where the screen is kept, the shape's colour inverts it.
      picture.data[to] = keeps?.[at] ? (below ^ (pixel & 0xffffff)) >>> 0 : over(pixel, below)
    }
  }
}
