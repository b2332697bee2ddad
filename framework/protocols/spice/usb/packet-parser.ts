import { spiceProtocolError } from '../errors.ts'
import { SpiceReader } from '../wire/reader.ts'
import { capabilityWords, hasCapability } from '../wire/numbers.ts'
import { CAPABILITY, PACKET, type Capability } from './numbers.ts'
import { packetKindOf, readPacket, type Capabilities, type Packet } from './packets.ts'

/** Longest data of one transfer, either way. */
export const TRANSFER_MAX_BYTES = 1024 * 1024
/** More than any header with its packet's fields. */
const FIELDS_MAX_BYTES = 512
const NAMES = Object.keys(CAPABILITY) as Capability[]

/** The capability words of a hello that names everything this client does. */
export const OUR_CAPABILITIES: readonly number[] = capabilityWords(NAMES.map((name) => CAPABILITY[name]))

/**
 * Cuts the bytes of a usbredir channel into packets; where a message of the channel ends means nothing. The first packet
 * is the peer's hello; it says how the others are written.
 */
export class PacketParser {
  readonly #place: string
  readonly #ours: readonly number[]
  #buffer = new Uint8Array(4096)
  #start = 0
  #end = 0
  #capabilities: Capabilities | undefined

  /**
   * @param place names the channel in messages.
   * @param ours capability words of the hello that goes to the peer.
   */
  constructor(place: string, ours: readonly number[] = OUR_CAPABILITIES) {
    this.#place = place
    this.#ours = ours
  }

  /** What both sides can do. Undefined before the peer's hello. */
  get capabilities(): Capabilities | undefined {
    return this.#capabilities
  }

  /**
   * Packets that are complete with these bytes.
   *
   * @throws `ATP_SPICE_PROTOCOL`; the parser is of no use afterwards.
   */
  *push(bytes: Uint8Array): Generator<Packet, void, undefined> {
    this.#append(bytes)
    for (let packet = this.#next(); packet; packet = this.#next()) yield packet
  }

  #next(): Packet | undefined {
    const bytes = this.#buffer.subarray(this.#start, this.#end)
    const headerBytes = this.#capabilities?.has('ids_64bits') ? 16 : 12
    if (bytes.length < headerBytes) return undefined
    const header = new SpiceReader(bytes, `${this.#place}, usbredir packet`)
    const [type, lengthBytes] = [header.u32(), header.u32()]
    const kind = this.#kindOf(type)
    if (lengthBytes > FIELDS_MAX_BYTES + (type >= PACKET.control_packet ? TRANSFER_MAX_BYTES : 0)) {
      throw header.error(`a ${kind} of ${lengthBytes} bytes`)
    }
    if (bytes.length < headerBytes + lengthBytes) return undefined
    const id = headerBytes === 16 ? header.u64() : BigInt(header.u32())
    // A copy: the buffer is used again.
    const body = new SpiceReader(header.bytes(lengthBytes).slice(), `${this.#place}, ${kind}`)
    const packet = readPacket(kind, id, body, this.#capabilities ?? new Set())
    if (packet.kind === 'hello') this.#begin(packet.capabilities)
    this.#start += headerBytes + lengthBytes
    return packet
  }

  #append(bytes: Uint8Array): void {
    const waiting = this.#buffer.subarray(this.#start, this.#end)
    if (this.#end + bytes.length > this.#buffer.length) {
      const needed = waiting.length + bytes.length
      if (needed > this.#buffer.length) this.#buffer = new Uint8Array(needed * 2)
      this.#buffer.set(waiting)
      this.#start = 0
      this.#end = waiting.length
    }
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  #kindOf(type: number): Packet['kind'] {
    const kind = packetKindOf(type)
    if (!kind) throw spiceProtocolError(this.#place, `a usbredir packet of type ${type}`)
    if ((kind === 'hello') !== (this.#capabilities === undefined)) {
      throw spiceProtocolError(this.#place, kind === 'hello' ? 'a second hello' : `a ${kind} before hello`)
    }
    return kind
  }

  #begin(words: readonly number[]): void {
    this.#capabilities = new Set(
      NAMES.filter((name) => [words, this.#ours].every((each) => hasCapability(each, CAPABILITY[name]))),
    )
  }
}
