import { connectError, remoteError, timeoutError, type AtpError } from '../../core/index.ts'
import type { ByteSink, ByteStream } from '../../wire/index.ts'
import type { RpcConnection, StreamRoute } from './connection.ts'
import { STATUS } from './protocol-numbers.ts'

export interface ChannelStreamOptions {
  /**
   * What proves that the guest took bytes, which a daemon never tells: `reply` = the guest sent something
   * afterwards; `explicit` = only {@link ChannelStream.acknowledge}. Use `explicit` where the guest talks
   * without listening. Default `reply`.
   */
  acknowledgement?: 'reply' | 'explicit'
  /** Milliseconds a write may wait for the guest to take earlier bytes. Default 30000. */
  stallTimeoutMs?: number
  /** Bytes kept for a paused reader; beyond it the stream is aborted. Default 8 MiB. */
  maxBufferedBytes?: number
}

/**
 * A libvirt stream as a byte stream.
 *
 * Bytes a guest does not read pile up in the daemon and freeze the whole connection. Therefore at most 4 KiB
 * in at most 8 frames are sent ahead of the guest's acknowledgement; further writes wait and are sent joined.
 * A write that waits longer than `stallTimeoutMs` ends the stream with `ATP_LIBVIRT_CHANNEL_STALLED`.
 */
export interface ChannelStream extends ByteStream {
  /** The guest has taken this many more of the written bytes. Default: all that were sent. */
  acknowledge(sizeBytes?: number): void
  /** Resolves when the daemon has let go of the channel, so that it can be opened again. */
  readonly released: Promise<void>
}

const WINDOW_BYTES = 4096
const WINDOW_FRAMES = 8
const STALL_TIMEOUT_MS = 30_000
const MAX_BUFFERED_BYTES = 8 * 1024 * 1024
const EMPTY = new Uint8Array(0)

interface QueuedWrite {
  bytes: Uint8Array
  resolve(): void
  reject(error: Error): void
}

/** The frames of one stream of a connection; made before the call that opens it is sent. */
export class RpcStream implements ChannelStream, StreamRoute {
  readonly peer: string
  readonly released: Promise<void>
  readonly #connection: RpcConnection
  readonly #program: number
  readonly #procedure: number
  readonly #serial: number
  readonly #acknowledgement: 'reply' | 'explicit'
  readonly #stallTimeoutMs: number
  readonly #maxBufferedBytes: number
  #release!: () => void
  #sink: ByteSink | undefined
  #paused = false
  #incoming: Uint8Array[] = []
  #incomingBytes = 0
  /** The end the sink has yet to be told about. */
  #end: { error: Error | undefined } | undefined
  #toldEnd = false
  #writes: QueuedWrite[] = []
  /** Sizes of frames sent and not acknowledged. */
  #outstanding: number[] = []
  #outstandingBytes = 0
  #pumping = false
  #stallTimer: NodeJS.Timeout | undefined

