import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { withDeadline, type CallOptions } from '../../../framework/core/deadline.ts'
import { connectError, messageOf } from '../../../framework/core/errors.ts'
import { MessageQueue, type VerifierTransport } from '../../core/index.ts'
import { lengthFraming, type AgentMessage } from '../../protocol/index.ts'
import { BACKLOG_MAX_BYTES, CONNECT_TIMEOUT_MS, lost, type TlsOptions } from './connection.ts'
import { parseEndpoint } from './endpoint.ts'

/** TCP, TLS over TCP, or a Unix socket: each message follows its length. */
export class SocketTransport implements VerifierTransport {
  readonly #tls: TlsOptions
  readonly #incoming = new MessageQueue()
  #socket: Socket | undefined

  constructor(tls: TlsOptions = {}) {
    this.#tls = tls
  }

  /** @param endpoint `tcp://host:port`, `tls://host:port` or `unix:/path`. */
  async connect(endpoint: string, options: CallOptions = {}): Promise<void> {
    const { socket, ready } = this.#open(endpoint)
    this.#socket = socket
    try {
      await withDeadline(`connecting to ${endpoint}`, { timeoutMs: CONNECT_TIMEOUT_MS, ...options }, () =>
        this.#opened(socket, ready),
      )
    } catch (error) {
      socket.destroy()
      throw connectError('ATP_VERIFIER_CONNECT', `${endpoint} cannot be reached: ${messageOf(error)}`, { cause: error })
    }
  }

  send(message: AgentMessage): void {
    const frame = lengthFraming.encode(message)
    const socket = this.#socket
    if (!socket?.writable) throw lost('it is over')
    if (socket.writableLength > BACKLOG_MAX_BYTES) throw lost('the server does not read')
    socket.write(frame)
  }

  receive(): Promise<string | undefined> {
    return this.#incoming.next()
  }

  close(error?: Error): void {
    this.#incoming.end(error)
    // What was sent before still goes out.
    if (error) this.#socket?.destroy()
    else this.#socket?.destroySoon()
  }

  #open(endpoint: string): { socket: Socket; ready: 'connect' | 'secureConnect' } {
    const parsed = parseEndpoint(endpoint)
    if (parsed.transport === 'unix') return { socket: connectPlain({ path: parsed.path }), ready: 'connect' }
    if (parsed.transport !== 'tcp') throw connectError('ATP_VERIFIER_CONNECT', `${endpoint} is no address of a socket`)
    const { host, port, secure } = parsed
    if (!secure) return { socket: connectPlain({ host, port, noDelay: true }), ready: 'connect' }
    const socket = connectTls({ host, port, ...this.#tls })
    socket.setNoDelay(true)
    return { socket, ready: 'secureConnect' }
  }

  #opened(socket: Socket, ready: string): Promise<void> {
    const decoder = lengthFraming.decoder()
    return new Promise((resolve, reject) => {
      socket.on(ready, resolve)
      socket.on('error', (error) => {
        reject(error)
        this.#incoming.end(lost(messageOf(error)))
      })
      socket.on('end', () => this.#incoming.end())
      socket.on('close', () => {
        reject(new Error('the connection was closed'))
        this.#incoming.end()
      })
      socket.on('data', (chunk: Buffer) => {
        try {
          for (const text of decoder.push(chunk)) this.#incoming.push(text)
        } catch (error) {
          this.close(error as Error)
        }
      })
    })
  }
}
