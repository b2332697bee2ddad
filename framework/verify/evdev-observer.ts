import { isAtpError, messageOf, sleep, withDeadline, type CallOptions } from '../core/index.ts'
import type { ClockWatch, HostTime, InputObserver, ObservedEvent } from '../input/api.ts'
import type { GuestClock } from './clock.ts'
import { guestError, type EvdevReaders, type ReaderState } from './evdev-readers.ts'
import { EV_ABS, EV_KEY, EV_REL, EV_SYN, SYN_DROPPED, type EvdevRecord } from './evdev.ts'
import { ReaderStream } from './reader-stream.ts'

/** What an observer needs of a virtio-serial channel. */
export interface ObservationChannel {
  start(sink: { onData(chunk: Uint8Array): void; onClose(error?: Error): void }): void
  write(bytes: Uint8Array): Promise<void>
  destroy(error?: Error): void
}

const TYPES: Readonly<Record<number, ObservedEvent['type']>> = { [EV_KEY]: 'key', [EV_ABS]: 'abs', [EV_REL]: 'rel' }
/** How often the guest's readers are asked at least, and how far apart, before something counts as missing. */
const COUNTS = 4
const COUNT_EVERY_MS = 150

interface Subscriber {
  onEvent(event: ObservedEvent): void
  onGap(reason: string): void
}

/**
 * Sees what the guest's kernel reports on `/dev/input/eventN`, each device over a channel of its own.
 *
 * A gap — the kernel dropped events, a channel closed, carried garbage, or not every byte that the guest's reader
 * wrote — means that nothing can be said about the input of that time; it is never counted as lost keys. All but the
 * first end the observation: they are a gap for every later subscriber too.
 */
export class EvdevObserver implements InputObserver {
  readonly level = 'kernel'
  readonly by = 'evdev'
  readonly #clock: GuestClock
  readonly #channels: readonly ObservationChannel[]
  readonly #streams: readonly ReaderStream[]
  readonly #subscribers = new Set<Subscriber>()
  readonly #readers: EvdevReaders
  readonly #end = Promise.withResolvers<never>()
  #closed: string | undefined
  #seenAny = false
  /** As far as is known; a program that has ended must not be stopped by its number. */
  #readersRun = true

  /** @param readers write into the channels, in the same order. */
  constructor(channels: readonly ObservationChannel[], clock: GuestClock, readers: EvdevReaders) {
    this.#channels = channels
    this.#clock = clock
    this.#readers = readers
    this.#streams = readers.greetings.map((greeting) => new ReaderStream(greeting))
    this.#end.promise.catch(() => {})
    for (const [index, channel] of channels.entries()) {
      channel.start({
        onData: (chunk) => this.#read(this.#streams[index] as ReaderStream, chunk),
        onClose: (error) => {
          this.#readersRun = false
          this.#lost(`the observation channel closed${error ? `: ${messageOf(error)}` : ''}`)
        },
      })
    }
  }

  /** Why nothing can be observed any more; undefined while it works. */
  get closed(): string | undefined {
    return this.#closed
  }

