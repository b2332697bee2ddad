import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Where a socket server listens. */
export type Address = { host: string; port: number } | { path: string }

/** A network link that can be interrupted: forwards connections to a peer until it is paused or cut. */
export class PausableProxy {
  readonly #server: Server
  readonly #target: Address
  readonly #sockets = new Set<Socket>()
  #paused = false
  #connections = 0

  private constructor(server: Server, target: Address) {
    this.#server = server
    this.#target = target
    server.on('connection', (socket) => this.#forward(socket))
  }

  /** Listens on a free port of `host`, or on a Unix socket. Default 127.0.0.1. */
  static async start(target: Address, listen: { host: string } | { path: string } = { host: '127.0.0.1' }) {
    // Both directions end on their own, as on a wire.
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen('path' in listen ? listen : { host: listen.host, port: 0 })
    await once(server, 'listening')
    return new PausableProxy(server, target)
  }

  /** The TCP port it listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections that were made through it so far. */
  get connections(): number {
    return this.#connections
  }

  /** Forwards nothing from now on, neither data nor ends; connections stay open: a half-open link. */
  pause(): void {
    this.#paused = true
    for (const socket of this.#sockets) socket.pause()
  }

  /** Forwards what was held back, and all that follows. */
  resume(): void {
    this.#paused = false
    for (const socket of this.#sockets) socket.resume()
  }

  /** Resets the connections there are; new ones are possible. */
  cut(): void {
    for (const socket of this.#sockets) {
      // Unix sockets know no reset.
      if (socket.remoteFamily === undefined) socket.destroy()
      else socket.resetAndDestroy()
    }
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #forward(near: Socket): void {
    this.#connections++
    const far = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    this.#join(near, far)
    this.#join(far, near)
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    if (this.#paused) from.pause()
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause()
    })
    to.on('drain', () => {
      if (!this.#paused) from.resume()
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
  }
}
