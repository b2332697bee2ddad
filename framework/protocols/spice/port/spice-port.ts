import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import type { ByteSink, ByteStream } from '../../../wire/byte-stream.ts'
import { MessageQueue } from '../../message-queue.ts'
import type { PortChannel, PortEvent } from '../channels/data.ts'
import { channelClosedError } from '../errors.ts'

/** Bytes kept for whoever reads late. */
const UNREAD_MAX_BYTES = 4 * 1024 * 1024
const GUEST_MS = 10_000

/**
 * A port of the VM that leads to its SPICE client: the end of a virtio-serial or serial port of the guest. It ends when
 * its channel does; a new one can be opened then.
 */
export class SpicePort implements ByteStream {
  /** Called when the guest opens or closes the port, or sends a break. */
  onEvent: ((event: PortEvent) => void) | undefined
  readonly #channel: PortChannel
  readonly #end: () => Promise<void>
  readonly #received: MessageQueue<Uint8Array>
  readonly #waiting = new Set<() => void>()
  #sink: ByteSink | undefined
  #release: (() => void) | undefined
  #name: string
  #over = false
  #reason: Error | undefined

  /**
   * @param channel a port channel, open or about to be, whose handlers nobody else uses.
   * @param end closes the channel.
   */
  constructor(channel: PortChannel, end: () => Promise<void>) {
    this.#channel = channel
    this.#end = end
    this.#name = channel.portName ?? ''
    this.#received = new MessageQueue({
      what: `bytes of ${channel.place}`,
      limit: UNREAD_MAX_BYTES,
      sizeOf: (bytes) => bytes.length,
    })
    channel.onData = (bytes) => (this.#sink ? this.#sink.onData(bytes) : this.#received.push(bytes))
    channel.onEvent = (event) => {
      this.#wake()
      this.onEvent?.(event)
    }
    const unwatch = channel.onStateChange(({ to, error }) => {
      if (to === 'open') this.#name = channel.portName ?? ''
      if (to === 'open' || to === 'connecting') return
      unwatch()
      this.#finish(error)
    })
  }

  /** As the VM's XML names it. Empty until the channel is open. */
  get name(): string {
    return this.#name
  }

  get peer(): string {
    return `${this.#channel.place} ${this.#name}`
  }

  /** Whether the guest has its end open. */
  get guestOpen(): boolean {
    return !this.#over && this.#channel.guestOpen
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Waits until the guest has its end open, 10 s by default. @throws `ATP_TIMEOUT`, `ATP_SPICE_CLOSED`. */
  async waitForGuest({ signal, timeoutMs = GUEST_MS }: CallOptions = {}): Promise<void> {
    await withDeadline(`waiting for the guest to open ${this.name}`, { signal, timeoutMs }, (stop) => this.#open(stop))
  }

  /**
   * Sends text as UTF-8, or bytes, once the guest has its end open: QEMU may never deliver what comes earlier, nor what
   * follows. 10 s by default.
   *
   * @throws `ATP_TIMEOUT` when the guest does not open it, `ATP_SPICE_CLOSED`.
   */
  async send(content: string | Uint8Array, { signal, timeoutMs = GUEST_MS }: CallOptions = {}): Promise<void> {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
    await withDeadline(`sending to ${this.peer}, which the guest must open`, { signal, timeoutMs }, async (stop) => {
      await this.#open(stop)
      await this.#channel.sendData(bytes)
    })
  }

  /** Sends a break, which serial ports know; virtio-serial ports do not. */
  async sendBreak(): Promise<void> {
    await this.#channel.sendEvent('break')
  }

  /**
   * The next bytes of the guest; where they are cut means nothing.
   *
   * @throws `ATP_TIMEOUT`, `ATP_SPICE_CLOSED`, `ATP_PROTOCOL_OVERFLOW` when more than 4 MiB waited unread.
   */
  async receive(options?: CallOptions): Promise<Uint8Array> {
    return await this.#received.next(options)
  }

  /** Hands everything over to `sink` from now on; {@link receive} is over then. */
  start(sink: ByteSink): void {
    this.#sink = sink
    while (this.#received.size > 0) void this.#received.next().then((bytes) => sink.onData(bytes))
    if (this.#over) sink.onClose(this.#reason)
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#open()
    await this.#channel.sendData(bytes)
  }

  pause(): void {
    this.#release ??= this.#channel.hold()
  }

  resume(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  destroy(error?: Error): void {
    this.#finish(error)
  }

  /** Lets go of the port. */
  async close(): Promise<void> {
    this.#finish(undefined)
    await this.#end()
  }

  async #open(stop?: AbortSignal): Promise<void> {
    while (!this.guestOpen) {
      if (this.#over) throw channelClosedError(this.peer, this.#reason)
      stop?.throwIfAborted()
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
        stop?.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  #finish(reason: Error | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#channel.onData = undefined
    this.#channel.onEvent = undefined
    this.resume()
    this.#wake()
    this.#received.end(channelClosedError(this.peer, reason))
    this.#sink?.onClose(reason)
    void this.#end().catch(() => {})
  }
}
