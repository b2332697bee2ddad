import { constants, generateKeyPairSync, privateDecrypt } from 'node:crypto'
import { MessageQueue } from '../../../../framework/protocols/message-queue.ts'
import type { SpiceServer } from '../../../../framework/protocols/spice/index.ts'
import { HandshakeStream } from '../../../../framework/protocols/spice/handshake-stream.ts'
import { MessageFramer } from '../../../../framework/protocols/spice/message-framer.ts'
import { capabilityWords, COMMON_CAP, MAGIC } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceReader } from '../../../../framework/protocols/spice/wire/reader.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { memoryPair } from '../../../../framework/transport/index.ts'
import type { ByteStream } from '../../../../framework/wire/byte-stream.ts'

const KEYS = generateKeyPairSync('rsa', {
  modulusLength: 1024,
  publicKeyEncoding: { type: 'spki', format: 'der' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const WAIT = { timeoutMs: 5000 }

export interface StandInOptions {
  /** Whether the server knows the short header. Default true. */
  mini?: boolean
  /** Whether the server lets the client choose how to authenticate. Default true. */
  selects?: boolean
  /** Answers the link with this error. */
  linkError?: number
  /** Answers the ticket with this. Default 0: admitted. */
  result?: number
}

/** One channel as the server sees it. */
export class StandInChannel {
  readonly type: number
  readonly id: number
  readonly connectionId: number
  /** What the client proved itself with. */
  readonly ticket: string
  readonly #stream: ByteStream
  readonly #mini: boolean
  readonly #messages = new MessageQueue<{ type: number; body: Uint8Array }>({ what: 'client messages', limit: 10_000 })
  #serial = 0n

  constructor(
    link: { type: number; id: number; connectionId: number; ticket: string },
    stream: HandshakeStream,
    mini: boolean,
  ) {
    this.type = link.type
    this.id = link.id
    this.connectionId = link.connectionId
    this.ticket = link.ticket
    this.#stream = stream.inner
    this.#mini = mini
    const framer = new MessageFramer({
      place: 'stand-in',
      mini,
      maxBytes: 1 << 20,
      onMessage: (type, body) => this.#messages.push({ type, body }),
    })
    stream.handOver({ onData: (chunk) => framer.push(chunk), onClose: () => this.#messages.end(new Error('closed')) })
  }

  send(type: number, body: Uint8Array = new Uint8Array(0), subList = 0): void {
    const writer = new SpiceWriter()
    if (!this.#mini) writer.u64(++this.#serial)
    writer.u16(type).u32(body.length)
    if (!this.#mini) writer.u32(subList)
    this.raw(writer.bytes(body).finish())
  }

  raw(bytes: Uint8Array): void {
    this.#stream.write(bytes).catch(() => {})
  }

  /** What the client says next. */
  async next(): Promise<{ type: number; body: number[] }> {
    const { type, body } = await this.#messages.next(WAIT)
    return { type, body: [...body] }
  }

  close(error?: Error): void {
    this.#stream.destroy(error)
  }
}

/** A SPICE server in memory that admits every client and says only what a test tells it to. */
export class StandIn {
  readonly #options: StandInOptions
  readonly #channels = new MessageQueue<StandInChannel>({ what: 'channels', limit: 1000 })

  constructor(options: StandInOptions = {}) {
    this.#options = options
  }

  readonly server: SpiceServer = {
    name: 'stand-in',
    open: async () => {
      const [client, server] = memoryPair()
      this.#serve(new HandshakeStream(server, 'stand-in')).catch(() => server.destroy())
      return client
    },
  }

  /** The next channel that a client opened. */
  channel(): Promise<StandInChannel> {
    return this.#channels.next(WAIT)
  }

  async #serve(stream: HandshakeStream): Promise<void> {
    const { mini = true, selects = true, linkError = 0, result = 0 } = this.#options
    const header = new SpiceReader(await stream.read(16, WAIT), 'link')
    header.skip(12)
    const request = new SpiceReader(await stream.read(header.u32(), WAIT), 'link')
    const link = { connectionId: request.u32(), type: request.u8(), id: request.u8() }
    const common = capabilityWords([
      COMMON_CAP.authSpice,
      ...(selects ? [COMMON_CAP.authSelection] : []),
      ...(mini ? [COMMON_CAP.miniHeader] : []),
    ])
    const body = new SpiceWriter().u32(linkError).bytes(KEYS.publicKey).u32(common.length).u32(0).u32(178)
    for (const word of common) body.u32(word)
    const bytes = body.finish()
    await stream.write(new SpiceWriter().u32(MAGIC).u32(2).u32(2).u32(bytes.length).bytes(bytes).finish())
    if (linkError !== 0) return stream.destroy()
    if (selects) await stream.read(4, WAIT)
    const key = { key: KEYS.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }
    const ticket = privateDecrypt(key, await stream.read(128, WAIT)).toString('utf8')
    await stream.write(new SpiceWriter().u32(result).finish())
    if (result !== 0) return stream.destroy()
    this.#channels.push(new StandInChannel({ ...link, ticket }, stream, mini))
  }
}

/** `SpiceMsgMainInit` of session 7 in mouse mode `server`, and a list of channels as type and id. */
export function greetAsMain(main: StandInChannel, channels: readonly [type: number, id: number][] = [[3, 0]]): void {
  const init = new SpiceWriter()
  for (const number of [7, 1, 3, 1, 0, 10, 0, 0]) init.u32(number)
  main.send(103, init.finish())
  const list = new SpiceWriter().u32(channels.length)
  for (const [type, id] of channels) list.u8(type).u8(id)
  main.send(104, list.finish())
}
