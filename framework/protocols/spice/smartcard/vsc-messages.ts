import { SpiceReader } from '../wire/reader.ts'
import { SpiceWriter } from '../wire/writer.ts'

/** `VSC_*` of libcacard's `vscard_common.h`: types of the messages on a smart-card channel. */
export const VSC = {
  init: 1,
  error: 2,
  readerAdd: 3,
  readerRemove: 4,
  atr: 5,
  cardRemove: 6,
  apdu: 7,
  flush: 8,
  flushComplete: 9,
} as const

/** `VSCErrorCode`: 0 says that what was asked for is done. */
export const VSC_ERROR = { success: 0, generalError: 1, cannotAddMoreReaders: 2, cardAlreadyInserted: 3 } as const

/** `VSCARD_UNDEFINED_READER_ID`: of what concerns no reader. */
export const NO_READER = 0xffff_ffff

/** `VSCMsgHeader` and what follows it. Unlike between QEMU and a reader of its own, all is little-endian. */
export interface VscMessage {
  type: number
  readerId: number
  body: Uint8Array
}

const HEADER_BYTES = 12
const VERSION = 2

export function encodeVsc({ type, readerId, body }: VscMessage): Uint8Array {
  return new SpiceWriter(HEADER_BYTES + body.length).u32(type).u32(readerId).u32(body.length).bytes(body).finish()
}

/** One message of a server; a channel's message is one of these. @throws `ATP_SPICE_PROTOCOL` */
export function decodeVsc(bytes: Uint8Array, place: string): VscMessage {
  const reader = new SpiceReader(bytes, `${place}, smart-card message`)
  const [type, readerId, sizeBytes] = [reader.u32(), reader.u32(), reader.u32()]
  const body = reader.bytes(sizeBytes)
  reader.end()
  return { type, readerId, body }
}

/** `VSCMsgInit`: magic, version, one word of capabilities, of which there are none. */
export function initBody(): Uint8Array {
  return new SpiceWriter(HEADER_BYTES).text('VSCD').u32(VERSION).u32(0).finish()
}

/** `VSCMsgError`. @throws `ATP_SPICE_PROTOCOL` */
export function errorCodeOf({ body }: VscMessage, place: string): number {
  return new SpiceReader(body, `${place}, smart-card error`).u32()
}
