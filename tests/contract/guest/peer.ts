/** A verification server's end of every transport, which says what a test tells it to say. */
import { createServer as createHttp, type Server as HttpServer } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createServer as createTls } from 'node:tls'
import { WebSocketServer } from 'ws'
import { withDeadline } from '../../../framework/core/index.ts'
import {
  encodeMessage,
  lengthFraming,
  lineFraming,
  OPENING,
  parseFirstFrame,
  parseFromAgent,
  type FromAgent,
  type Hello,
  type ServerMessage,
} from '../../../guest/protocol/index.ts'
import { PtyPort } from './pty-port.ts'

export type Way = 'websocket' | 'websocket over TLS' | 'tcp' | 'tcp over TLS' | 'unix socket' | 'virtio-serial'
export const WAYS: readonly Way[] = [
  'websocket',
  'websocket over TLS',
  'tcp',
  'tcp over TLS',
  'unix socket',
  'virtio-serial',
]

export interface ServerKeys {
  key: Buffer
  cert: Buffer
}

/** What carries one connection. */
interface Carrier {
  send(text: string): void
  /** Bytes as they are, framed by nobody. */
  sendRaw(bytes: Uint8Array): void
  end(): void
}

/** One connection of an agent. */
export class PeerConnection {
  readonly #carrier: Carrier
  readonly #waiting: FromAgent[] = []
  readonly #takers: ((message: FromAgent) => void)[] = []
  #isFirst = true
  readonly closed: Promise<void>
  #onClosed: () => void = () => {}

