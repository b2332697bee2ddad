import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { sleep } from '../../../framework/core/index.ts'
import { channelNameOf, type ChannelName } from '../../../framework/protocols/spice/wire/numbers.ts'

/** The type of the channel in a client's first message. */
const TYPE_OFFSET = 20

/** What happens to the streams of a channel, those there are and those to come. */
export interface Faults {
  /** So many bytes from the server come one by one, each on its own. */
  singleBytes?: number
  /** What the client sends, acknowledgements included, is late. */
  delayMs?: number
  /** The stream ends after so many more bytes from the server, wherever in a message that is. */
  endAfterBytes?: number
  /** So many of the server's next bytes are turned round. */
  garbleBytes?: number
  /** Nothing passes in either direction. */
  stalled?: boolean
}

/** A bad network between a SPICE client and a server on 127.0.0.1: each channel has faults of its own. */
export class FaultProxy {
  /** Channels in the order in which their streams were opened. */
  readonly opened: ChannelName[] = []
  readonly #server: Server
  readonly #target: number
  readonly #faults = new Map<ChannelName, Faults>()
  readonly #sockets = new Map<Socket, ChannelName | undefined>()
  #wake = Promise.withResolvers<void>()

  private constructor(server: Server, target: number) {
    this.#server = server
    this.#target = target
    server.on('connection', (near) => this.#join(near))
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new FaultProxy(server, targetPort)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Streams that are open, of both sides. */
  get streams(): number {
    return this.#sockets.size
  }

  /** The channel has these faults from now on, and no others. */
  set(channel: ChannelName, faults: Faults): void {
    this.#faults.set(channel, { ...faults })
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  /** Ends the streams of a channel as a firewall does that forgot them. */
  reset(channel: ChannelName): void {
    for (const [socket, name] of this.#sockets) if (name === channel) socket.resetAndDestroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets.keys()) socket.destroy()
    await closed
  }

  #join(near: Socket): void {
    const far = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true, noDelay: true })
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.set(socket, undefined)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    const named = Promise.withResolvers<ChannelName>()
    // A stream that ends early ends both ways; its reason is the sockets' own.
    this.#toServer(near, far, named).catch(() => far.destroy())
    this.#toClient(far, near, named.promise).catch(() => near.destroy())
  }

  async #toServer(near: Socket, far: Socket, named: PromiseWithResolvers<ChannelName>): Promise<void> {
    let channel: ChannelName | undefined
    let first = Buffer.alloc(0)
    for await (const chunk of near as AsyncIterable<Buffer>) {
      let bytes = chunk
      if (!channel) {
        first = Buffer.concat([first, chunk])
        channel = first.length > TYPE_OFFSET ? channelNameOf(first[TYPE_OFFSET] as number) : undefined
        if (!channel) continue
        bytes = first
        for (const socket of [near, far]) this.#sockets.set(socket, channel)
        this.opened.push(channel)
        named.resolve(channel)
      }
      await this.#passes(channel)
      const { delayMs = 0 } = this.#of(channel)
      if (delayMs > 0) await sleep(delayMs)
      await write(far, bytes)
    }
    far.end()
  }

  async #toClient(far: Socket, near: Socket, named: Promise<ChannelName>): Promise<void> {
    for await (const chunk of far as AsyncIterable<Buffer>) {
      const channel = await named
      await this.#passes(channel)
      const faults = this.#of(channel)
      const garbled = take(faults, 'garbleBytes', chunk.length)
      for (let at = 0; at < garbled; at++) chunk[at] = ~(chunk[at] as number)
      if (faults.endAfterBytes !== undefined) {
        const passed = take(faults, 'endAfterBytes', chunk.length)
        if (faults.endAfterBytes === 0) {
          delete faults.endAfterBytes
          near.end(chunk.subarray(0, passed))
          return
        }
      }
      const singly = take(faults, 'singleBytes', chunk.length)
      for (let at = 0; at < singly; at++) {
        await write(near, chunk.subarray(at, at + 1))
        // Else the network would join what was cut.
        await new Promise((resolve) => setImmediate(resolve))
      }
      await write(near, chunk.subarray(singly))
    }
    near.end()
  }

  #of(channel: ChannelName): Faults {
    return this.#faults.get(channel) ?? {}
  }

  async #passes(channel: ChannelName): Promise<void> {
    while (this.#of(channel).stalled) await this.#wake.promise
  }
}

/** Uses up so much of a fault's bytes as there is. */
function take(faults: Faults, name: 'singleBytes' | 'endAfterBytes' | 'garbleBytes', bytes: number): number {
  const taken = Math.min(faults[name] ?? 0, bytes)
  if (taken > 0) faults[name] = (faults[name] as number) - taken
  return taken
}

async function write(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (bytes.length > 0 && !socket.write(bytes)) await once(socket, 'drain')
}
