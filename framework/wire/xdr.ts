import { configError, protocolError, type AtpError } from '../core/index.ts'

/** Longest string libvirt accepts and sends, bytes of UTF-8. Default bound of {@link XdrReader.string}. */
export const XDR_STRING_MAX_BYTES = 4_194_304

/**
 * Writes XDR (RFC 4506): big-endian, everything padded to four bytes. Grows as needed; what cannot be
 * expressed is refused with `ATP_WIRE_ENCODE` before any of it is sent.
 */
export class XdrWriter {
  #bytes: Buffer
  #end = 0

  constructor(capacityBytes = 256) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#end
  }

  #reserve(sizeBytes: number): number {
    const at = this.#end
    const needed = at + sizeBytes
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
    }
    this.#end = needed
    return at
  }

  /** At most three bytes: `fill` would take longer to be called. */
  #pad(from: number): void {
    for (let at = from; at < this.#end; at++) this.#bytes[at] = 0
  }

  i32(value: number): this {
    if (value !== (value | 0)) throw encodeError(`${value} is not a 32-bit signed integer`)
    const at = this.#reserve(4)
    this.#bytes.writeInt32BE(value, at)
    return this
  }

  u32(value: number): this {
    if (value !== value >>> 0) throw encodeError(`${value} is not a 32-bit unsigned integer`)
    const at = this.#reserve(4)
    this.#bytes.writeUInt32BE(value, at)
    return this
  }

  /** XDR `hyper`. */
  i64(value: bigint): this {
    if (value !== BigInt.asIntN(64, value)) throw encodeError(`${value} is not a 64-bit signed integer`)
    const at = this.#reserve(8)
    this.#bytes.writeBigInt64BE(value, at)
    return this
  }

  /** XDR `unsigned hyper`. */
  u64(value: bigint): this {
    if (value !== BigInt.asUintN(64, value)) throw encodeError(`${value} is not a 64-bit unsigned integer`)
    const at = this.#reserve(8)
    this.#bytes.writeBigUInt64BE(value, at)
    return this
  }

  /** UTF-8 with a length in front. NUL, unpaired surrogates and more than `maxBytes` are refused. */
  string(text: string, maxBytes = XDR_STRING_MAX_BYTES): this {
    if (text.includes('\0')) throw encodeError('a string holds a NUL character')
    if (!text.isWellFormed()) throw encodeError('a string holds an unpaired surrogate')
    const sizeBytes = Buffer.byteLength(text, 'utf8')
    if (sizeBytes > maxBytes) throw encodeError(`a string has ${sizeBytes} bytes, at most ${maxBytes} are allowed`)
    const at = this.#reserve(4 + padded(sizeBytes))
    this.#bytes.writeUInt32BE(sizeBytes, at)
    this.#bytes.write(text, at + 4, sizeBytes, 'utf8')
    this.#pad(at + 4 + sizeBytes)
    return this
  }

  /** XDR optional: a flag, then the string if there is one. */
  optionalString(text: string | undefined): this {
    return text === undefined ? this.u32(0) : this.u32(1).string(text)
  }

  /** Fixed-length opaque data. */
  opaque(bytes: Uint8Array): this {
    const at = this.#reserve(padded(bytes.length))
    this.#bytes.set(bytes, at)
    this.#pad(at + bytes.length)
    return this
  }

  /** Overwrites a number written before, for lengths known only at the end. */
  patchU32(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value, at)
  }

  /** What was written. The writer must not be used afterwards. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#end)
  }
}

/** Reads XDR from a buffer it does not own. Everything out of bounds throws `ATP_WIRE_DECODE`. */
export class XdrReader {
  readonly #bytes: Buffer
  readonly #end: number
  #at: number

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#at = start
    this.#end = end
  }

  get remaining(): number {
    return this.#end - this.#at
  }

  #take(sizeBytes: number): number {
    const at = this.#at
    if (sizeBytes > this.#end - at) {
      throw decodeError(`${sizeBytes} bytes were announced where ${this.#end - at} are left`)
    }
    this.#at = at + sizeBytes
    return at
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4))
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  i64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8))
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8))
  }

  string(maxBytes = XDR_STRING_MAX_BYTES): string {
    const sizeBytes = this.u32()
    if (sizeBytes > maxBytes) throw decodeError(`a string of ${sizeBytes} bytes, at most ${maxBytes} are allowed`)
    const at = this.#take(padded(sizeBytes))
    return this.#bytes.toString('utf8', at, at + sizeBytes)
  }

  optionalString(maxBytes?: number): string | undefined {
    return this.optional() ? this.string(maxBytes) : undefined
  }

  /** The flag in front of optional data: 0 or 1, nothing else. */
  optional(): boolean {
    const flag = this.u32()
    if (flag > 1) throw decodeError(`an optional's flag is ${flag}`)
    return flag === 1
  }

  /** A view of fixed-length opaque data. */
  opaque(sizeBytes: number): Buffer {
    const at = this.#take(padded(sizeBytes))
    return this.#bytes.subarray(at, at + sizeBytes)
  }

  /** The count in front of an array. */
  count(max: number): number {
    const count = this.u32()
    if (count > max) throw decodeError(`a list of ${count} items, at most ${max} are allowed`)
    return count
  }

  /** A view of everything that is left. */
  rest(): Buffer {
    return this.#bytes.subarray(this.#take(this.remaining), this.#end)
  }

  /** @throws `ATP_WIRE_DECODE` when bytes are left over. */
  end(): void {
    if (this.remaining > 0) throw decodeError(`${this.remaining} bytes too many`)
  }
}

function padded(sizeBytes: number): number {
  return (sizeBytes + 3) & ~3
}

function encodeError(message: string): AtpError {
  return configError('ATP_WIRE_ENCODE', `cannot be sent: ${message}`)
}

function decodeError(message: string): AtpError {
  return protocolError('ATP_WIRE_DECODE', `malformed XDR data: ${message}`)
}
