import { protocolError } from '../core/index.ts'

export interface FrameLimits {
  /** Shortest frame, length field included. */
  minBytes: number
  /** Longest frame, length field included. */
  maxBytes: number
}

/**
 * Cuts a byte stream into frames that begin with their own length: big-endian u32, itself included.
 *
 * Frames that lie whole within a chunk are views of it; only split ones are copied. A split frame's buffer
 * grows with the bytes that really came, so a lying length costs no memory.
 */
export class LengthFramer {
  readonly #limits: FrameLimits
  readonly #onFrame: (frame: Uint8Array) => void
  #pending: Uint8Array = new Uint8Array(0)
  #pendingBytes = 0

  /** `onFrame` runs inside {@link push}; what it throws comes out there. */
  constructor(limits: FrameLimits, onFrame: (frame: Uint8Array) => void) {
    this.#limits = limits
    this.#onFrame = onFrame
  }

  /** Bytes of an unfinished frame. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** @throws `ATP_WIRE_FRAME` for a length out of bounds; the stream cannot be used any further then. */
  push(chunk: Uint8Array): void {
    let at = 0
    if (this.#pendingBytes > 0) {
      at = this.#complete(chunk)
      if (this.#pendingBytes > 0) return
    }
    while (chunk.length - at >= 4) {
      const lengthBytes = this.#lengthAt(chunk, at)
      if (chunk.length - at < lengthBytes) break
      const frame = chunk.subarray(at, at + lengthBytes)
      at += lengthBytes
      this.#onFrame(frame)
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at))
  }

  /** Adds to the split frame; returns how much of the chunk belonged to it. */
  #complete(chunk: Uint8Array): number {
    let used = 0
    if (this.#pendingBytes < 4) {
      used = Math.min(4 - this.#pendingBytes, chunk.length)
      this.#keep(chunk.subarray(0, used))
      if (this.#pendingBytes < 4) return used
    }
    const lengthBytes = this.#lengthAt(this.#pending, 0)
    const wanted = Math.min(lengthBytes - this.#pendingBytes, chunk.length - used)
    this.#keep(chunk.subarray(used, used + wanted))
    if (this.#pendingBytes === lengthBytes) {
      const frame = this.#pending.subarray(0, lengthBytes)
      this.#pending = new Uint8Array(0)
      this.#pendingBytes = 0
      this.#onFrame(frame)
    }
    return used + wanted
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#pendingBytes + bytes.length
    if (needed > this.#pending.length) {
      const grown = new Uint8Array(Math.max(needed, this.#pending.length * 2))
      grown.set(this.#pending.subarray(0, this.#pendingBytes))
      this.#pending = grown
    }
    this.#pending.set(bytes, this.#pendingBytes)
    this.#pendingBytes = needed
  }

  #lengthAt(bytes: Uint8Array, at: number): number {
    const lengthBytes =
      (((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0
    const { minBytes, maxBytes } = this.#limits
    if (lengthBytes < minBytes || lengthBytes > maxBytes) {
      throw protocolError(
        'ATP_WIRE_FRAME',
        `a frame of ${lengthBytes} bytes was announced, allowed are ${minBytes} to ${maxBytes}`,
      )
    }
    return lengthBytes
  }
}