  constructor(carrier: Carrier) {
    this.#carrier = carrier
    this.closed = new Promise((resolve) => (this.#onClosed = resolve))
  }

  receive(text: string): void {
    const message = this.#isFirst ? parseFirstFrame(text) : parseFromAgent(text)
    this.#isFirst = false
    const taker = this.#takers.shift()
    if (taker) taker(message)
    else this.#waiting.push(message)
  }

  over(): void {
    this.#onClosed()
  }

  send(message: ServerMessage): void {
    this.#carrier.send(encodeMessage(message))
  }

  sendText(text: string): void {
    this.#carrier.send(text)
  }

  sendRaw(bytes: Uint8Array): void {
    this.#carrier.sendRaw(bytes)
  }

  end(): void {
    this.#carrier.end()
  }

  /** How many messages arrived that nobody asked for yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  next(): Promise<FromAgent> {
    const message = this.#waiting.shift()
    if (message) return Promise.resolve(message)
    return withDeadline('the next message of the agent', { timeoutMs: 10_000 }, () => {
      return new Promise<FromAgent>((resolve) => this.#takers.push(resolve))
    })
  }

  /** The next message, which must be of that kind. */
  async nextOf<K extends FromAgent['kind']>(kind: K): Promise<Extract<FromAgent, { kind: K }>> {
    const message = await this.next()
    if (message.kind !== kind) throw new Error(`${message.kind} came instead of ${kind}: ${JSON.stringify(message)}`)
    return message as Extract<FromAgent, { kind: K }>
  }

  async welcome(): Promise<Hello> {
    const { message } = await this.nextOf('hello')
    this.send({ v: 1, type: 'welcome' })
    return message
  }
}

/** Accepts agents over one transport. */
export class Peer {
  readonly endpoint: string
  readonly #waiting: PeerConnection[] = []
  readonly #takers: ((connection: PeerConnection) => void)[] = []
  readonly #open = new Set<PeerConnection>()
  #close: () => Promise<void> = async () => {}
  #ended = false

  private constructor(endpoint: string) {
    this.endpoint = endpoint
  }

  static async listen(way: Way, folder: string, keys: ServerKeys): Promise<Peer> {
    if (way === 'virtio-serial') return Peer.#port(join(folder, 'port'))
    if (way === 'websocket') return Peer.#webSocket(createHttp(), 'ws')
    if (way === 'websocket over TLS') return Peer.#webSocket(createHttps(keys), 'wss')
    if (way === 'tcp over TLS')
      return Peer.#sockets(createTls(keys), { port: 0, host: '127.0.0.1' }, 'tls', 'secureConnection')
    if (way === 'tcp') return Peer.#sockets(createServer(), { port: 0, host: '127.0.0.1' }, 'tcp', 'connection')
    return Peer.#sockets(createServer(), { path: join(folder, 'socket') }, 'unix', 'connection')
  }

  accept(): Promise<PeerConnection> {
    const connection = this.#waiting.shift()
    if (connection) return Promise.resolve(connection)
    return withDeadline('a connection of the agent', { timeoutMs: 10_000 }, () => {
      return new Promise<PeerConnection>((resolve) => this.#takers.push(resolve))
    })
  }

  async close(): Promise<void> {
    this.#ended = true
    for (const connection of this.#open) connection.end()
    await this.#close()
  }

  #add(connection: PeerConnection): void {
    this.#open.add(connection)
    void connection.closed.then(() => this.#open.delete(connection))
    const taker = this.#takers.shift()
    if (taker) taker(connection)
    else this.#waiting.push(connection)
  }

  static async #webSocket(http: HttpServer, scheme: string): Promise<Peer> {
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const peer = new Peer(`${scheme}://127.0.0.1:${portOf(http)}/`)
    const server = new WebSocketServer({ server: http })
    server.on('connection', (socket) => {
      const connection = new PeerConnection({
        send: (text) => socket.send(text),
        sendRaw: (bytes) => socket.send(bytes),
        end: () => socket.terminate(),
      })
      socket.on('message', (data) => connection.receive((data as Buffer).toString()))
      socket.on('error', () => {})
      socket.on('close', () => connection.over())
      peer.#add(connection)
    })
    peer.#close = async () => {
      server.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    }
    return peer
  }

  static async #sockets(server: Server, at: object, scheme: string, event: string): Promise<Peer> {
    await new Promise<void>((resolve) => server.listen(at, resolve))
    const peer = new Peer('path' in at ? `${scheme}:${String(at.path)}` : `${scheme}://127.0.0.1:${portOf(server)}`)
    server.on(event, (socket: Socket) => {
      const decoder = lengthFraming.decoder()
      const connection = new PeerConnection({
        send: (text) => socket.write(frameOf(text)),
        sendRaw: (bytes) => socket.write(bytes),
        end: () => socket.destroy(),
      })
      socket.on('data', (chunk: Buffer) => decoder.push(chunk).forEach((text) => connection.receive(text)))
      socket.on('error', () => {})
      socket.on('close', () => connection.over())
      peer.#add(connection)
    })
    peer.#close = () => new Promise((resolve) => void server.close(() => resolve()))
    return peer
  }

  /** A port is there once; it is opened anew for the next connection. */
  static async #port(path: string): Promise<Peer> {
    const peer = new Peer(path)
    let current: PtyPort | undefined
    let renewed = Promise.resolve()
    const open = async () => {
      const decoder = lineFraming.decoder()
      let connection: PeerConnection | undefined
      const port = await PtyPort.open(path, (chunk) => {
        for (const text of decoder.push(chunk)) {
          // A port has no connections: a hello begins one.
          if (!connection || text.includes('"type":"hello"')) {
            connection?.over()
            connection = new PeerConnection({
              send: (text) => port.write(Buffer.from(`${text}\n`)),
              sendRaw: (bytes) => port.write(bytes),
              end: () => {
                if (port === current) renewed = renew(port, connection as PeerConnection)
              },
            })
            port.write(OPENING)
            peer.#add(connection)
          }
          connection.receive(text)
        }
      })
      current = port
    }
    const renew = async (port: PtyPort, connection: PeerConnection) => {
      current = undefined
      await port.close()
      connection.over()
      if (!peer.#ended) await open()
    }
    await open()
    peer.#close = async () => {
      await renewed
      await current?.close()
    }
    return peer
  }
}

function portOf(server: Server | HttpServer): number {
  const address = server.address()
  if (typeof address === 'object' && address) return address.port
  throw new Error('the server has no port')
}

function frameOf(text: string): Uint8Array {
  const body = Buffer.from(text)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}
