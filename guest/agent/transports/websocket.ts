import { WebSocket, type RawData } from 'ws'
import { withDeadline, type CallOptions } from '../../../framework/core/deadline.ts'
import { connectError, messageOf, protocolError } from '../../../framework/core/errors.ts'
import { MessageQueue, type VerifierTransport } from '../../core/index.ts'
import { encodeMessage, MESSAGE_MAX_BYTES, type AgentMessage } from '../../protocol/index.ts'
import { BACKLOG_MAX_BYTES, CONNECT_TIMEOUT_MS, lost, type TlsOptions } from './connection.ts'

/** WebSocket, `ws://` or `wss://`: one text frame is one message. */
export class WebSocketTransport implements VerifierTransport {
  readonly #tls: TlsOptions
  readonly #incoming = new MessageQueue()
  #socket: WebSocket | undefined

  constructor(tls: TlsOptions = {}) {
    this.#tls = tls
  }

  async connect(endpoint: string, options: CallOptions = {}): Promise<void> {
    const { ca, servername } = this.#tls
    const socket = new WebSocket(endpoint, {
      maxPayload: MESSAGE_MAX_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
      ...(ca !== undefined && { ca }),
      ...(servername !== undefined && { servername }),
    })
    this.#socket = socket
    try {
      await withDeadline(`connecting to ${endpoint}`, { timeoutMs: CONNECT_TIMEOUT_MS, ...options }, () =>
        this.#opened(socket),
      )
    } catch (error) {
      socket.terminate()
      throw connectError('ATP_VERIFIER_CONNECT', `${endpoint} cannot be reached: ${messageOf(error)}`, { cause: error })
    }
  }

  send(message: AgentMessage): void {
    const text = encodeMessage(message)
    const socket = this.#socket
    if (!socket || socket.readyState !== WebSocket.OPEN) throw lost('the connection to the server is over')
    if (socket.bufferedAmount > BACKLOG_MAX_BYTES) throw lost('the server does not read')
    socket.send(text)
  }

  receive(): Promise<string | undefined> {
    return this.#incoming.next()
  }

  close(error?: Error): void {
    this.#incoming.end(error)
    const socket = this.#socket
    if (!socket || socket.readyState >= WebSocket.CLOSING) return
    if (error) socket.terminate()
    else socket.close()
  }

  #opened(socket: WebSocket): Promise<void> {
    return new Promise((resolve, reject) => {
      socket.on('open', resolve)
      socket.on('error', (error) => {
        reject(error)
        this.#incoming.end(failure(error))
      })
      socket.on('close', () => {
        reject(new Error('the connection was closed'))
        this.#incoming.end()
      })
      socket.on('message', (data, isBinary) => this.#receive(socket, data, isBinary))
    })
  }

  #receive(socket: WebSocket, data: RawData, isBinary: boolean): void {
    if (!isBinary) return this.#incoming.push((data as Buffer).toString())
    this.#incoming.end(
      protocolError('ATP_VERIFIER_MESSAGE', 'the server sent a binary frame; messages are text frames'),
    )
    socket.terminate()
  }
}

function failure(error: Error): Error {
  return (error as NodeJS.ErrnoException).code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    ? protocolError('ATP_VERIFIER_TOO_LARGE', `the server sent a message of more than ${MESSAGE_MAX_BYTES} bytes`)
    : lost(messageOf(error))
}
