import {
  callSite,
  connectError,
  interrupted,
  logger,
  messageOf,
  timeoutError,
  type CallOptions,
} from '../../core/index.ts'
import { LengthFramer, XdrReader, type ByteStream, type XdrWriter } from '../../wire/index.ts'
import type { CallObserver, CallOutcome } from './call-observer.ts'
import { CallScheduler, remove, type ScheduledCall, type Slots } from './call-scheduler.ts'
import { beginFrame, finishFrame, rawFrame, readHeader, readRemoteError, setSerial, type FrameHeader } from './codec.ts'
import { Deadlines, type Expiring } from './deadlines.ts'
import { callTimeout, closedError, refusal, violation } from './errors.ts'
import { EventRouter } from './event-router.ts'
import { Keepalive } from './keepalive.ts'
import { operationOf } from './operations.ts'
import { KEEPALIVE, LIMIT, PROGRAM, STATUS, TYPE, VERSION } from './protocol-numbers.ts'

/** One remote procedure call. */
export interface CallSpec<T> {
  /** For messages: `reading the state of "vm-001"`. */
  what: string
  program: number
  procedure: number
  /** True for procedures the daemon's priority workers may take. */
  high?: boolean
  /** Calls with the same lane go one after the other. */
  lane?: string
  /** True for calls whose effect ends with the connection that carries them. */
  bound?: boolean
  encode?(writer: XdrWriter): void
  decode(reader: XdrReader): T
  /** Runs inside the reply's path, before any later frame is looked at. */
  onReply?(value: T): void
  /** The call succeeded after its caller had given up. */
  onLate?(value: T): void
  /** For procedures that open a stream: its receiver on the connection that carries it, known before the call is sent. */
  stream?(connection: RpcConnection, serial: number): StreamRoute
}

/** Where a stream's frames go. */
export interface StreamRoute {
  onFrame(status: number, payload: Uint8Array): void
  /** The daemon ended the stream with an error. */
  onRefused(error: Error): void
  /** The connection is gone. */
  onLost(error: Error): void
}

export interface ConnectionOptions {
  /** Default time limit of a call. */
  callTimeoutMs: number
  keepaliveIntervalMs: number
  keepaliveCount: number
  /** Told of every call that settled. */
  observe?: CallObserver | undefined
}

export interface ConnectionStats {
  /** Connections that share the calls: more than one while VMs hang. */
  connections: number
  /** Calls sent and not answered yet, given-up ones included. */
  inFlight: number
  /** Calls waiting to be sent. */
  queued: number
  /** Calls whose promise is not settled. */
  pending: number
  streams: number
  eventHandlers: number
  /** Events without a handler and stream frames of ended streams. */
  stray: number
}

interface PendingCall extends ScheduledCall<PendingCall>, Expiring {
  /** The connection it was made on, which settles it. */
  readonly owner: RpcConnection
  readonly spec: CallSpec<unknown>
  readonly frame: Buffer
  /** 0 until it is sent. */
  serial: number
  resolve(value: unknown): void
  reject(error: Error): void
  settled: boolean
  readonly submittedAtMs: number
  signal: AbortSignal | undefined
  onAbort: (() => void) | undefined
}

/**
 * The state machine between one byte stream and many calls, events and streams. Owns the byte stream.
 *
 * Every call settles: by its answer, its time limit, its signal, or the end of the connection.
 */
