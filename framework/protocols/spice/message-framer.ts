import { spiceProtocolError } from './errors.ts'

/** Header of a message. */
export interface FramerOptions {
  /** For messages. */
  place: string
  /** Whether both sides agreed on the short header. */
  mini: boolean
  /** Longest body that is accepted. */
  maxBytes: number
  /** Whether bodies are only lent: they hold until `onMessage` returns then. Default: they belong to the receiver. */
  lends?: boolean
  /** Runs inside {@link MessageFramer.push}; `subList` is the offset of sub-messages in the body, 0 for none. */
  onMessage(type: number, body: Uint8Array, subList: number): void
}

const MINI_HEADER_BYTES = 6
const FULL_HEADER_BYTES = 18
/** A message that is split gets memory for all of it at once, up to this; longer ones as much as really comes. */
const WHOLE_BYTES = 16 * 1024 * 1024

/**
 * Cuts a channel's bytes into messages. Where bodies are lent, those that lie whole within a chunk are views of it; only
 * split ones are copied, into memory that serves the next one, too.
 */
export class MessageFramer {
  readonly #options: FramerOptions
  readonly #headerBytes: number
  #pending: Uint8Array = new Uint8Array(0)
  #pendingBytes = 0
  #blocked = false

  constructor(options: FramerOptions) {
    this.#options = options
    this.#headerBytes = options.mini ? MINI_HEADER_BYTES : FULL_HEADER_BYTES
  }

  /** Stops or goes on delivering; what is pushed meanwhile is kept. */
  block(blocked: boolean): void {
    this.#blocked = blocked
    if (!blocked) this.push(new Uint8Array(0))
  }

  /**
   * Takes bytes, which need not hold longer than this.
   *
   * @throws `ATP_SPICE_PROTOCOL` for a message that is too long; what `onMessage` throws.
   */
  push(chunk: Uint8Array): void {
    const { lends = false } = this.#options
    let bytes = chunk
    if (this.#pendingBytes > 0) {
      this.#keep(chunk)
      if (this.#blocked || !this.#hasMessage()) return
      bytes = this.#pending.subarray(0, this.#pendingBytes)
      if (!lends || this.#pending.length > WHOLE_BYTES) this.#pending = new Uint8Array(0)
      this.#pendingBytes = 0
    } else if (!lends) {
      bytes = new Uint8Array(chunk)
    }
    let at = 0
    while (!this.#blocked && bytes.length - at >= this.#headerBytes) {
      const sizeBytes = this.#sizeAt(bytes, at)
      const start = at + this.#headerBytes
      if (bytes.length - start < sizeBytes) break
      const type = this.#typeAt(bytes, at)
      const subList = this.#options.mini ? 0 : u32(bytes, at + 14)
      at = start + sizeBytes
      this.#options.onMessage(type, bytes.subarray(start, at), subList)
    }
    if (at < bytes.length) this.#keep(bytes.subarray(at))
  }

  #hasMessage(): boolean {
    if (this.#pendingBytes < this.#headerBytes) return false
    return this.#pendingBytes >= this.#headerBytes + this.#sizeAt(this.#pending, 0)
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#pendingBytes + bytes.length
    if (needed > this.#pending.length) {
      const grown = new Uint8Array(Math.max(needed, this.#announced(bytes), this.#pending.length * 2))
      grown.set(this.#pending.subarray(0, this.#pendingBytes))
      this.#pending = grown
    }
    this.#pending.set(bytes, this.#pendingBytes)
    this.#pendingBytes = needed
  }

  /** Bytes to make room for, from what is kept, or else these, begin with; 0 when that is not known yet. */
  #announced(bytes: Uint8Array): number {
    const start = this.#pendingBytes > 0 ? this.#pending.subarray(0, this.#pendingBytes) : bytes
    if (start.length < this.#headerBytes) return 0
    return Math.min(WHOLE_BYTES, this.#headerBytes + this.#sizeAt(start, 0))
  }

  #typeAt(bytes: Uint8Array, at: number): number {
    const offset = this.#options.mini ? at : at + 8
    return (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8)
  }

  #sizeAt(bytes: Uint8Array, at: number): number {
    const sizeBytes = u32(bytes, this.#options.mini ? at + 2 : at + 10)
    const { maxBytes, place } = this.#options
    if (sizeBytes > maxBytes) {
      const message = `a message of type ${this.#typeAt(bytes, at)} with ${sizeBytes} bytes, at most ${maxBytes} are accepted`
      throw spiceProtocolError(place, message)
    }
    return sizeBytes
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  )
}
