import { messageOf, withDeadline, type CallOptions } from '../../core/index.ts'
import type { ByteStream } from '../../wire/byte-stream.ts'
import { RawFramer, type Framer } from '../framing.ts'
import { MessageQueue } from '../message-queue.ts'
import type { TranscriptRecorder } from '../transcript.ts'
import { channelClosedError, channelLostError, channelTruncatedError } from './errors.ts'

export interface ChannelOptions {
  /** How messages are cut. Default: not at all, every chunk is one. A framer belongs to one channel. */
  framer?: Framer
  /** Unread bytes beyond which the peer is slowed down. Default 1 MiB. */
  pauseAtBytes?: number
  /** Time limit of a call that names none, milliseconds. Default 30000. */
  timeoutMs?: number
  /** Records both directions under this VM's name. */
  transcript?: { recorder: TranscriptRecorder; vm: string; protocol: string }
}

const PAUSE_AT_BYTES = 1024 * 1024
const TIMEOUT_MS = 30_000

/** Messages over a byte stream into the guest. Owns the stream. A slow reader slows the guest down. */
export class VirtioSerialChannel {
  readonly #stream: ByteStream
  readonly #framer: Framer
  readonly #options: ChannelOptions
  readonly #pauseAtBytes: number
  readonly #messages: MessageQueue<Uint8Array>
  #paused = false
  #endedBy: Error | undefined

  constructor(stream: ByteStream, options: ChannelOptions = {}) {
    this.#stream = stream
    this.#options = options
    this.#framer = options.framer ?? new RawFramer()
    this.#pauseAtBytes = options.pauseAtBytes ?? PAUSE_AT_BYTES
    // Unlimited on purpose: pausing the stream is what bounds it, to one chunk more than the limit.
    this.#messages = new MessageQueue({
      what: `messages of ${stream.peer}`,
      limit: Number.POSITIVE_INFINITY,
      sizeOf: (message) => message.byteLength,
    })
    stream.start({
      onData: (chunk) => this.#onData(chunk),
      onClose: (error) => this.#end(this.#lost(error)),
    })
  }

  /** Where it leads, for messages. */
  get peer(): string {
    return this.#stream.peer
  }

  get closed(): boolean {
    return this.#endedBy !== undefined
  }

  /** Sends one message; resolves when the stream took it, which is not when the guest read it. */
  async send(message: Uint8Array, options: CallOptions = {}): Promise<void> {
    if (this.#endedBy) throw this.#endedBy
    const bytes = this.#framer.encode(message)
    this.#record('out', message)
    await withDeadline(`sending to ${this.peer}`, this.#bounds(options), () => this.#stream.write(bytes))
  }

  /**
   * The next message. Those that arrived before the end can still be read after it.
   *
   * @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED`, `ATP_VIRTIO_SERIAL_CLOSED`, `…_LOST`, `…_TRUNCATED`, or
   *   `ATP_PROTOCOL_FRAME` when the guest exceeded the framer's limit.
   */
  async receive(options: CallOptions = {}): Promise<Uint8Array> {
    const message = await this.#messages.next(this.#bounds(options))
    if (this.#paused && this.#messages.size < this.#pauseAtBytes / 2) {
      this.#paused = false
      this.#stream.resume()
    }
    return message
  }

  /** Ends the channel. Idempotent. `reason` becomes the cause of later calls' errors. */
  close(reason?: unknown): void {
    this.#end(channelClosedError(this.peer, reason))
  }

  #onData(chunk: Uint8Array): void {
    if (this.#endedBy) return
    try {
      for (const message of this.#framer.push(chunk)) {
        this.#record('in', message)
        this.#messages.push(message)
      }
    } catch (error) {
      return this.#end(error as Error)
    }
    if (!this.#paused && this.#messages.size > this.#pauseAtBytes) {
      this.#paused = true
      this.#stream.pause()
    }
  }

  #lost(error: Error | undefined): Error {
    const pendingBytes = this.#framer.pendingBytes
    if (!this.#endedBy) this.#record('in', Buffer.from(`<the channel ended${error ? `: ${messageOf(error)}` : ''}>`))
    return !error && pendingBytes > 0
      ? channelTruncatedError(this.peer, pendingBytes)
      : channelLostError(this.peer, error)
  }

  #end(error: Error): void {
    if (this.#endedBy) return
    this.#endedBy = error
    this.#stream.destroy()
    this.#messages.end(error)
  }

  #record(direction: 'out' | 'in', message: Uint8Array): void {
    const { transcript } = this.#options
    transcript?.recorder.record(transcript.vm, transcript.protocol, direction, message)
  }

  #bounds({ signal, timeoutMs }: CallOptions): CallOptions {
    return { signal, timeoutMs: timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS }
  }
}
