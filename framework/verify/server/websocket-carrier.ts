import type { IncomingMessage } from 'node:http'
import type { RawData, WebSocket } from 'ws'
import { messageOf, protocolError } from '../../core/index.ts'
import { encodeMessage, type ServerMessage } from '../../../guest/protocol/index.ts'
import { FAREWELL_MS, slowReaderError, UNREAD_MAX_BYTES, type AgentCarrier, type CarrierSink } from './agent-carrier.ts'

/** RFC 6455 section 7.4.1: the peer broke a rule that has no code of its own. */
const POLICY_VIOLATION = 1008

/** An accepted WebSocket: one text frame is one message. */
export class WebSocketCarrier implements AgentCarrier {
  readonly peer: string
  readonly bearer: string | undefined
  readonly #socket: WebSocket
  #sink: CarrierSink | undefined
  #farewell: NodeJS.Timeout | undefined

  constructor(socket: WebSocket, request: IncomingMessage) {
    const { remoteAddress = 'unknown', remotePort } = request.socket
    this.peer = `websocket:${remoteAddress}:${remotePort}`
    this.bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
    this.#socket = socket
  }

  start(sink: CarrierSink): void {
    this.#sink = sink
    let failure: string | undefined
    this.#socket.on('message', (data, isBinary) => this.#read(data, isBinary))
    // `ws` closes the connection itself after a frame that is too large or broken.
    this.#socket.on('error', (error) => (failure = messageOf(error)))
    this.#socket.on('close', (code) => {
      clearTimeout(this.#farewell)
      sink.onClose(failure ?? `the agent ended the connection (${code})`)
    })
  }

  send(message: ServerMessage): void {
    if (this.#farewell || this.#socket.readyState !== this.#socket.OPEN) return
    this.#socket.send(encodeMessage(message))
    if (this.#socket.bufferedAmount > UNREAD_MAX_BYTES) this.#sink?.onFault(slowReaderError(this.peer))
  }

  end(): void {
    if (this.#farewell) return
    this.#farewell = setTimeout(() => this.#socket.terminate(), FAREWELL_MS)
    this.#socket.close(POLICY_VIOLATION)
  }

  destroy(): void {
    clearTimeout(this.#farewell)
    this.#socket.terminate()
  }

  #read(data: RawData, isBinary: boolean): void {
    if (this.#farewell) return
    if (!isBinary) return this.#sink?.onText(String(data))
    this.#sink?.onFault(protocolError('ATP_VERIFIER_MESSAGE', 'a verifier message is malformed: it is no text frame'))
  }
}
