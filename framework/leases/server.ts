import { once } from 'node:events'
import { chmodSync, unlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { connectError, internalError, isAtpError, logger, messageOf, stateError } from '../core/index.ts'
import type { HostDescription } from './api.ts'
import type { Broker } from './broker.ts'
import {
  BROKER_PROTOCOL,
  encodeLine,
  fromWireError,
  LineDecoder,
  toCall,
  toWireError,
  type CallMessage,
} from './codec.ts'
import { configJsonOf, servesOf } from './launch.ts'
import type { Session } from './lease-book.ts'

export interface ServerOptions {
  socketPath: string
  version: string
  /** Identity of the provider with its configuration; clients that want another one are refused. */
  serves: string
  /** The broker, or why there is none. Clients that come earlier wait for it. */
  broker: Promise<Broker>
  /** Called when a refused client could have the broker it wants if this one ended, and nobody needs this one. */
  onUnwanted: () => void
  /** Called after a connection has ended. */
  onClientGone: () => void
  onSetting: (standbys: Readonly<Record<string, number>>) => void
}

/** Answer to `hello`. */
export interface Welcome {
  pid: number
  version: string
  hosts: HostDescription[]
}

const HELLO_TIMEOUT_MS = 10_000
/** A client that does not read is dropped when this much waits for it. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024
const MAX_OPEN_CALLS = 10_000
const log = logger('leases')

/** Serves a {@link Broker} on a Unix socket. A client that breaks the protocol loses its connection; nobody else notices. */
export class BrokerServer {
  readonly #options: ServerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #firstAnswer = Promise.withResolvers<void>()

  private constructor(options: ServerOptions) {
    this.#options = options
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /**
   * Listens. Only the one who holds the directory's broker guard may call it: a socket file found there is stale.
   */
  static async listen(options: ServerOptions): Promise<BrokerServer> {
    const server = new BrokerServer(options)
    removeFile(options.socketPath)
    server.#server.listen(options.socketPath)
    await once(server.#server, 'listening')
    chmodSync(options.socketPath, 0o600)
    return server
  }

  get clients(): number {
    return this.#sockets.size
  }

  /** Resolves when the first client has been answered. */
  get told(): Promise<void> {
    return this.#firstAnswer.promise
  }

  /** Takes no new clients. */
  stopListening(): void {
    // First the name, so that nobody connects to a socket that is not served any more.
    removeFile(this.#options.socketPath)
    this.#server.close()
  }

  /** Ends all connections after what was written to them. */
  async close(): Promise<void> {
    this.stopListening()
    await Promise.all(
      [...this.#sockets].map(async (socket) => {
        const closed = once(socket, 'close').catch(() => {})
        socket.end(() => socket.destroy())
        socket.setTimeout(1000, () => socket.destroy())
        await closed
      }),
    )
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const decoder = new LineDecoder()
    const client = new Connection(socket, this.#options, this.#firstAnswer.resolve)
    socket.setTimeout(HELLO_TIMEOUT_MS, () => socket.destroy(new Error('it said nothing')))
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of decoder.push(chunk)) client.take(toCall(message))
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', (error) => log.warn(`${client.name} is dropped: ${messageOf(error)}`))
    socket.on('close', () => {
      this.#sockets.delete(socket)
      client.closed()
      this.#options.onClientGone()
    })
  }
}

/** One client. */
class Connection {
  readonly #socket: Socket
  readonly #options: ServerOptions
  readonly #gone = new AbortController()
  #session: Session | undefined
  #greeted = false
  #openCalls = 0
  #broker: Broker | undefined

  readonly #onAnswer: () => void

  constructor(socket: Socket, options: ServerOptions, onAnswer: () => void) {
    this.#onAnswer = onAnswer
    this.#socket = socket
    this.#options = options
  }

  get name(): string {
    return this.#session ? `${this.#session.kind} process ${this.#session.pid}` : 'a client'
  }

  /** @throws `ATP_BROKER_MESSAGE` for a call out of turn. */
  take(call: CallMessage): void {
    if ((call.verb === 'hello') === this.#greeted)
      throw connectError('ATP_BROKER_MESSAGE', `"${call.verb}" out of turn`)
    if (++this.#openCalls > MAX_OPEN_CALLS) throw connectError('ATP_BROKER_MESSAGE', 'too many calls at once')
    this.#greeted = true
    this.#socket.setTimeout(0)
    this.#answer(call)
      .then(
        (ok) => this.#send({ id: call.id, ok: ok ?? null }),
        (error: unknown) => {
          if (!isAtpError(error))
            log.error(`"${call.verb}" failed: ${error instanceof Error ? error.stack : String(error)}`)
          this.#send({ id: call.id, error: toWireError(error) })
        },
      )
      .finally(() => {
        this.#openCalls--
        this.#onAnswer()
      })
  }

  closed(): void {
    this.#gone.abort()
    if (this.#session) this.#broker?.leave(this.#session)
  }

  async #answer(call: CallMessage): Promise<unknown> {
    if (call.verb === 'hello') return this.#hello(call)
    const broker = this.#broker
    const session = this.#session
    if (!broker || !session) throw stateError('ATP_BROKER_REFUSED', `"${call.verb}" before the broker said welcome`)
    switch (call.verb) {
      case 'lease':
        return broker.lease(session, call.id, call.request, call.timeoutMs)
      case 'cancel':
        return broker.cancel(session, call.call)
      case 'release':
        return broker.release(session, call.lease)
      case 'end':
        session.ended = true
        return
      case 'drain':
        return broker.drain(call.run, { signal: this.#gone.signal })
      case 'status':
        return broker.status()
      case 'subscribe':
        session.subscribed = true
        return
      case 'sweep':
        return broker.sweep()
      case 'will':
        return broker.wills.add(session, call.will)
      case 'withdraw':
        return broker.wills.withdraw(session, call.will)
      case 'checkpoint':
        return broker.checkpoints.claim(session, call.id, call.key)
      case 'keep':
        return broker.keep(session, call.claim, call.lease)
      case 'give-up': {
        const error = call.error === undefined ? undefined : fromWireError(call.error)
        return broker.checkpoints.failed(session, call.claim, error)
      }
      case 'standbys':
        broker.setStandbys(call.perHost)
        return this.#options.onSetting(broker.standbys)
    }
  }

  async #hello({ protocol, version, serves, run, kind, pid }: CallMessage & { verb: 'hello' }): Promise<Welcome> {
    const mine = this.#options
    if (protocol !== BROKER_PROTOCOL || version !== mine.version) {
      throw await this.#refuse(`is of version ${mine.version}, this client of ${version}`)
    }
    if (serves !== undefined && serves !== mine.serves) {
      throw await this.#refuse('serves another lab or another configuration of it')
    }
    const broker = await mine.broker
    if (this.#gone.signal.aborted) throw connectError('ATP_BROKER_REFUSED', 'the client has gone')
    this.#broker = broker
    this.#session = { run, kind, pid, notify: (notice) => this.#send({ notice }), subscribed: false, ended: false }
    broker.join(this.#session)
    return { pid: process.pid, version: mine.version, hosts: broker.hosts }
  }

  async #refuse(why: string): Promise<Error> {
    // The client may simply start its own broker when this one is only idling, or has failed and is about to end.
    const idle = await this.#options.broker.then(
      (broker) => broker.idle,
      () => true,
    )
    if (idle) this.#options.onUnwanted()
    return stateError('ATP_BROKER_VERSION', `the lease broker that runs already (process ${process.pid}) ${why}`, {
      // A broker without VMs of its own ends with the runs it has: worth waiting for.
      retryable: idle || this.#options.serves === servesOf(undefined, configJsonOf({})),
      context: { pid: process.pid, version: this.#options.version },
      remedy: 'wait until its runs are over, or end it with `atp lab down`',
      verdict: 'infrastructure',
    })
  }

  #send(message: object): void {
    if (this.#socket.destroyed) return
    try {
      this.#socket.write(encodeLine(message))
    } catch (error) {
      const id = (message as { id?: number }).id
      if (id === undefined) log.warn(`a notice is left out: ${messageOf(error)}`)
      else
        this.#socket.write(
          encodeLine({ id, error: toWireError(internalError('ATP_BROKER_MESSAGE', messageOf(error))) }),
        )
    }
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) this.#socket.destroy(new Error('it does not read'))
  }
}

function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