  /**
   * Waits until each channel is known to lead to its reader.
   *
   * @throws `ATP_VERIFY_GUEST`
   */
  async greeted({ timeoutMs, signal }: CallOptions): Promise<void> {
    const all = Promise.all(this.#streams.map((stream) => stream.greeted))
    try {
      await withDeadline("the greeting of the guest's readers", { timeoutMs, signal }, () =>
        Promise.race([all, this.#end.promise]),
      )
    } catch (error) {
      if (signal?.aborted || isAtpError(error, 'ATP_VERIFY_GUEST')) throw error
      throw guestError('nothing comes from its readers over their channels', messageOf(error), error)
    }
  }

  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void {
    if (this.#closed !== undefined) {
      onGap(this.#closed)
      return () => {}
    }
    const subscriber = { onEvent, onGap }
    this.#subscribers.add(subscriber)
    return () => void this.#subscribers.delete(subscriber)
  }

  get clock(): string {
    return this.#clock.source
  }

  toHostTime(guestNs: bigint, within?: { fromNs: bigint; toNs: bigint }): HostTime {
    return this.#clock.toHostTime(guestNs, within)
  }

  watchClock(options?: CallOptions): Promise<ClockWatch> {
    return this.#clock.watch(options)
  }

  /** An observer found dead, or whose channel lost something, stays dead. */
  async fault(options?: CallOptions): Promise<string | undefined> {
    if (this.#closed !== undefined) return this.#closed
    try {
      return await this.#missing(options)
    } catch (error) {
      if (options?.signal?.aborted) throw error
      return `whether the guest's observer still works is unknown: ${messageOf(error)}`
    }
  }

  /** Ends the observation on both sides. Idempotent; rejects when the guest's side could not be stopped. */
  async close(): Promise<void> {
    this.#lost('the observer was closed')
    const stop = this.#readersRun
    this.#readersRun = false
    // The guest first: its reader must not write into a channel that nobody empties.
    try {
      if (stop) await this.#readers.stop()
    } finally {
      for (const channel of this.#channels) channel.destroy()
    }
  }

  /** What the guest's readers have not passed on, or what did not arrive of it. */
  async #missing(options: CallOptions = {}): Promise<string | undefined> {
    for (let count = 1; ; count++) {
      const beforeBytes = this.#receivedBytes()
      const states = await this.#readers.states(options)
      if (this.#closed !== undefined) return this.#closed
      if (!states) {
        this.#readersRun = false
        return this.#lost("the guest's reader of input events has ended")
      }
      const difference = this.#difference(states)
      const isIdle = states.every(({ idle }) => idle)
      if (difference === undefined && isIdle) return undefined
      // The count may have overtaken the bytes, and the reader may be at work: as long as something arrives, it is.
      if (count >= COUNTS && this.#receivedBytes() === beforeBytes) {
        return difference === undefined ? "the guest's reader of input events stands still" : this.#lost(difference)
      }
      await sleep(COUNT_EVERY_MS, options.signal)
    }
  }

  #receivedBytes(): number {
    return this.#streams.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0)
  }

  #difference(states: readonly ReaderState[]): string | undefined {
    for (const [index, { writtenBytes }] of states.entries()) {
      const { receivedBytes } = this.#streams[index] as ReaderStream
      if (writtenBytes === undefined || writtenBytes === receivedBytes) continue
      return `the observation channel carried ${receivedBytes} of the ${writtenBytes} bytes that the guest's reader wrote`
    }
    return undefined
  }

  /** Ends the observation. @returns why it ended */
  #lost(reason: string): string {
    if (this.#closed !== undefined) return this.#closed
    this.#closed = reason
    this.#end.reject(guestError('its observer has ended', reason))
    this.#gap(reason)
    this.#subscribers.clear()
    return reason
  }

  #gap(reason: string): void {
    for (const subscriber of this.#subscribers) subscriber.onGap(reason)
  }

  #read(stream: ReaderStream, chunk: Uint8Array): void {
    if (this.#closed !== undefined) return
    const arrivedNs = process.hrtime.bigint()
    try {
      for (const record of stream.push(chunk)) this.#observe(record, arrivedNs)
    } catch (error) {
      if (!isAtpError(error, 'ATP_VERIFY_GARBAGE')) throw error
      this.#lost(messageOf(error))
    }
  }

  #observe({ type, code, value, guestNs }: EvdevRecord, arrivedNs: bigint): void {
    if (type === EV_SYN && code === SYN_DROPPED)
      return this.#gap("the guest's kernel dropped input events (SYN_DROPPED)")
    const kind = TYPES[type]
    if (!kind) return
    const first = this.#seenAny ? {} : { first: true as const }
    this.#seenAny = true
    const event = { type: kind, code, value, guestNs, arrivedNs, ...first }
    for (const subscriber of this.#subscribers) subscriber.onEvent(event)
  }
}
