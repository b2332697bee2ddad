import { isAtpError, withDeadline, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import type { ProtocolTarget } from '../protocol.ts'
import type { TranscriptRecorder } from '../transcript.ts'
import { parseVersion, qmpKey, type QmpEvent, type QmpGreeting, type QmpInputEvent, type QmpVersion } from './codec.ts'
import { openLibvirtMonitor, QmpSocket, type QmpConnection, type QmpListener } from './connection.ts'
import { qmpClosedError, qmpExecuteError, qmpMissedError, qmpProtocolError } from './errors.ts'
import { QmpEvents, type QmpEventsOptions } from './events.ts'

export interface QmpOptions {
  /** Time limit of every operation that names none of its own, milliseconds. Default 10000. */
  timeoutMs?: number
  /** Events one reader may leave unread before newer ones are dropped and reported. Default 1024. */
  eventLimit?: number
  /** Records both directions. */
  transcript?: TranscriptRecorder
}

/** `RunState` of QEMU's QAPI schema (qapi/run-state.json). */
export type QmpRunState =
  | 'debug'
  | 'finish-migrate'
  | 'inmigrate'
  | 'internal-error'
  | 'io-error'
  | 'paused'
  | 'postmigrate'
  | 'prelaunch'
  | 'restore-vm'
  | 'running'
  | 'save-vm'
  | 'shutdown'
  | 'suspended'
  | 'watchdog'
  | 'guest-panicked'
  | 'colo'

export interface QmpStatus {
  status: QmpRunState
  running: boolean
}

export interface SendKeyOptions extends CallOptions {
  /** How long the keys are held before they are released together, milliseconds. QEMU's default is 100. */
  holdTimeMs?: number
}

export interface InputSendEventOptions extends CallOptions {
  /** Display device (`device` of `input-send-event`) and its head; QEMU's default device without it. */
  device?: string
  head?: number
}

/**
 * A QMP session with one VM, over libvirt's monitor or QEMU's own socket.
 *
 * A session through libvirt outlives the loss of the connection to the host: what was under way rejects and is not
 * repeated, the transcript shows the gap, and later calls wait for the connection.
 *
 * Calls reject with `ATP_QMP_EXECUTE` (QEMU refused), `ATP_QMP_CLOSED`, `ATP_QMP_LOST`, `ATP_QMP_PROTOCOL`,
 * `ATP_INTERRUPTED` or a timeout error; over libvirt also with the host connection's errors.
 */
export class QmpClient {
  readonly #timeoutMs: number
  readonly #eventLimit: number
  readonly #readers = new Set<QmpEvents>()
  #connection: QmpConnection | undefined
  #closedBy: Error | undefined

  private constructor(options: QmpOptions) {
    this.#timeoutMs = options.timeoutMs ?? 10_000
    this.#eventLimit = options.eventLimit ?? 1024
  }

  /** A session through libvirt's monitor; it lives beside libvirt's own use of QMP. */
  static async overLibvirt(target: ProtocolTarget, options: QmpOptions & CallOptions = {}): Promise<QmpClient> {
    const client = new QmpClient(options)
    const listener = client.#listener(target.name, options.transcript)
    // The registration itself takes no signal. If it comes after the time limit, it is undone.
    const opening = openLibvirtMonitor(target, listener)
    try {
      client.#connection = await withDeadline(`opening QMP of ${target.name}`, client.#bounds(options), () => opening)
    } catch (error) {
      void opening.then((late) => late.close()).catch(() => {})
      throw error
    }
    return client
  }

  /**
   * A session on QEMU's monitor socket: waits for the greeting, negotiates capabilities. Owns the stream.
   *
   * @throws `ATP_QMP_NO_GREETING`, `ATP_QMP_GREETING`, `ATP_QMP_LOST`, `ATP_INTERRUPTED`.
   */
  static async overStream(stream: ByteStream, options: QmpOptions & CallOptions = {}): Promise<QmpClient> {
    const client = new QmpClient(options)
    const listener = client.#listener(stream.peer, options.transcript)
    client.#connection = await QmpSocket.open(stream, listener, client.#bounds(options))
    return client
  }

  /** QEMU's greeting. Undefined over libvirt, which keeps it to itself: ask {@link queryVersion}. */
  get greeting(): QmpGreeting | undefined {
    return this.#connection?.greeting
  }

  get closed(): boolean {
    return this.#closedBy !== undefined
  }

  /** Whether commands can be given now: false also while the connection to the host is being restored. */
  get reachable(): boolean {
    return this.#closedBy === undefined && this.#connection?.reachable === true
  }

  /** Any command. Resolves to the answer's `return` member; `T` is the caller's claim and is not checked. */
  async execute<T = unknown>(command: string, args?: object, options: CallOptions = {}): Promise<T> {
    const connection = this.#open()
    const reply = await connection.command(command, args, this.#bounds(options))
    if (reply.type === 'error') throw qmpExecuteError(connection.peer, command, reply.class, reply.desc)
    return reply.value as T
  }

  /** A line for the human monitor (`info version`); resolves to its text, errors included: HMP has no error codes. */
  async hmp(line: string, options: CallOptions = {}): Promise<string> {
    return this.#open().humanCommand(line, this.#bounds(options))
  }

  async queryVersion(options: CallOptions = {}): Promise<QmpVersion> {
    const answer = await this.execute('query-version', undefined, options)
    const version = parseVersion(answer)
    if (!version) throw qmpProtocolError('no version', JSON.stringify(answer))
    return version
  }

  async queryStatus(options: CallOptions = {}): Promise<QmpStatus> {
    const answer = await this.execute<Partial<QmpStatus> | null>('query-status', undefined, options)
    if (typeof answer?.status !== 'string' || typeof answer.running !== 'boolean') {
      throw qmpProtocolError('no status', JSON.stringify(answer))
    }
    return { status: answer.status, running: answer.running }
  }

  /** Presses and releases one key (`send-key`), named by its QKeyCode. */
  async sendKey(qcode: string, options: SendKeyOptions = {}): Promise<void> {
    await this.sendKeys([qcode], options)
  }

  /** Presses the keys one after the other, holds them together, releases them: a chord such as ctrl, alt, delete. */
  async sendKeys(qcodes: readonly string[], options: SendKeyOptions = {}): Promise<void> {
    const keys = qcodes.map(qmpKey)
    await this.execute('send-key', { keys, 'hold-time': options.holdTimeMs }, options)
  }

  /** Injects key, button and pointer events together, in order (`input-send-event`). */
  async inputSendEvent(events: readonly QmpInputEvent[], options: InputSendEventOptions = {}): Promise<void> {
    const { device, head } = options
    await this.execute('input-send-event', { device, head, events }, options)
  }

  /** Events from now on, all or those named. Throws what ended the session when it is over. */
  events(options: QmpEventsOptions = {}): QmpEvents {
    const { names, signal } = options
    return this.#subscribe((event) => names === undefined || names.includes(event.event), signal)
  }

  /**
   * The next event of that name raised after this call, even if it comes before the promise is awaited. One that was
   * raised while the connection to the host was lost does not come: the error then says so.
   */
  async waitForEvent(
    name: string,
    options: CallOptions & { where?: (event: QmpEvent) => boolean } = {},
  ): Promise<QmpEvent> {
    const { where } = options
    const events = this.#subscribe((event) => event.event === name && (!where || where(event)))
    try {
      return await withDeadline(`waiting for QMP event ${name}`, this.#bounds(options), (signal) =>
        events.receive({ signal }),
      )
    } catch (error) {
      if (events.gaps === 0 || !isAtpError(error, 'ATP_TIMEOUT')) throw error
      throw qmpMissedError(name, error)
    } finally {
      events.stop()
    }
  }

  /** Ends the session. Idempotent. Calls and readers under way reject with `ATP_QMP_CLOSED`. */
  async close(): Promise<void> {
    await this.#connection?.close()
  }

  #open(): QmpConnection {
    if (!this.#connection || this.#closedBy) throw this.#closedBy ?? qmpClosedError('a session not open yet')
    return this.#connection
  }

  #bounds(options: CallOptions): CallOptions {
    return { signal: options.signal, timeoutMs: options.timeoutMs ?? this.#timeoutMs }
  }

  #listener(vm: string, transcript: TranscriptRecorder | undefined): QmpListener {
    return {
      onEvent: (event) => {
        for (const reader of this.#readers) reader.offer(event)
      },
      onGap: () => {
        for (const reader of this.#readers) reader.miss()
      },
      onClose: (error) => {
        this.#closedBy = error
        for (const reader of this.#readers) reader.end(error)
        this.#readers.clear()
      },
      tap: transcript && ((direction, text) => transcript.record(vm, 'qmp', direction, text)),
    }
  }

  #subscribe(wants: (event: QmpEvent) => boolean, signal?: AbortSignal): QmpEvents {
    const onStop = (events: QmpEvents) => this.#readers.delete(events)
    const events = new QmpEvents({ limit: this.#eventLimit, wants, onStop, signal })
    if (this.#closedBy) events.end(this.#closedBy)
    else this.#readers.add(events)
    return events
  }
}
