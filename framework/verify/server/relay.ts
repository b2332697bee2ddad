import type { Socket } from 'node:net'
import { connectError } from '../../core/index.ts'
import {
  lengthFraming,
  parseFromAgent,
  type FromAgent,
  type Hello,
  type ServerMessage,
} from '../../../guest/protocol/index.ts'
import { UNREAD_MAX_BYTES } from './agent-carrier.ts'
import type { AgentNews } from './agent-connection.ts'
import type { AgentSink, AgentWay } from './agent-way.ts'

/** What the process that accepts agents says beside the agent's own messages. */
type Control = { type: 'agent'; hello: Hello } | { type: 'lost'; reason: string } | { type: 'closed'; reason: string }

const CONTROLS: readonly unknown[] = ['agent', 'lost', 'closed'] satisfies Control['type'][]

/** One frame of a local socket between two processes of a run: JSON behind its length. @throws `ATP_VERIFIER_TOO_LARGE` */
export function encodeFrame(value: object): Uint8Array {
  return lengthFraming.encode(value as never)
}

/** Carries the way to an agent over a local socket to another process, which holds it as a {@link RelayedWay}. */
export function relayAgent(way: AgentWay, socket: Socket): (text: string) => void {
  const send = (value: object) => {
    if (socket.destroyed) return
    try {
      socket.write(encodeFrame(value))
    } catch (error) {
      return void socket.destroy(error as Error)
    }
    if (socket.writableLength > UNREAD_MAX_BYTES) socket.destroy(new Error('it does not read'))
  }
  socket.once('close', () => way.close())
  way.start({
    onAgent: (hello) => send({ type: 'agent', hello } satisfies Control),
    onMessage: ({ message }) => send(message),
    onLost: (reason) => send({ type: 'lost', reason } satisfies Control),
    onClose: (reason) => {
      send({ type: 'closed', reason } satisfies Control)
      socket.end()
    },
  })
  return (text) => way.send(JSON.parse(text) as ServerMessage)
}

/** The way to an agent that another process of the run has accepted. Owns the socket. */
export class RelayedWay implements AgentWay {
  readonly #socket: Socket
  #sink: AgentSink | undefined
  #early: string[] = []

  constructor(socket: Socket) {
    this.#socket = socket
    socket.once('close', () => this.#close('the process that accepts agents is gone'))
  }

  /** A frame of the other process. */
  read(text: string): void {
    if (!this.#sink) return void this.#early.push(text)
    const { type, hello, reason } = JSON.parse(text) as Record<string, unknown>
    if (!CONTROLS.includes(type)) return this.#sink.onMessage(newsOf(parseFromAgent(text)))
    if (type === 'agent') return this.#sink.onAgent(hello as Hello)
    if (type === 'lost') return this.#sink.onLost(String(reason))
    this.#close(String(reason))
  }

  start(sink: AgentSink): void {
    this.#sink = sink
    for (const text of this.#early.splice(0)) this.read(text)
  }

  send(message: ServerMessage): void {
    const frame = encodeFrame(message)
    if (!this.#socket.destroyed) this.#socket.write(frame)
  }

  close(): void {
    this.#sink = undefined
    this.#socket.end()
  }

  #close(reason: string): void {
    const sink = this.#sink
    this.#sink = undefined
    sink?.onClose(reason)
  }
}

function newsOf(message: FromAgent): AgentNews {
  if (message.kind === 'hello' || message.kind === 'vm-id' || message.kind === 'legacy-input') {
    throw connectError('ATP_VERIFIER_CLOSED', `the process that accepts agents passed on a ${message.kind}`)
  }
  return message
}
