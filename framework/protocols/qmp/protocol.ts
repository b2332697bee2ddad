import { configError, type AtpError, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import type { Protocol, ProtocolBuilder, ProtocolTarget } from '../protocol.ts'
import { QmpClient, type QmpOptions } from './client.ts'
import type { QmpCommand } from './codec.ts'
import { qmpClosedError, qmpNoSocketError } from './errors.ts'
import type { QmpEvents } from './events.ts'

/** How to reach QEMU's own monitor socket. Its path comes from the domain's XML and is never guessed. */
export interface QmpSocketRoute {
  /** The monitor socket's path that the domain XML names, if it names one. */
  pathOf(xml: string): string | undefined
  connect(path: string, options: CallOptions): Promise<ByteStream>
}

export interface QmpProtocolOptions extends QmpOptions {
  /** Speak to QEMU's own socket instead of libvirt's monitor. */
  socket?: QmpSocketRoute
}

/**
 * QMP behind the common interface.
 *
 * `send` takes one command as JSON bytes, `{"execute": …, "arguments": …}`, and resolves when QEMU has answered
 * it; it rejects with `ATP_QMP_EXECUTE` if QEMU refused. Answers with content are for {@link client}.
 * `receive` delivers the VM's events since `connect`, one a call, as JSON bytes.
 */
export class QmpProtocol implements Protocol {
  readonly type = 'qmp'
  readonly #options: QmpProtocolOptions
  #session: { client: QmpClient; events: QmpEvents } | undefined

  constructor(options: QmpProtocolOptions = {}) {
    this.#options = options
  }

  /** The typed verbs. @throws `ATP_QMP_CLOSED` while not connected. */
  get client(): QmpClient {
    return this.#connected().client
  }

  /** Does nothing when connected already. @throws `ATP_QMP_NO_SOCKET` and what {@link QmpClient} throws. */
  async connect(target: ProtocolTarget, options: CallOptions = {}): Promise<void> {
    if (this.isConnected()) return
    await this.disconnect()
    const client = await this.#openClient(target, options)
    this.#session = { client, events: client.events() }
  }

  async disconnect(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.client.close()
  }

  /** False also while the connection to the host is lost; true again once it is restored, without a new `connect`. */
  isConnected(): boolean {
    return this.#session?.client.reachable === true
  }

  async send(message: Uint8Array, options: CallOptions = {}): Promise<void> {
    const command = parseCommand(message)
    await this.#connected().client.execute(command.execute, command.arguments, options)
  }

  async receive(options: CallOptions = {}): Promise<Uint8Array> {
    const event = await this.#connected().events.receive(options)
    return Buffer.from(JSON.stringify(event))
  }

  async #openClient(target: ProtocolTarget, options: CallOptions): Promise<QmpClient> {
    const { socket } = this.#options
    const bounds = { ...this.#options, ...options }
    if (!socket) return QmpClient.overLibvirt(target, bounds)
    const path = socket.pathOf(await target.xml())
    if (path === undefined) throw qmpNoSocketError(target.name)
    return QmpClient.overStream(await socket.connect(path, options), bounds)
  }

  #connected() {
    if (!this.#session) throw qmpClosedError('a protocol that is not connected')
    return this.#session
  }
}

function parseCommand(message: Uint8Array): QmpCommand {
  const text = Buffer.from(message).toString('utf8')
  let command: unknown
  try {
    command = JSON.parse(text)
  } catch (cause) {
    throw notACommand(text, cause)
  }
  if (typeof command !== 'object' || command === null || typeof (command as QmpCommand).execute !== 'string') {
    throw notACommand(text)
  }
  return command as QmpCommand
}

function notACommand(text: string, cause?: unknown): AtpError {
  return configError('ATP_QMP_COMMAND', `not a QMP command: ${text.slice(0, 200)}`, {
    cause,
    remedy: 'send one JSON object such as {"execute":"query-status"}',
  })
}

export class QmpProtocolBuilder implements ProtocolBuilder<QmpProtocol> {
  readonly type = 'qmp'
  readonly #options: QmpProtocolOptions
  constructor(options: QmpProtocolOptions = {}) {
    this.#options = options
  }
  build(): QmpProtocol {
    return new QmpProtocol(this.#options)
  }
}
