import type { ByteStream } from '../../../wire/byte-stream.ts'
import type { PortChannel } from '../channels/data.ts'
import { channelClosedError } from '../errors.ts'
import { FolderStream } from './folder-stream.ts'
import { MUX_PACKET_MAX_BYTES, MuxParser, writeMuxPacket } from './mux.ts'

/** Connections at a time; more are closed at once. */
const CLIENTS_MAX = 64

/**
 * The programs in the guest that reach for a shared folder, through its `spice-webdavd`: a byte stream each, over one
 * folder channel. They end when the channel does, and when the guest closes its port.
 */
export class FolderClients {
  readonly #channel: PortChannel
  readonly #onClient: (stream: ByteStream) => void
  readonly #streams = new Map<bigint, FolderStream>()
  readonly #unwatch: () => void
  #parser: MuxParser

  /**
   * @param channel a folder channel that is not open yet, so that no byte is missed.
   * @param onClient is given the stream of each connection; it must start it.
   */
  constructor(channel: PortChannel, onClient: (stream: ByteStream) => void) {
    this.#channel = channel
    this.#onClient = onClient
    this.#parser = this.#newParser()
    channel.onData = (bytes) => this.#parser.push(bytes)
    channel.onEvent = (event) => {
      if (event === 'closed') this.#endAll()
    }
    this.#unwatch = channel.onStateChange(({ to, error }) => {
      if (to !== 'open') this.#endAll(error)
    })
  }

  /** Connections now. */
  get size(): number {
    return this.#streams.size
  }

  /** Closes every connection and lets go of the channel. */
  close(): void {
    this.#unwatch()
    this.#channel.onData = undefined
    this.#channel.onEvent = undefined
    for (const stream of this.#streams.values()) stream.destroy()
    this.#endAll()
  }

  #newParser(): MuxParser {
    return new MuxParser(this.#channel.place, (client, bytes) => this.#receive(client, bytes))
  }

  #receive(client: bigint, bytes: Uint8Array): void {
    const known = this.#streams.get(client)
    if (bytes.length === 0) {
      this.#streams.delete(client)
      known?.end()
      return
    }
    if (known) return known.receive(bytes)
    if (this.#streams.size >= CLIENTS_MAX) return this.#refuse(client)
    const stream = new FolderStream(`${this.#channel.place}, client ${client}`, {
      write: (part) => this.#write(client, part),
      closed: () => {
        // The guest has not closed it itself.
        if (this.#streams.get(client) === stream && this.#streams.delete(client)) this.#refuse(client)
      },
      hold: () => this.#channel.hold(),
    })
    this.#streams.set(client, stream)
    this.#onClient(stream)
    stream.receive(bytes)
  }

  async #write(client: bigint, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MUX_PACKET_MAX_BYTES) {
      await this.#channel.sendData(writeMuxPacket(client, bytes.subarray(at, at + MUX_PACKET_MAX_BYTES)))
    }
  }

  #refuse(client: bigint): void {
    // If it cannot be sent, the channel has ended, and all connections with it.
    void this.#channel.sendData(writeMuxPacket(client, new Uint8Array(0))).catch(() => {})
  }

  #endAll(cause?: Error): void {
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    this.#parser = this.#newParser()
    for (const stream of streams) stream.end(channelClosedError(this.#channel.place, cause))
  }
}
