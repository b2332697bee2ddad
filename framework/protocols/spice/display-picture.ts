import { interrupted, withDeadline, type CallOptions } from '../../core/deadline.ts'
import { isAtpError } from '../../core/errors.ts'
import type { DisplayChannel } from './channels/display.ts'
import type { ImageDecoder } from './codec/image-job.ts'
import type { Pixels } from './codec/pixels.ts'
import { DisplayQueue } from './display/display-queue.ts'
import { DisplayState, type DisplayCounters, type DisplayStateOptions } from './display/display-state.ts'
import type { Rect } from './display/geometry.ts'
import type { ImageDone } from './display/images.ts'
import type { MonitorsConfig } from './display/messages.ts'
import { spiceProtocolError } from './errors.ts'

/** Of a display that has not been drawn yet. */
const COMPLETE_TIMEOUT_MS = 10_000

export interface DisplayPictureOptions extends DisplayStateOptions {
  /**
   * Decodes elsewhere what would keep this thread busy for long: QUIC, JPEG and packed images, and frames of video. By
   * default all is decoded in this thread.
   */
  decode?: ImageDecoder | undefined
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
  readonly #queue: DisplayQueue
  #unsupported: Error | undefined

  constructor(channel: DisplayChannel, { decode, ...options }: DisplayPictureOptions = {}) {
    this.#channel = channel
    this.#state = new DisplayState(options)
    this.#queue = new DisplayQueue({
      state: this.#state,
      decode,
      handle: (type, body, done) => this.#handle(type, body, done),
      hold: () => channel.hold(),
      onError: (error) => channel.lose(error),
    })
    this.#state.onDamage = () => this.#tell()
    this.#state.onMark = () => this.#tell()
    this.#state.onResize = (primary) => {
      if (primary) this.#unsupported = undefined
      this.#tell()
    }
    channel.onMessage = (type, body) => this.#queue.take(type, body)
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

  /** The monitors that the guest put on the screen, each a part of it; undefined until the server told. */
  get monitors(): MonitorsConfig | undefined {
    return this.#state.monitors
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
    if (this.#isComplete && this.#queue.isEmpty) return this.#copy(part)
    return await withDeadline(`a picture of ${this.#channel.place}`, { signal, timeoutMs }, async (bound) => {
      // What came before this call is part of the picture.
      await this.#queue.settled()
      while (!this.#isComplete) await this.changed({ signal: bound })
      // Here and not later, when there may be no picture again.
      return this.#copy(part)
    })
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
    return this.#state.isMarked && this.#state.primary !== undefined
  }

  #copy(part: Rect | undefined): Pixels {
    if (this.#unsupported) throw this.#unsupported
    return this.#state.screenshot(part)
  }

  #handle(type: number, body: Uint8Array, done: ImageDone | undefined): void {
    try {
      this.#state.handle(type, body, done)
    } catch (error) {
      if (!isAtpError(error, 'ATP_SPICE_UNSUPPORTED')) throw error
      this.#unsupported = error
      this.#tell()
    }
  }

  #reset(): void {
    this.#queue.clear()
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
