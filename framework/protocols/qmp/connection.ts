import { interrupted, isAtpError, messageOf, withDeadline, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import { LineFramer } from '../framing.ts'
import type { ProtocolTarget } from '../protocol.ts'
import { encodeCommand, parseMessage, type QmpEvent, type QmpGreeting, type QmpMessage } from './codec.ts'
import {
  qmpClosedError,
  qmpExecuteError,
  qmpGreetingError,
  qmpLostError,
  qmpNoGreetingError,
  qmpProtocolError,
} from './errors.ts'

/** What came back for one command. */
export type QmpReply = Extract<QmpMessage, { type: 'return' | 'error' }>

/** Sees every message of a session, both ways, as text. */
type QmpTap = (direction: 'out' | 'in', text: string) => void

/** What a back end tells its client. Called from the reader: must not block or throw. */
export interface QmpListener {
  onEvent(event: QmpEvent): void
  /** The way to QEMU is interrupted: events from here until it is restored are missed. */
  onGap(): void
  /** Once, whoever ended it. */
  onClose(error: Error): void
  tap?: QmpTap
}

/** A way to a QMP server: QEMU's own socket, or libvirt's monitor. */
export interface QmpConnection {
  /** Who is spoken to, for messages. */
  readonly peer: string
  /** Only a direct connection has one: libvirt swallows its own. */
  readonly greeting: QmpGreeting | undefined
  /** False while the way to QEMU is interrupted, which only a session through libvirt outlives. */
  readonly reachable: boolean
  command(execute: string, args: object | undefined, options: CallOptions): Promise<QmpReply>
  humanCommand(line: string, options: CallOptions): Promise<string>
  /** Idempotent. Commands under way reject with `ATP_QMP_CLOSED`. */
  close(): Promise<void>
}

/**
 * Through libvirt's monitor: libvirt numbers and matches the commands itself, and a command that QEMU refuses is
 * a successful call whose text holds the error. When the connection to the host is lost, commands under way reject
 * with its error; the session works again once it is restored.
 *
 * @throws what the host connection throws when events cannot be registered.
 */
export async function openLibvirtMonitor(target: ProtocolTarget, listener: QmpListener): Promise<QmpConnection> {
  const { name: peer } = target
  const { tap } = listener
  let open = true
  let reachable = true
  const unsubscribe = await target.onMonitorEvent((event) => {
    if (!open) return
    tap?.('in', JSON.stringify(event))
    listener.onEvent({ event: event.event, timestamp: event.timestamp, data: event.data ?? {} })
  })
  const unlisten = target.onConnection?.(({ state, error }) => {
    reachable = state === 'restored'
    tap?.('in', `<the connection to the host was ${state}${error ? `: ${messageOf(error)}` : ''}>`)
    if (!reachable) listener.onGap()
  })
  return {
    peer,
    greeting: undefined,
    get reachable() {
      return open && reachable
    },
    async command(execute, args, options) {
      if (!open) throw qmpClosedError(peer)
      const json = encodeCommand({ execute, arguments: args })
      const text = await whileSaid(target.monitorCommand(json, options), () => tap?.('out', json))
      tap?.('in', text)
      const reply = parseMessage(text)
      if (reply.type !== 'return' && reply.type !== 'error') throw qmpProtocolError(`no answer to ${execute}`, text)
      return reply
    },
    async humanCommand(line, options) {
      if (!open) throw qmpClosedError(peer)
      tap?.('out', line)
      const text = await target.humanMonitorCommand(line, options)
      tap?.('in', text)
      return text
    },
    async close() {
      if (!open) return
      open = false
      unlisten?.()
      listener.onClose(qmpClosedError(peer))
      try {
        await unsubscribe()
      } catch (error) {
        // A registration ends with its connection; whoever closed that first has done the work.
        if (!isAtpError(error) || (error.branch !== 'state' && error.branch !== 'connect')) throw error
      }
    },
  }
}

/** Calls `tell` once what was asked for has left, and before its answer: telling is no part of a latency then. */
async function whileSaid<T>(answer: Promise<T>, tell: () => void): Promise<T> {
  const telling = setImmediate(() => {
    told = true
    tell()
  })
  let told = false
  try {
    return await answer
  } finally {
    clearImmediate(telling)
    if (!told) tell()
  }
}

interface Pending {
  resolve(reply: QmpReply): void
  reject(error: unknown): void
}

/**
 * Straight to QEMU's monitor socket: reads the greeting, negotiates, then matches answers by id, in whatever
 * order they come, with events in between. States: greeting → running; closed once `closedBy` is set.
 */
export class QmpSocket implements QmpConnection {
  readonly peer: string
  readonly #stream: ByteStream
  readonly #listener: QmpListener
  readonly #framer = new LineFramer()
  readonly #pending = new Map<number, Pending>()
  /** Commands whose caller gave up; their late answers are expected and dropped. */
  readonly #abandoned = new Set<number>()
  readonly #greeted = Promise.withResolvers<QmpGreeting>()
  #state: 'greeting' | 'running' = 'greeting'
  #greeting: QmpGreeting | undefined
  #closedBy: Error | undefined
  #nextId = 1

  private constructor(stream: ByteStream, listener: QmpListener) {
    this.#stream = stream
    this.#listener = listener
    this.peer = stream.peer
    this.#greeted.promise.catch(() => {})
  }

  /**
   * Greets and negotiates. Owns the stream from here on, also when it throws.
   *
   * @throws `ATP_QMP_NO_GREETING`, `ATP_QMP_GREETING`, `ATP_QMP_LOST`, `ATP_INTERRUPTED`.
   */
  static async open(stream: ByteStream, listener: QmpListener, options: CallOptions = {}): Promise<QmpSocket> {
    const socket = new QmpSocket(stream, listener)
    try {
      stream.start({
        onData: (chunk) => socket.#onData(chunk),
        onClose: (error) => socket.#onStreamClose(error),
      })
      await socket.#greet(options)
      const reply = await socket.command('qmp_capabilities', undefined, options)
      if (reply.type === 'error') throw qmpGreetingError(stream.peer, new Error(reply.desc))
      return socket
    } catch (error) {
      socket.#fail(qmpClosedError(stream.peer))
      throw error
    }
  }

  get greeting(): QmpGreeting | undefined {
    return this.#greeting
  }

  get reachable(): boolean {
    return this.#closedBy === undefined
  }

  async command(execute: string, args: object | undefined, options: CallOptions): Promise<QmpReply> {
    if (this.#closedBy) throw this.#closedBy
    const what = `QMP command ${execute} to ${this.peer}`
    if (options.signal?.aborted) throw interrupted(what, options.signal)
    const id = this.#nextId++
    const json = encodeCommand({ execute, arguments: args, id })
    const { promise, resolve, reject } = Promise.withResolvers<QmpReply>()
    this.#pending.set(id, { resolve, reject })
    // At once: what it takes to watch over the answer would be part of every latency that is measured.
    // A write that fails ends the stream, and that rejects everything pending.
    this.#stream.write(Buffer.from(`${json}\n`)).catch((error: unknown) => this.#fail(qmpLostError(this.peer, error)))
    this.#listener.tap?.('out', json)
    return withDeadline(what, options, async (signal) => {
      const onAbort = () => {
        this.#pending.delete(id)
        this.#abandoned.add(id)
        reject(interrupted(what, signal))
      }
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        return await promise
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    })
  }

  async humanCommand(line: string, options: CallOptions): Promise<string> {
    const reply = await this.command('human-monitor-command', { 'command-line': line }, options)
    if (reply.type === 'error')
      throw qmpExecuteError(this.peer, `human-monitor-command ${line}`, reply.class, reply.desc)
    if (typeof reply.value !== 'string') throw qmpProtocolError(`no text for "${line}"`, JSON.stringify(reply.value))
    return reply.value
  }

  async close(): Promise<void> {
    this.#fail(qmpClosedError(this.peer))
  }

  async #greet(options: CallOptions): Promise<void> {
    try {
      this.#greeting = await withDeadline(`the greeting of ${this.peer}`, options, () => this.#greeted.promise)
    } catch (error) {
      throw isAtpError(error, 'ATP_TIMEOUT') ? qmpNoGreetingError(this.peer, error) : error
    }
  }

  #onData(chunk: Uint8Array): void {
    try {
      for (const line of this.#framer.push(chunk)) {
        // A line may end the session; what came behind it in the same chunk is then nobody's.
        if (this.#closedBy) return
        this.#onLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString('utf8'))
      }
    } catch (error) {
      this.#fail(this.#state === 'greeting' ? qmpGreetingError(this.peer, error) : (error as Error))
    }
  }

  #onStreamClose(error: Error | undefined): void {
    this.#fail(this.#state === 'greeting' ? qmpNoGreetingError(this.peer, error) : qmpLostError(this.peer, error))
  }

  #onLine(text: string): void {
    if (text.trim() === '') return
    this.#listener.tap?.('in', text)
    const message = parseMessage(text)
    if ((message.type === 'greeting') !== (this.#state === 'greeting')) {
      throw qmpProtocolError(`${message.type === 'greeting' ? 'a second' : 'no'} greeting`, text)
    }
    if (message.type === 'greeting') {
      this.#state = 'running'
      this.#greeted.resolve(message.greeting)
    } else if (message.type === 'event') this.#listener.onEvent(message.event)
    else this.#onReply(message, text)
  }

  #onReply(reply: QmpReply, text: string): void {
    const id = reply.id as number
    const pending = this.#pending.get(id)
    if (pending) {
      this.#pending.delete(id)
      pending.resolve(reply)
    } else if (!this.#abandoned.delete(id)) {
      throw qmpProtocolError('an answer nobody asked for', text)
    }
  }

  #fail(error: Error): void {
    if (this.#closedBy) return
    this.#closedBy = error
    this.#stream.destroy()
    this.#greeted.reject(error)
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
    this.#abandoned.clear()
    this.#listener.onClose(error)
  }
}
