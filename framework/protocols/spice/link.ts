import { spiceProtocolError } from './errors.ts'
import { COMMON_CAP, MAGIC, VERSION_MAJOR, VERSION_MINOR, capabilityWords, hasCapability } from './wire/numbers.ts'
import { SpiceReader } from './wire/reader.ts'
import { SpiceWriter } from './wire/writer.ts'

/** Bytes of the header of every link message. */
export const LINK_HEADER_BYTES = 16
/** DER of an RSA-1024 `SubjectPublicKeyInfo`. */
const PUBLIC_KEY_BYTES = 162
/** A real reply has about 200. */
const REPLY_MAX_BYTES = 4096
const CAPABILITY_WORDS_MAX = 32
const REQUEST_CAPS_OFFSET = 18
const REPLY_CAPS_OFFSET = 178

/** `SpiceLinkMess`: what a client asks for. */
export interface LinkRequest {
  /** Session the channel joins; 0 for the main channel, which begins one. */
  connectionId: number
  /** `SPICE_CHANNEL_*` */
  channelType: number
  channelId: number
  /** Capability bits. */
  common: readonly number[]
  channel: readonly number[]
}

/** `SpiceLinkReply` */
export interface LinkReply {
  /** `SPICE_LINK_ERR_*` */
  error: number
  /** DER SPKI that tickets are encrypted with. A fresh one for each connection. */
  publicKey: Uint8Array
  /** Capabilities as words of bits. */
  common: number[]
  channel: number[]
}

/** The first message of every channel. */
export function encodeLinkRequest(request: LinkRequest): Uint8Array {
  const common = capabilityWords(request.common)
  const channel = capabilityWords(request.channel)
  const writer = new SpiceWriter(128)
    .u32(MAGIC)
    .u32(VERSION_MAJOR)
    .u32(VERSION_MINOR)
    .u32(REQUEST_CAPS_OFFSET + 4 * (common.length + channel.length))
    .u32(request.connectionId)
    .u8(request.channelType)
    .u8(request.channelId)
    .u32(common.length)
    .u32(channel.length)
    .u32(REQUEST_CAPS_OFFSET)
  for (const word of [...common, ...channel]) writer.u32(word)
  return writer.finish()
}

/** Size of the body that follows a link header. @throws `ATP_SPICE_PROTOCOL` for what is no header of SPICE 2. */
export function decodeLinkHeader(bytes: Uint8Array, place: string): number {
  const reader = new SpiceReader(bytes, `${place}, link header`)
  if (reader.u32() !== MAGIC) throw spiceProtocolError(place, 'the peer does not speak SPICE')
  const [major, minor] = [reader.u32(), reader.u32()]
  if (major !== VERSION_MAJOR) throw spiceProtocolError(place, `the server speaks version ${major}.${minor}, not 2`)
  const sizeBytes = reader.u32()
  if (sizeBytes > REPLY_MAX_BYTES) throw reader.error(`a reply of ${sizeBytes} bytes is announced`)
  return sizeBytes
}

/** The body of the reply. @throws `ATP_SPICE_PROTOCOL` */
export function decodeLinkReply(body: Uint8Array, place: string): LinkReply {
  const reader = new SpiceReader(body, `${place}, link reply`)
  const error = reader.u32()
  // The rest of a refusal is zeros, or missing.
  if (error !== 0) return { error, publicKey: new Uint8Array(0), common: [], channel: [] }
  const publicKey = reader.bytes(PUBLIC_KEY_BYTES)
  const [commonWords, channelWords, offset] = [reader.u32(), reader.u32(), reader.u32()]
  if (offset < REPLY_CAPS_OFFSET || commonWords > CAPABILITY_WORDS_MAX || channelWords > CAPABILITY_WORDS_MAX) {
    throw reader.error(`${commonWords} and ${channelWords} capability words at ${offset}`)
  }
  const words = reader.at(offset)
  words.counted(commonWords + channelWords, 4, 'capability words')
  const read = (count: number) => Array.from({ length: count }, () => words.u32())
  return { error, publicKey, common: read(commonWords), channel: read(channelWords) }
}

/** Whether both sides use the short header; without it messages have the long one. */
export function usesMiniHeader(reply: LinkReply): boolean {
  return hasCapability(reply.common, COMMON_CAP.miniHeader)
}
