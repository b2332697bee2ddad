import { withDeadline, type CallOptions } from '../../framework/core/deadline.ts'
import { connectError, messageOf, protocolError } from '../../framework/core/errors.ts'
import { MessageQueue, type VerifierTransport } from '../core/index.ts'
import { encodeMessage, MESSAGE_MAX_BYTES, type AgentMessage } from '../protocol/index.ts'

/** Who hears what goes over a connection. */
export interface Listener {
  onSent(message: AgentMessage): void
  onReceived(text: string): void
}

const CONNECT_TIMEOUT_MS = 10_000
const BACKLOG_MAX_BYTES = 16 * 1024 * 1024

/** The browser's own WebSocket: one text frame is one message. */
export class PageTransport implements VerifierTransport {
  readonly #listener: Listener
  readonly #incoming = new MessageQueue()
  #socket: WebSocket | undefined

  constructor(listener: Listener) {
    this.#listener = listener
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  async connect(endpoint: string, options: CallOptions = {}): Promise<void> {
    try {
      await withDeadline(`connecting to ${endpoint}`, { timeoutMs: CONNECT_TIMEOUT_MS, ...options }, () =>
        this.#open(endpoint),
      )
    } catch (error) {
      this.close()
      throw connectError('ATP_VERIFIER_CONNECT', `${endpoint} cannot be reached: ${messageOf(error)}`, { cause: error })
    }
  }

  send(message: AgentMessage): void {
    const text = encodeMessage(message)
    const socket = this.#socket
    if (!socket || !this.isOpen) throw lost('it is over')
    if (socket.bufferedAmount > BACKLOG_MAX_BYTES) throw lost('the server does not read')
    socket.send(text)
    this.#listener.onSent(message)
  }

  receive(): Promise<string | undefined> {
    return this.#incoming.next()
  }

  close(error?: Error): void {
    this.#incoming.end(error)
    this.#socket?.close()
  }

  #open(endpoint: string): Promise<void> {
    const socket = new WebSocket(endpoint)
    this.#socket = socket
    return new Promise((resolve, reject) => {
      socket.addEventListener('open', () => resolve())
      // Browsers do not tell pages why.
      socket.addEventListener('error', () => {
        reject(new Error('nobody answers there'))
        this.#incoming.end(lost('the network or the server failed'))
      })
      socket.addEventListener('close', () => {
        reject(new Error('the connection was closed'))
        this.#incoming.end()
      })
      socket.addEventListener('message', ({ data }) => this.#receive(data))
    })
  }

  #receive(data: unknown): void {
    if (typeof data !== 'string') {
      return this.close(protocolError('ATP_VERIFIER_MESSAGE', 'the server sent a frame that is no text'))
    }
    // Browsers set no limit of their own. A character is at least one byte.
    if (data.length > MESSAGE_MAX_BYTES) {
      const problem = `the server sent a message of more than ${MESSAGE_MAX_BYTES} bytes`
      return this.close(protocolError('ATP_VERIFIER_TOO_LARGE', problem))
    }
    this.#listener.onReceived(data)
    this.#incoming.push(data)
  }
}

function lost(reason: string): Error {
  return connectError('ATP_VERIFIER_LOST', `the connection to the server was lost: ${reason}`, { retryable: true })
}
