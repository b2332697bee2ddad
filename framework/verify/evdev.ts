/** Linux `EV_*` types of `struct input_event` (input-event-codes.h). */
export const EV_SYN = 0
export const EV_KEY = 1
export const EV_REL = 2
export const EV_ABS = 3
/** `SYN_DROPPED`: the reader was too slow and the kernel threw events away. */
export const SYN_DROPPED = 3

/** `sizeof(struct input_event)` on 64-bit Linux: two 64-bit time fields, two u16, one s32. */
export const RECORD_SIZE_BYTES = 24

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

  /** The records that are complete with this chunk. */
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
  return {
    guestNs: view.getBigInt64(0, true) * 1_000_000_000n + view.getBigInt64(8, true) * 1000n,
    type: view.getUint16(16, true),
    code: view.getUint16(18, true),
    value: view.getInt32(20, true),
  }
}
