import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { logger, messageOf } from '../core/index.ts'
import type { HostObserver } from '../hosts/observer.ts'
import { LengthFramer } from '../wire/index.ts'
import { OpenThings } from './open-things.ts'
import type { RelayAddress } from './relay-client.ts'
import { parseRecords, RELAY_LIMITS, replay } from './relay-record.ts'
import { isSameSecret } from '../core/same-secret.ts'

const KEY_TIMEOUT_MS = 5_000
const log = logger('metrics')

/**
 * Takes the figures of the workers and tells one observer, as if everything happened in this process. What a worker
 * had open is closed when it ends, however it ends.
 */
export class RelayServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #observer: () => Promise<HostObserver>
  readonly #key: string

  private constructor(key: string, observer: () => Promise<HostObserver>) {
    this.#key = key
    this.#observer = observer
    this.#server = createServer((socket) => void this.#accept(socket))
  }

  /** @param observer asked for when a worker connects; its figures wait until it is there. */
  static async listen({ path, key }: RelayAddress, observer: () => Promise<HostObserver>): Promise<RelayServer> {
    const relay = new RelayServer(key, observer)
    relay.#server.listen(path)
    await once(relay.#server, 'listening')
    return relay
  }

  /** Workers that are connected. */
  get connections(): number {
    return this.#sockets.size
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #accept(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('error', (error) => log.warn('a worker’s figures are refused: {reason}', { reason: messageOf(error) }))
    socket.on('close', () => this.#sockets.delete(socket))
    try {
      this.#serve(socket, await this.#observer())
    } catch (error) {
      socket.destroy(error as Error)
    }
  }

  #serve(socket: Socket, observer: HostObserver): void {
    const open = new OpenThings()
    let known = false
    const framer = new LengthFramer(RELAY_LIMITS, (frame) => {
      const text = Buffer.from(frame.buffer, frame.byteOffset + 4, frame.byteLength - 4).toString()
      if (!known) {
        if (!isSameSecret(text, this.#key)) throw new Error('it does not know the key of this run')
        known = true
        socket.setTimeout(0)
        return
      }
      for (const record of parseRecords(text)) {
        replay(record, open)
        replay(record, observer)
      }
    })
    socket.setTimeout(KEY_TIMEOUT_MS, () => socket.destroy(new Error('it said nothing')))
    socket.on('data', (chunk: Buffer) => {
      // A refused peer's further bytes may be on their way already.
      if (socket.destroyed) return
      try {
        framer.push(chunk)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('close', () => open.closeAll(observer))
  }
}
