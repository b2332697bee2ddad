import { internalError } from '../../../core/errors.ts'

const text = new TextEncoder()

/** Writes SPICE's packed little-endian fields. Numbers that do not fit their field are refused, not cut. */
export class SpiceWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView
  #end = 0

  constructor(capacityBytes = 64) {
    this.#bytes = new Uint8Array(capacityBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#end
  }

  #reserve(sizeBytes: number): number {
    const at = this.#end
    const needed = at + sizeBytes
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.#end = needed
    return at
  }

  u8(value: number): this {
    fits(value, 0, 0xff)
    const at = this.#reserve(1)
    this.#view.setUint8(at, value)
    return this
  }

  u16(value: number): this {
    fits(value, 0, 0xffff)
    const at = this.#reserve(2)
    this.#view.setUint16(at, value, true)
    return this
  }

  u32(value: number): this {
    fits(value, 0, 0xffff_ffff)
    const at = this.#reserve(4)
    this.#view.setUint32(at, value, true)
    return this
  }

  u64(value: bigint): this {
    fits(value, 0n, 0xffff_ffff_ffff_ffffn)
    const at = this.#reserve(8)
    this.#view.setBigUint64(at, value, true)
    return this
  }

  i32(value: number): this {
    fits(value, -0x8000_0000, 0x7fff_ffff)
    const at = this.#reserve(4)
    this.#view.setInt32(at, value, true)
    return this
  }

  i64(value: bigint): this {
    fits(value, -0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn)
    const at = this.#reserve(8)
    this.#view.setBigInt64(at, value, true)
    return this
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** UTF-8 without a length or an end. */
  text(value: string): this {
    return this.bytes(text.encode(value))
  }

  /** What was written. The writer must not be used afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#end)
  }
}

function fits<T extends number | bigint>(value: T, min: T, max: T): void {
  const whole = typeof value === 'bigint' || Number.isInteger(value)
  if (whole && value >= min && value <= max) return
  throw internalError('ATP_SPICE_ENCODE', `${value} does not fit a field of a SPICE message (${min} to ${max})`)
}
