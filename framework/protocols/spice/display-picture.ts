import { interrupted, withDeadline, type CallOptions } from '../../core/deadline.ts'
import { isAtpError } from '../../core/errors.ts'
import type { DisplayChannel } from './channels/display.ts'
import type { Pixels } from './codec/pixels.ts'
import { DisplayState, type DisplayCounters, type DisplayStateOptions } from './display/display-state.ts'
import type { Rect } from './display/geometry.ts'
import { spiceProtocolError } from './errors.ts'

/** Of a display that has not been drawn yet. */
const COMPLETE_TIMEOUT_MS = 10_000
/** How long another display may take to bring an image that this one refers to. */
const AWAITED_TIMEOUT_MS = 15_000
/** Messages held back meanwhile. */
const HELD_MAX_BYTES = 64 * 1024 * 1024

interface Message {
  type: number
  body: Uint8Array
}

/**
 * What one display channel shows: takes the channel's messages as they come, and draws them. It must be made before the
 * first of them is read, right after the channel was opened.
 *
 * What the client cannot draw is not passed over: the picture cannot be had any more until the server draws it anew.
 */
export class DisplayPicture {
  readonly #channel: DisplayChannel
  readonly #state: DisplayState
  readonly #changed = new Set<() => void>()
  readonly #unwatch: () => void
  /** Messages behind one that waits for another display. */
  #held: Message[] = []
  #heldBytes = 0
  #unsupported: Error | undefined

  constructor(channel: DisplayChannel, options?: DisplayStateOptions) {
    this.#channel = channel
    this.#state = new DisplayState(options)
    this.#state.onDamage = () => this.#tell()
    this.#state.onMark = () => this.#tell()
    this.#state.onResize = (primary) => {
      if (primary) this.#unsupported = undefined
      this.#tell()
    }
    channel.onMessage = (type, body) => this.#take({ type, body })
    this.#unwatch = channel.onStateChange(({ to }) => {
      // Who waits looks again then: at a channel that is over for good they learn why.
      if (to === 'lost' || to === 'closed' || to === 'failed') this.#reset()
    })
  }

  /** What the server sent, and what of it could not be drawn. */
  get counters(): DisplayCounters {
    return this.#state.counters
  }

  /** Size in pixels; undefined while there is no picture. */
  get size(): { width: number; height: number } | undefined {
    const { primary } = this.#state
    return primary && { width: primary.width, height: primary.height }
  }

  /**
   * A copy of the screen, or of a part of it, as a client shows it now. Waits until the server said that the first picture is complete, 10 s
   * at most.
   *
   * @throws `ATP_SPICE_UNSUPPORTED` when something was drawn that this client cannot draw, `ATP_TIMEOUT`,
   *   `ATP_INTERRUPTED`, what ended the channel.
   */
  async screenshot({
    signal,
    timeoutMs = COMPLETE_TIMEOUT_MS,
    part,
  }: CallOptions & { part?: Rect } = {}): Promise<Pixels> {
    if (!this.#isComplete) {
      await withDeadline(`a picture of ${this.#channel.place}`, { signal, timeoutMs }, async (bound) => {
        while (!this.#isComplete) await this.changed({ signal: bound })
      })
    }
    if (this.#unsupported) throw this.#unsupported
    return this.#state.screenshot(part)
  }

  /** Resolves with the next change of the picture. @throws `ATP_INTERRUPTED`, what ended the channel for good. */
  changed({ signal }: CallOptions = {}): Promise<void> {
    const { state, error, place } = this.#channel
    if (state === 'closed' || state === 'failed') {
      return Promise.reject(error ?? spiceProtocolError(place, 'the display is closed'))
    }
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(interrupted(`waiting for ${place} to change`, signal))
      const settle = () => {
        this.#changed.delete(settle)
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = () => {
        this.#changed.delete(settle)
        reject(interrupted(`waiting for ${place} to change`, signal))
      }
      this.#changed.add(settle)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Leaves the channel to others. */
  close(): void {
    this.#unwatch()
    this.#channel.onMessage = undefined
    this.#reset()
  }

  get #isComplete(): boolean {
    return this.#state.isMarked && this.#state.primary !== undefined && this.#held.length === 0
  }

  #take(message: Message): void {
    if (this.#held.length === 0) this.#handle(message)
    else this.#hold(message)
  }

  #handle(message: Message): void {
    try {
      this.#state.handle(message.type, message.body)
    } catch (error) {
      if (isAtpError(error, 'ATP_SPICE_UNSUPPORTED')) {
        this.#unsupported = error
        this.#tell()
      } else if (isAtpError(error, 'ATP_SPICE_IMAGE_AWAITED')) {
        this.#hold(message)
        void this.#await(Number(error.context['awaitedId']))
      } else throw error
    }
  }

  #hold(message: Message): void {
    this.#heldBytes += message.body.length
    if (this.#heldBytes > HELD_MAX_BYTES) {
      throw spiceProtocolError(this.#channel.place, `more than ${HELD_MAX_BYTES} bytes wait for another display`)
    }
    // Its body is only lent.
    this.#held.push({ ...message, body: new Uint8Array(message.body) })
  }

  async #await(imageId: number): Promise<void> {
    const held = this.#held
    try {
      await this.#state.glz.arrival(imageId, { timeoutMs: AWAITED_TIMEOUT_MS })
      if (held !== this.#held) return
      this.#held = []
      this.#heldBytes = 0
      for (const message of held) this.#take(message)
    } catch (error) {
      if (held === this.#held || this.#held.length === 0) this.#channel.lose(error as Error)
    }
  }

  #reset(): void {
    this.#held = []
    this.#heldBytes = 0
    this.#unsupported = undefined
    this.#state.reset()
    // What a server remembers of its client ends with the connection.
    this.#state.cache.clear()
    this.#state.glz.clear()
    this.#tell()
  }

  #tell(): void {
    for (const tell of this.#changed) tell()
  }
}
