import { messageOf, type CallOptions } from '../core/index.ts'
import type { InputObserver, ObservedEvent } from '../input/api.ts'
import type { GuestClock } from './clock.ts'
import { EV_ABS, EV_KEY, EV_REL, EV_SYN, EvdevDecoder, SYN_DROPPED, type EvdevRecord } from './evdev.ts'

/** The reading half of a byte stream; what an observer needs of a virtio-serial channel. */
export interface ObservationChannel {
  start(sink: { onData(chunk: Uint8Array): void; onClose(error?: Error): void }): void
  destroy(error?: Error): void
}

const TYPES: Readonly<Record<number, ObservedEvent['type']>> = { [EV_KEY]: 'key', [EV_ABS]: 'abs', [EV_REL]: 'rel' }

/** The guest's side of an observer. */
export interface EvdevReaders {
  /** Whether all of them run. */
  alive(options?: CallOptions): Promise<boolean>
  stop(): Promise<void>
}

interface Subscriber {
  onEvent(event: ObservedEvent): void
  onGap(reason: string): void
}

/**
 * Sees what the guest's kernel reports on `/dev/input/eventN`, each device over a channel of its own.
 *
 * A gap — the kernel dropped events, or a channel closed — means that nothing can be said about the input of
 * that time; it is never counted as lost keys. A closed channel is a gap for every later subscriber too.
 */
export class EvdevObserver implements InputObserver {
  readonly level = 'kernel'
  readonly by = 'evdev'
  readonly #clock: GuestClock
  readonly #channels: readonly ObservationChannel[]
  readonly #subscribers = new Set<Subscriber>()
  readonly #readers: EvdevReaders
  #closed: string | undefined

  constructor(channels: readonly ObservationChannel[], clock: GuestClock, readers: EvdevReaders) {
    this.#channels = channels
    this.#clock = clock
    this.#readers = readers
    for (const channel of channels) {
      const decoder = new EvdevDecoder()
      channel.start({
        onData: (chunk) => {
          const arrivedNs = process.hrtime.bigint()
          for (const record of decoder.push(chunk)) this.#observe(record, arrivedNs)
        },
        onClose: (error) => this.#lost(`the observation channel closed${error ? `: ${messageOf(error)}` : ''}`),
      })
    }
  }

  /** Why nothing can be observed any more; undefined while it works. */
  get closed(): string | undefined {
    return this.#closed
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

  toHostTime(guestNs: bigint): { hostNs: bigint; boundNs: bigint } {
    return this.#clock.toHostTime(guestNs)
  }

  async calibrate(options?: CallOptions): Promise<void> {
    await this.#clock.estimate(options)
  }

  /** An observer found dead stays dead. */
  async fault(options?: CallOptions): Promise<string | undefined> {
    if (this.#closed !== undefined) return this.#closed
    try {
      if (!(await this.#readers.alive(options))) this.#lost("the guest's reader of input events has ended")
    } catch (error) {
      if (options?.signal?.aborted) throw error
      return `whether the guest's observer still works is unknown: ${messageOf(error)}`
    }
    return this.#closed
  }

  /** Ends the observation on both sides. Idempotent; rejects when the guest's side could not be stopped. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return this.#destroy()
    this.#lost('the observer was closed')
    // The guest first: its reader must not write into a channel that nobody empties.
    try {
      await this.#readers.stop()
    } finally {
      this.#destroy()
    }
  }

  #destroy(): void {
    for (const channel of this.#channels) channel.destroy()
  }

  #lost(reason: string): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    this.#gap(reason)
    this.#subscribers.clear()
  }

  #gap(reason: string): void {
    for (const subscriber of this.#subscribers) subscriber.onGap(reason)
  }

  #observe({ type, code, value, guestNs }: EvdevRecord, arrivedNs: bigint): void {
    if (type === EV_SYN && code === SYN_DROPPED)
      return this.#gap("the guest's kernel dropped input events (SYN_DROPPED)")
    const kind = TYPES[type]
    if (!kind) return
    for (const subscriber of this.#subscribers) subscriber.onEvent({ type: kind, code, value, guestNs, arrivedNs })
  }
}