  constructor(
    connection: RpcConnection,
    { program, procedure, serial, peer }: { program: number; procedure: number; serial: number; peer: string },
    options: ChannelStreamOptions = {},
  ) {
    this.#connection = connection
    this.#program = program
    this.#procedure = procedure
    this.#serial = serial
    this.peer = peer
    this.#acknowledgement = options.acknowledgement ?? 'reply'
    this.#stallTimeoutMs = options.stallTimeoutMs ?? STALL_TIMEOUT_MS
    this.#maxBufferedBytes = options.maxBufferedBytes ?? MAX_BUFFERED_BYTES
    this.released = new Promise((resolve) => (this.#release = resolve))
  }

  /** Whether the stream is over for this side; see {@link released} for the daemon's. */
  get isOver(): boolean {
    return this.#end !== undefined
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#deliver()
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#end) return Promise.reject(this.#closedError())
    if (bytes.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#writes.push({ bytes, resolve, reject })
      if (this.#pumping) return
      this.#pumping = true
      // Writes of the same turn are joined into one frame.
      queueMicrotask(() => {
        this.#pumping = false
        this.#pump()
      })
    })
  }

  acknowledge(sizeBytes = this.#outstandingBytes): void {
    let left = sizeBytes
    while (left > 0 && this.#outstanding.length > 0) {
      const first = this.#outstanding[0] as number
      const taken = Math.min(first, left)
      left -= taken
      this.#outstandingBytes -= taken
      if (taken === first) this.#outstanding.shift()
      else this.#outstanding[0] = first - taken
    }
    clearTimeout(this.#stallTimer)
    this.#stallTimer = undefined
    this.#pump()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  /** With an error the daemon drops what it has not passed on; without one it passes it on first. */
  destroy(error?: Error): void {
    this.#incoming = []
    this.#incomingBytes = 0
    // A paused reader has not heard of the end yet.
    if (this.#end) return queueMicrotask(() => this.#deliver())
    this.#connection.sendStream(this.#program, this.#procedure, this.#serial, error ? STATUS.ERROR : STATUS.OK, EMPTY)
    this.#finish(error)
    // A connection that is gone answers no more.
    if (this.#connection.ended) this.#release()
  }

  onFrame(status: number, payload: Uint8Array): void {
    if (status === STATUS.OK) {
      // Either the echo of our end, or the daemon's own.
      this.#connection.releaseStream(this.#serial)
      this.#release()
      this.#finish(undefined)
    } else if (this.#end) {
      return
    } else if (payload.length === 0) {
      this.#connection.sendStream(this.#program, this.#procedure, this.#serial, STATUS.OK, EMPTY)
      this.#finish(undefined)
    } else {
      this.#incoming.push(payload)
      this.#incomingBytes += payload.length
      if (this.#acknowledgement === 'reply') this.acknowledge()
      this.#deliver()
      if (this.#incomingBytes > this.#maxBufferedBytes) this.destroy(this.#overflow())
    }
  }

  onRefused(error: Error): void {
    this.#release()
    this.#finish(error)
  }

  onLost(error: Error): void {
    this.#release()
    this.#finish(error)
  }

  #pump(): void {
    while (!this.#end && this.#writes.length > 0) {
      const roomBytes = WINDOW_BYTES - this.#outstandingBytes
      if (roomBytes === 0 || this.#outstanding.length === WINDOW_FRAMES) {
        this.#stallTimer ??= setTimeout(() => this.destroy(this.#stalled()), this.#stallTimeoutMs)
        return
      }
      const payload = this.#takeQueued(roomBytes)
      this.#outstanding.push(payload.length)
      this.#outstandingBytes += payload.length
      this.#connection.sendStream(this.#program, this.#procedure, this.#serial, STATUS.CONTINUE, payload)
    }
  }

  /** Joins queued writes into one payload; resolves those it takes whole. */
  #takeQueued(maxBytes: number): Uint8Array {
    const parts: Uint8Array[] = []
    let sizeBytes = 0
    while (sizeBytes < maxBytes) {
      const next = this.#writes[0]
      if (!next) break
      const part = next.bytes.subarray(0, maxBytes - sizeBytes)
      parts.push(part)
      sizeBytes += part.length
      if (part.length === next.bytes.length) {
        this.#writes.shift()
        next.resolve()
      } else next.bytes = next.bytes.subarray(part.length)
    }
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, sizeBytes)
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (!this.#paused && this.#incoming.length > 0) {
      const chunk = this.#incoming.shift() as Uint8Array
      this.#incomingBytes -= chunk.length
      sink.onData(chunk)
    }
    if (this.#end && this.#incoming.length === 0 && !this.#toldEnd) {
      this.#toldEnd = true
      sink.onClose(this.#end.error)
    }
  }

  #finish(error: Error | undefined): void {
    if (this.#end) return
    this.#end = { error }
    clearTimeout(this.#stallTimer)
    for (const write of this.#writes.splice(0)) write.reject(error ?? this.#closedError())
    // Not from inside a caller's own destroy().
    queueMicrotask(() => this.#deliver())
  }

  #closedError(): AtpError {
    return connectError('ATP_STREAM_CLOSED', `the stream to ${this.peer} is closed`, { cause: this.#end?.error })
  }

  #stalled(): AtpError {
    return timeoutError(
      'ATP_LIBVIRT_CHANNEL_STALLED',
      `the guest took nothing from ${this.peer} for ${this.#stallTimeoutMs} ms`,
      {
        context: { outstandingBytes: this.#outstandingBytes },
        remedy: 'check that a program in the guest has the port open and reads it',
      },
    )
  }

  #overflow(): AtpError {
    return remoteError(
      'ATP_LIBVIRT_CHANNEL_OVERFLOW',
      `${this.peer} sent more than ${this.#maxBufferedBytes} bytes while its reader was paused`,
      { remedy: 'read faster, or let the guest wait for acknowledgements' },
    )
  }
}
