import { configError, isAtpError, stateError, withDeadline, type AtpError, type CallOptions } from '../../core/index.ts'
import type { Protocol, ProtocolBuilder, ProtocolTarget } from '../protocol.ts'
import { QgaClient, type QgaOptions } from './client.ts'
import { qgaClosedError } from './errors.ts'

/** Most answers that may wait unread. */
const UNREAD_LIMIT = 64

/**
 * The guest agent behind the common interface.
 *
 * `send` takes one command as JSON bytes, `{"execute": …, "arguments": …}`, and hands it to the agent; it does not
 * wait for the answer. `receive` delivers the answer to the oldest command whose answer was not received yet, as
 * JSON bytes: `{"return": …}`, or `{"error": {"class", "desc"}}` when the agent refused. It rejects with
 * `ATP_QGA_NOTHING_SENT` when no answer is due, since an agent never speaks unasked.
 */
export class QgaProtocol implements Protocol {
  readonly type = 'qga'
  readonly #options: QgaOptions
  #client: QgaClient | undefined
  #vm = 'a VM'
  #answers: Promise<Uint8Array>[] = []

  constructor(options: QgaOptions = {}) {
    this.#options = options
  }

  /** The typed verbs. @throws `ATP_QGA_CLOSED` while not connected. */
  get client(): QgaClient {
    if (!this.#client) throw qgaClosedError(this.#vm)
    return this.#client
  }

  /** Resolves once the agent has proved to be in step. Does nothing when connected already. */
  async connect(target: ProtocolTarget, options: CallOptions = {}): Promise<void> {
    if (this.#client) return
    const client = new QgaClient(target, this.#options)
    try {
      await client.sync(options)
    } catch (error) {
      client.close()
      throw error
    }
    this.#vm = target.name
    this.#client = client
  }

  async disconnect(): Promise<void> {
    this.#client?.close()
    this.#client = undefined
    this.#answers = []
  }

  /** False also while the connection to the host is lost; true again once it is restored, without a new `connect`. */
  isConnected(): boolean {
    return this.#client?.reachable === true
  }

  /** @throws `ATP_QGA_COMMAND` for bytes that are no command, `ATP_QGA_UNREAD` when 64 answers wait to be received. */
  async send(message: Uint8Array, options: CallOptions = {}): Promise<void> {
    const { client } = this
    const json = Buffer.from(message).toString('utf8')
    checkCommand(json)
    if (this.#answers.length >= UNREAD_LIMIT) {
      throw stateError('ATP_QGA_UNREAD', `${this.#vm}: ${UNREAD_LIMIT} answers of the guest agent wait unread`, {
        remedy: 'call receive once for each send',
      })
    }
    const answer = client.exchange(json, options).then((text) => Buffer.from(text), refusalAsAnswer)
    // Rejections belong to whoever receives this answer.
    answer.catch(() => {})
    this.#answers.push(answer)
  }

  async receive(options: CallOptions = {}): Promise<Uint8Array> {
    void this.client
    const answer = this.#answers.shift()
    if (!answer) {
      throw stateError('ATP_QGA_NOTHING_SENT', `${this.#vm}: the guest agent owes no answer`, {
        remedy: 'send a command first',
      })
    }
    try {
      return await withDeadline(`an answer of the guest agent of ${this.#vm}`, options, () => answer)
    } catch (error) {
      const gaveUp = isAtpError(error, 'ATP_TIMEOUT') || options.signal?.aborted === true
      if (gaveUp && this.#client) this.#answers.unshift(answer)
      throw error
    }
  }
}

function refusalAsAnswer(error: unknown): Uint8Array {
  if (!isAtpError(error, 'ATP_QGA_EXECUTE')) throw error
  return Buffer.from(JSON.stringify({ error: { class: 'GenericError', desc: error.context['desc'] } }))
}

function checkCommand(json: string): void {
  let cause: unknown
  try {
    const command = JSON.parse(json) as { execute?: unknown } | null
    if (typeof command?.execute === 'string') return
  } catch (error) {
    cause = error
  }
  throw notACommand(json, cause)
}

function notACommand(json: string, cause: unknown): AtpError {
  return configError('ATP_QGA_COMMAND', `not a guest agent command: ${json.slice(0, 200)}`, {
    cause,
    remedy: 'send one JSON object such as {"execute":"guest-ping"}',
  })
}

export class QgaProtocolBuilder implements ProtocolBuilder<QgaProtocol> {
  readonly type = 'qga'
  /** Time limit of one agent command, milliseconds. */
  readonly timeoutMs: number | undefined
  readonly #options: QgaOptions

  constructor(options: QgaOptions = {}) {
    this.#options = options
    this.timeoutMs = options.timeoutMs
  }

  build(): QgaProtocol {
    return new QgaProtocol(this.#options)
  }
}
