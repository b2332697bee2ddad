import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { logger, messageOf } from '../core/index.ts'
import type { HostObserver } from '../hosts/observer.ts'
import { LengthFramer } from '../wire/index.ts'
import { OpenThings } from './open-things.ts'
import type { RelayAddress } from './relay-client.ts'
import { parseRecords, RELAY_LIMITS, replay } from './relay-record.ts'
import { isSameSecret } from './same-secret.ts'

const KEY_TIMEOUT_MS = 5_000
const log = logger('metrics')

/**
 * Takes the figures of the workers and tells one observer, as if everything happened in this process. What a worker
 * had open is closed when it ends, however it ends.
 */
export class RelayServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #observer: HostObserver
  readonly #key: string

  private constructor(key: string, observer: HostObserver) {
    this.#key = key
    this.#observer = observer
    this.#server = createServer((socket) => this.#serve(socket))
  }

  static async listen({ path, key }: RelayAddress, observer: HostObserver): Promise<RelayServer> {
    const relay = new RelayServer(key, observer)
    relay.#server.listen(path)
    await once(relay.#server, 'listening')
    return relay
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
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
        replay(record, this.#observer)
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
    socket.on('error', (error) => log.warn('a worker’s figures are refused: {reason}', { reason: messageOf(error) }))
    socket.on('close', () => {
      this.#sockets.delete(socket)
      open.closeAll(this.#observer)
    })
  }
}
