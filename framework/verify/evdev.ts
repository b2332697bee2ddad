import { protocolError } from '../core/errors.ts'

/** Linux `EV_*` types of `struct input_event` (input-event-codes.h). */
export const EV_SYN = 0
export const EV_KEY = 1
export const EV_REL = 2
export const EV_ABS = 3
/** `SYN_DROPPED`: the reader was too slow and the kernel threw events away. */
export const SYN_DROPPED = 3

/** `sizeof(struct input_event)` on 64-bit Linux: two 64-bit time fields, two u16, one s32. */
export const RECORD_SIZE_BYTES = 24

/** Highest code of each type: `SYN_MAX`, `KEY_MAX`, … A record of another type is none of the kernel's. */
const HIGHEST_CODE: Readonly<Record<number, number>> = {
  [EV_SYN]: 0x0f,
  [EV_KEY]: 0x2ff,
  [EV_REL]: 0x0f,
  [EV_ABS]: 0x3f,
  0x04: 0x07, // EV_MSC
  0x05: 0x10, // EV_SW
  0x11: 0x0f, // EV_LED
  0x12: 0x07, // EV_SND
  0x14: 0x01, // EV_REP
  0x15: 0x7f, // EV_FF
  0x16: 0xff, // EV_PWR
  0x17: 0x01, // EV_FF_STATUS
}
const AUTOREPEAT = 2
/** The year 2242. */
const LAST_SECOND = 2n ** 33n

/** One record of `/dev/input/eventN`. */
export interface EvdevRecord {
  /** Kernel time of the event, nanoseconds since the epoch (CLOCK_REALTIME), cut to microseconds. */
  guestNs: bigint
  type: number
  code: number
  value: number
}

/** Cuts a byte stream into evdev records, wherever the chunks are split. Holds at most one record back. */
export class EvdevDecoder {
  readonly #partial = new Uint8Array(RECORD_SIZE_BYTES)
  #filled = 0

  /**
   * The records that are complete with this chunk.
   *
   * @throws `ATP_VERIFY_GARBAGE` at a record that no Linux kernel writes: bytes were lost, added or changed on the way.
   */
  push(chunk: Uint8Array): EvdevRecord[] {
    const records: EvdevRecord[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#filled === 0 && chunk.length - offset >= RECORD_SIZE_BYTES) {
        records.push(decodeRecord(chunk, offset))
        offset += RECORD_SIZE_BYTES
        continue
      }
      const taken = chunk.subarray(offset, offset + RECORD_SIZE_BYTES - this.#filled)
      this.#partial.set(taken, this.#filled)
      this.#filled += taken.length
      offset += taken.length
      if (this.#filled === RECORD_SIZE_BYTES) {
        records.push(decodeRecord(this.#partial, 0))
        this.#filled = 0
      }
    }
    return records
  }
}

function decodeRecord(bytes: Uint8Array, offset: number): EvdevRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_SIZE_BYTES)
  const [seconds, microseconds] = [view.getBigInt64(0, true), view.getBigInt64(8, true)]
  const type = view.getUint16(16, true)
  const code = view.getUint16(18, true)
  const value = view.getInt32(20, true)
  const highest = HIGHEST_CODE[type]
  if (
    highest === undefined ||
    code > highest ||
    (type === EV_KEY && (value < 0 || value > AUTOREPEAT)) ||
    seconds < 0n ||
    seconds >= LAST_SECOND ||
    microseconds < 0n ||
    microseconds >= 1_000_000n
  ) {
    throw protocolError(
      'ATP_VERIFY_GARBAGE',
      `the stream of input events holds a record that no kernel wrote: type ${type}, code ${code}, value ${value}, ` +
        `time ${seconds} s ${microseconds} µs`,
      { remedy: "find out what else writes to the guest's port, or changes what it carries" },
    )
  }
  return { guestNs: seconds * 1_000_000_000n + microseconds * 1000n, type, code, value }
}