export class RpcConnection {
  /** Resolves when the connection ended: with the reason, or undefined when this side closed it. */
  readonly closed: Promise<Error | undefined>
  readonly events = new EventRouter()
  readonly #stream: ByteStream
  readonly #options: ConnectionOptions
  /** Calls without an answer: as many as there are slots. No Map, for the reason {@link Deadlines} is no Set. */
  readonly #sent: PendingCall[] = []
  readonly #streams = new Map<number, StreamRoute>()
  readonly #scheduler: CallScheduler<PendingCall>
  readonly #slots: Slots<PendingCall>
  readonly #first: boolean
  readonly #unsettled = new Deadlines<PendingCall>()
  readonly #framer = new LengthFramer({ minBytes: LIMIT.FRAME_MIN_BYTES, maxBytes: LIMIT.FRAME_MAX_BYTES }, (frame) =>
    this.#receive(frame),
  )
  #keepalive: Keepalive | undefined
  #ponging = false
  #serial = 0
  #strayFrames = 0
  #leaving = false
  #end: { reason: Error | undefined } | undefined
  #resolveClosed!: (reason: Error | undefined) => void

  /** @param relieves A connection to the same daemon whose calls this one carries too, from {@link share} on. */
  constructor(stream: ByteStream, options: ConnectionOptions, relieves?: RpcConnection) {
    this.#stream = stream
    this.#options = options
    this.#scheduler = relieves ? relieves.#scheduler : new CallScheduler()
    this.#slots = this.#scheduler.attach((call) => this.#transmit(call))
    this.#first = !relieves
    if (this.#first) this.share()
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve))
    stream.start({
      onData: (chunk) => this.#onData(chunk),
      onClose: (error) =>
        this.#finish(this.#leaving ? undefined : (error ?? violationOrEof(this.#framer.pendingBytes, stream.peer))),
    })
  }

  get peer(): string {
    return this.#stream.peer
  }

  /** Whether only the daemon can read what is sent. */
  get confidential(): boolean {
    return this.#stream.confidential ?? false
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  /** Whether it carries nothing now. */
  get idle(): boolean {
    return this.#scheduler.isIdle(this.#slots) && this.#streams.size === 0
  }

  /** Carries calls of the connections it shares its scheduler with. */
  share(): void {
    if (!this.#end) this.#scheduler.share(this.#slots)
  }

  /** Has `handler` called while calls wait for slots that calls without an answer hold. */
  onShortage(handler: () => void): void {
    if (!this.#end) this.#scheduler.onShortage = handler
  }

  stats(): ConnectionStats {
    return {
      connections: this.#scheduler.connections,
      inFlight: this.#scheduler.inFlight,
      queued: this.#scheduler.queued,
      pending: this.#unsettled.size,
      streams: this.#streams.size,
      eventHandlers: this.events.handlers,
      stray: this.events.stray + this.#strayFrames,
    }
  }

  /**
   * @throws `ATP_LIBVIRT_TIMEOUT`, `ATP_INTERRUPTED`, `ATP_LIBVIRT_CLOSED`, `ATP_LIBVIRT_PROTOCOL`,
   *   `ATP_WIRE_ENCODE`, or what the daemon's refusal maps to.
   */
  async call<T>(spec: CallSpec<T>, options?: CallOptions): Promise<T> {
    try {
      return await this.#submit(spec, options)
    } catch (error) {
      // V8 follows the awaits from here to the caller; noting the stack before each call costs more than its encoding.
      throw callSite(this.call).mark(error)
    }
  }

  #submit<T>(spec: CallSpec<T>, options?: CallOptions): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#end) throw this.#closedError(spec.what)
      const signal = options?.signal
      if (signal?.aborted) throw interrupted(spec.what, signal)
      const writer = beginFrame(spec.program, spec.procedure, TYPE.CALL, 0, STATUS.OK)
      spec.encode?.(writer)
      const timeoutMs = options?.timeoutMs ?? this.#options.callTimeoutMs
      const submittedAtMs = performance.now()
      const call: PendingCall = {
        owner: this,
        spec,
        frame: finishFrame(writer),
        serial: 0,
        place: 0,
        home: this.#slots,
        high: spec.high ?? false,
        bound: spec.bound ?? false,
        lane: spec.lane,
        state: 'new',
        slots: undefined,
        expiresAtMs: submittedAtMs + timeoutMs,
        expire: () => this.#giveUp(call, 'timeout', callTimeout(spec.what, timeoutMs, call.state === 'sent')),
        resolve,
        reject,
        settled: false,
        submittedAtMs,
        sentAtMs: undefined,
        signal,
        onAbort: undefined,
      }
      if (signal) {
        call.onAbort = () => this.#giveUp(call, 'interrupted', interrupted(spec.what, signal))
        signal.addEventListener('abort', call.onAbort, { once: true })
      }
      this.#unsettled.add(call)
      this.#scheduler.submit(call)
    })
  }

  /** Sends one frame of an open stream. */
  sendStream(program: number, procedure: number, serial: number, status: number, payload: Uint8Array): void {
    if (this.#end) return
    this.#write(rawFrame(program, procedure, TYPE.STREAM, serial, status, payload))
  }

  /** Forgets a stream both sides are done with. */
  releaseStream(serial: number): void {
    this.#streams.delete(serial)
  }

  /** Starts asking the daemon for signs of life; it must have said that it knows the keepalive program. */
  startKeepalive(): void {
    const { keepaliveIntervalMs, keepaliveCount } = this.#options
    if (this.#end || this.#keepalive || keepaliveIntervalMs <= 0) return
    this.#keepalive = new Keepalive({
      intervalMs: keepaliveIntervalMs,
      count: keepaliveCount,
      ping: () => this.#write(rawFrame(PROGRAM.KEEPALIVE, KEEPALIVE.PING, TYPE.MESSAGE, 0, STATUS.OK, EMPTY)),
      dead: () =>
        this.destroy(
          timeoutError(
            'ATP_LIBVIRT_SILENT',
            `${this.peer} gave no sign of life for ${keepaliveIntervalMs * (keepaliveCount + 1)} ms`,
            {
              context: { peer: this.peer },
              retryable: true,
              remedy: 'see whether the host hangs or its network is down',
            },
          ),
        ),
    })
  }

  /** This side takes its leave: the daemon may end the stream first, which then is no loss. */
  leave(): void {
    this.#leaving = true
  }

  /** Ends the connection; everything pending is rejected. Idempotent. */
  destroy(reason?: Error): void {
    this.#finish(reason)
  }

  #nextSerial(): number {
    do this.#serial = this.#serial >= 0x7fff_ffff ? 1 : this.#serial + 1
    while (this.#sent.some(({ serial }) => serial === this.#serial) || this.#streams.has(this.#serial))
    return this.#serial
  }

  #transmit(call: PendingCall): void {
    const serial = this.#nextSerial()
    setSerial(call.frame, serial)
    call.serial = serial
    this.#sent.push(call)
    if (call.spec.stream) this.#streams.set(serial, call.spec.stream(this, serial))
    this.#write(call.frame)
  }

  #write(frame: Uint8Array): void {
    // A failed write is followed by the stream's end, which settles everything.
    this.#stream.write(frame).catch(ignore)
  }

  #onData(chunk: Uint8Array): void {
    this.#keepalive?.heard()
    try {
      this.#framer.push(chunk)
    } catch (error) {
      this.destroy(violation(this.peer, error instanceof Error ? error.message : String(error), error))
    }
  }

  #receive(frame: Uint8Array): void {
    if (this.#end) return
    const reader = new XdrReader(frame)
    const header = readHeader(reader)
    if (header.version !== VERSION)
      throw new Error(`it sent version ${header.version} of program ${hex(header.program)}`)
    if (header.program === PROGRAM.KEEPALIVE) return this.#onKeepalive(header)
    if (header.program !== PROGRAM.REMOTE && header.program !== PROGRAM.QEMU) {
      throw new Error(`it sent the unknown program ${hex(header.program)}`)
    }
    switch (header.type) {
      case TYPE.REPLY:
        return this.#onReply(header, reader)
      case TYPE.MESSAGE:
        return this.events.dispatch(header.program, header.procedure, reader)
      case TYPE.STREAM:
        return this.#onStream(header, reader)
      default:
        throw new Error(`it sent a message of type ${header.type}`)
    }
  }

  #onKeepalive({ procedure, type }: FrameHeader): void {
    if (type !== TYPE.MESSAGE || (procedure !== KEEPALIVE.PING && procedure !== KEEPALIVE.PONG)) {
      throw new Error(`it sent procedure ${procedure}, type ${type} of the keepalive program`)
    }
    if (procedure === KEEPALIVE.PING && !this.#ponging) void this.#pong()
  }

  /** One answer under way is enough: a peer that only asks cannot fill our memory. */
  async #pong(): Promise<void> {
    this.#ponging = true
    try {
      await this.#stream.write(rawFrame(PROGRAM.KEEPALIVE, KEEPALIVE.PONG, TYPE.MESSAGE, 0, STATUS.OK, EMPTY))
    } catch {
      // The stream's end follows and settles everything.
    }
    this.#ponging = false
  }

  #onReply(header: FrameHeader, reader: XdrReader): void {
    const { serial, status } = header
    const call = this.#sent.find((one) => one.serial === serial)
    if (!call) {
      const route = this.#streams.get(serial)
      if (!route || status !== STATUS.ERROR) throw new Error(`it answered call ${serial}, which was not made`)
      this.#streams.delete(serial)
      return route.onRefused(refusal('the stream', readRemoteError(reader)))
    }
    const { spec } = call
    if (header.program !== spec.program || header.procedure !== spec.procedure) {
      throw new Error(`it answered call ${serial} with procedure ${header.procedure} instead of ${spec.procedure}`)
    }
    if (status === STATUS.OK) {
      const value = spec.decode(reader)
      reader.end()
      remove(this.#sent, call)
      if (call.settled) spec.onLate?.(value)
      else {
        call.owner.#settle(call, 'ok')
        spec.onReply?.(value)
        call.resolve(value)
      }
    } else if (status === STATUS.ERROR) {
      const error = refusal(spec.what, readRemoteError(reader))
      remove(this.#sent, call)
      this.#streams.delete(serial)
      if (!call.settled) {
        call.owner.#settle(call, 'error')
        call.reject(error)
      }
    } else throw new Error(`it answered call ${serial} with status ${status}`)
    this.#scheduler.finished(call)
  }

  #onStream({ serial, status }: FrameHeader, reader: XdrReader): void {
    const route = this.#streams.get(serial)
    if (!route) {
      // Data that was on its way when the stream ended.
      this.#strayFrames++
      return
    }
    if (status === STATUS.ERROR) {
      this.#streams.delete(serial)
      route.onRefused(refusal('the stream', readRemoteError(reader)))
    } else if (status === STATUS.OK || status === STATUS.CONTINUE) {
      if (reader.remaining > LIMIT.STREAM_CHUNK_MAX_BYTES)
        throw new Error(`it sent ${reader.remaining} bytes of a stream at once`)
      route.onFrame(status, reader.rest())
    } else throw new Error(`it sent status ${status} in a stream`)
  }

  #giveUp(call: PendingCall, outcome: CallOutcome, error: Error): void {
    if (call.settled) return
    this.#settle(call, outcome)
    this.#scheduler.withdraw(call)
    call.reject(error)
  }

  #settle(call: PendingCall, outcome: CallOutcome): void {
    call.settled = true
    this.#unsettled.delete(call)
    if (call.onAbort) call.signal?.removeEventListener('abort', call.onAbort)
    const { observe } = this.#options
    if (!observe) return
    const { submittedAtMs, sentAtMs, spec } = call
    const nowMs = performance.now()
    try {
      observe({
        operation: operationOf(spec.program, spec.procedure),
        outcome,
        durationMs: nowMs - submittedAtMs,
        queuedMs: (sentAtMs ?? nowMs) - submittedAtMs,
      })
    } catch (error) {
      logger('libvirt').error(`an observer of calls threw: ${messageOf(error)}`)
    }
  }

  #closedError(what: string): Error {
    const reason = this.#end?.reason
    return closedError(what, this.peer, reason)
  }

  #finish(reason: Error | undefined): void {
    if (this.#end) return
    this.#end = { reason }
    this.#keepalive?.stop()
    this.#stream.destroy(reason)
    // With the first connection all calls are over; what another one carried leaves its VMs to the rest.
    if (this.#first) this.#scheduler.clear()
    const own = this.#unsettled.clear()
    const carried = this.#sent.splice(0).filter(({ owner, settled }) => owner !== this && !settled)
    for (const call of [...own, ...carried]) {
      call.owner.#settle(call, 'closed')
      const broken = (reason as { code?: string } | undefined)?.code === 'ATP_LIBVIRT_PROTOCOL'
      call.reject(broken ? (reason as Error) : this.#closedError(call.spec.what))
    }
    if (!this.#first) this.#scheduler.detach(this.#slots)
    const routes = [...this.#streams.values()]
    this.#streams.clear()
    for (const route of routes) route.onLost(this.#closedError('the stream'))
    this.#resolveClosed(reason)
  }
}

const EMPTY = new Uint8Array(0)

function ignore(): void {}

function hex(number: number): string {
  return `0x${number.toString(16)}`
}

function violationOrEof(pendingBytes: number, peer: string): Error {
  return pendingBytes > 0
    ? violation(peer, 'it ended the connection in the middle of a message')
    : connectError('ATP_LIBVIRT_ENDED', `${peer} ended the connection`, { context: { peer }, retryable: true })
}
