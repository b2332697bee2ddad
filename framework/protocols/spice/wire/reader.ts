import { spiceProtocolError } from '../errors.ts'

const text = new TextDecoder('utf-8')

/**
 * Reads SPICE's packed little-endian fields from bytes it does not own. Whatever would lead outside of them throws
 * `ATP_SPICE_PROTOCOL` naming the place.
 *
 * Pointers on the wire are offsets from the beginning of the message's body: {@link at} follows one.
 */
export class SpiceReader {
  /** What is read, for messages: `display draw copy`. */
  readonly place: string
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number

  /** @param view of the same bytes, where there is one already. */
  constructor(bytes: Uint8Array, place: string, start = 0, view?: DataView) {
    this.place = place
    this.#bytes = bytes
    this.#view = view ?? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (start > bytes.length) throw this.error(`offset ${start} is outside of ${bytes.length} bytes`)
    this.#at = start
  }

  /** Offset of the next field from the beginning of the body. */
  get offset(): number {
    return this.#at
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  #take(sizeBytes: number): number {
    const at = this.#at
    if (sizeBytes > this.#bytes.length - at) {
      throw this.error(`${sizeBytes} bytes are announced at offset ${at}, where ${this.#bytes.length - at} are left`)
    }
    this.#at = at + sizeBytes
    return at
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true)
  }

  i16(): number {
    return this.#view.getInt16(this.#take(2), true)
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true)
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true)
  }

  /** A view of the next bytes. */
  bytes(sizeBytes: number): Uint8Array {
    const at = this.#take(sizeBytes)
    return this.#bytes.subarray(at, at + sizeBytes)
  }

  skip(sizeBytes: number): void {
    this.#take(sizeBytes)
  }

  /** A view of everything that is left. */
  rest(): Uint8Array {
    return this.bytes(this.remaining)
  }

  /** UTF-8 of a field of known size, up to its first NUL. */
  text(sizeBytes: number): string {
    const bytes = this.bytes(sizeBytes)
    const end = bytes.indexOf(0)
    return text.decode(end < 0 ? bytes : bytes.subarray(0, end))
  }

  /**
   * Checks a number of items that came from the wire before any of them is read.
   *
   * @param itemBytes least size of an item, so that a lying count costs no memory.
   */
  counted(count: number, itemBytes: number, what = 'items'): number {
    if (count * itemBytes > this.remaining) {
      throw this.error(`${count} ${what} are announced where ${this.remaining} bytes are left`)
    }
    return count
  }

  /** A u32 that counts the items which follow; see {@link counted}. */
  count32(itemBytes: number, what?: string): number {
    return this.counted(this.u32(), itemBytes, what)
  }

  /** A reader of the same body at the offset that a pointer names. */
  at(offset: number): SpiceReader {
    return new SpiceReader(this.#bytes, this.place, offset, this.#view)
  }

  /** A u32 pointer followed: a reader at its target, undefined for the null pointer. */
  pointer(): SpiceReader | undefined {
    const offset = this.u32()
    return offset === 0 ? undefined : this.at(offset)
  }

  /** A u32 pointer that must not be null, followed. */
  target(what: string): SpiceReader {
    const target = this.pointer()
    if (!target) throw this.error(`the pointer to ${what} is null`)
    return target
  }

  /** @throws `ATP_SPICE_PROTOCOL` when bytes are left over. */
  end(): void {
    if (this.remaining > 0) throw this.error(`${this.remaining} bytes too many`)
  }

  /** The error for a field with a value that the protocol does not allow. */
  error(message: string): Error {
    return spiceProtocolError(this.place, message)
  }
}
