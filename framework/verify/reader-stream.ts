import { EvdevDecoder, type EvdevRecord } from './evdev.ts'

/** What may stand in a port before the reader's greeting: less than a port's buffers hold. */
const MAX_LEFTOVER_BYTES = 256 * 1024

/**
 * The host's end of one reader's stream. A reader greets with a line that only it knows, so that what comes is known
 * to be from this guest, this device and from its first record on: an earlier reader's leftovers end in front of it.
 */
export class ReaderStream {
  /** Resolves when the greeting is here. */
  readonly greeted: Promise<void>
  readonly #greeting: Buffer
  readonly #decoder = new EvdevDecoder()
  #greet: () => void = () => {}
  /** What came before the greeting; undefined once it is here. */
  #leftover: Buffer | undefined = Buffer.alloc(0)
  #receivedBytes = 0

  constructor(greeting: string) {
    this.#greeting = Buffer.from(greeting)
    this.greeted = new Promise((resolve) => (this.#greet = resolve))
  }

  /** Bytes of this reader that arrived, its greeting included. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /**
   * The records that are complete with this chunk.
   *
   * @throws `ATP_VERIFY_GARBAGE`
   */
  push(chunk: Uint8Array): EvdevRecord[] {
    if (this.#leftover === undefined) {
      this.#receivedBytes += chunk.length
      return this.#decoder.push(chunk)
    }
    const bytes = Buffer.concat([this.#leftover, chunk])
    const at = bytes.indexOf(this.#greeting)
    if (at < 0) {
      this.#leftover = bytes.subarray(-MAX_LEFTOVER_BYTES)
      return []
    }
    this.#leftover = undefined
    this.#receivedBytes = bytes.length - at
    this.#greet()
    return this.#decoder.push(bytes.subarray(at + this.#greeting.length))
  }
}
