import { isAtpError } from '../../../core/errors.ts'
import type { ImageDecoder } from '../codec/image-job.ts'
import type { DisplayState } from './display-state.ts'
import type { ImageDone } from './images.ts'

export interface DisplayQueueOptions {
  state: DisplayState
  /** Decodes what takes long; without it all is decoded here and at once. */
  decode: ImageDecoder | undefined
  /** Handles a message as {@link DisplayState.handle} does. */
  handle(type: number, body: Uint8Array, done?: ImageDone): void
  /** Slows the server down until the returned function is called. */
  hold(): () => void
  /** A message that waited could not be handled. */
  onError(error: Error): void
}

/** How long another display may take to bring an image that this one refers to. */
const AWAITED_TIMEOUT_MS = 15_000
/** When so much waits, the server is slowed down: enough to keep the workers busy, and a picture that is not old. */
const WAITING_MAX_JOBS = 4
const WAITING_MAX_BYTES = 32 * 1024 * 1024
/** What a waiting message weighs besides its body. */
const WAITING_EACH_BYTES = 128

interface Waiting {
  type: number
  body: Uint8Array
  done: Promise<ImageDone> | undefined
  handled: PromiseWithResolvers<void>
}

/**
 * The messages of one display, handled in the order in which they came. Most are handled at once. One whose image is
 * decoded elsewhere, or that refers to an image of another display, has those behind it wait; their images are decoded
 * meanwhile.
 */
export class DisplayQueue {
  readonly #options: DisplayQueueOptions
  #waiting: Waiting[] = []
  #waitingJobs = 0
  #waitingBytes = 0
  /** Those that are being handled one after the other. */
  #handling: Waiting[] | undefined
  #release: (() => void) | undefined

  constructor(options: DisplayQueueOptions) {
    this.#options = options
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Resolves when all messages that came so far were handled, or will not be any more. */
  async settled(): Promise<void> {
    await this.#waiting.at(-1)?.handled.promise
  }

  /** @throws what handling the message throws, where it is handled at once. The body holds until this returns. */
  take(type: number, body: Uint8Array): void {
    const { handle } = this.#options
    const isNext = this.#waiting.length === 0
    const done = this.#decode(type, body, isNext)
    if (isNext && !done) {
      try {
        return handle(type, body)
      } catch (error) {
        if (!isAtpError(error, 'ATP_SPICE_IMAGE_AWAITED')) throw error
      }
    }
    const message = { type, body: new Uint8Array(body), done, handled: Promise.withResolvers<void>() }
    this.#waiting.push(message)
    this.#count(message, 1)
    if (this.#isFull) this.#release ??= this.#options.hold()
    if (this.#handling !== this.#waiting) void this.#handleWaiting(this.#waiting)
  }

  /** Forgets what waits. */
  clear(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingJobs = 0
    this.#waitingBytes = 0
    for (const { handled } of waiting) handled.resolve()
    this.#goOn()
  }

  get #isFull(): boolean {
    return this.#waitingJobs >= WAITING_MAX_JOBS || this.#waitingBytes >= WAITING_MAX_BYTES
  }

  #count({ body, done }: Waiting, by: 1 | -1): void {
    if (done) this.#waitingJobs += by
    this.#waitingBytes += by * (body.length + WAITING_EACH_BYTES)
  }

  #goOn(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  #decode(type: number, body: Uint8Array, isNext: boolean): Promise<ImageDone> | undefined {
    const { decode, state } = this.#options
    const ahead = decode && state.job(type, body, isNext)
    if (!ahead) return undefined
    const done = decode(ahead.job).then((result) => ({ at: ahead.at, result }))
    // Whoever handles the message hears of it.
    done.catch(() => {})
    return done
  }

  /** @param waiting those of this connection: what is forgotten meanwhile is not handled. */
  async #handleWaiting(waiting: Waiting[]): Promise<void> {
    this.#handling = waiting
    try {
      for (let [first] = waiting; first; [first] = waiting) {
        const { type, body, done = this.#decode(type, body, true), handled } = first
        await this.#handle(type, body, await done, waiting)
        if (waiting !== this.#waiting) return
        waiting.shift()
        this.#count(first, -1)
        handled.resolve()
        if (!this.#isFull) this.#goOn()
      }
    } catch (error) {
      if (waiting === this.#waiting) this.#options.onError(error as Error)
    } finally {
      if (this.#handling === waiting) this.#handling = undefined
    }
  }

  /** Handles a message, when those are there that it refers to. */
  async #handle(type: number, body: Uint8Array, done: ImageDone | undefined, waiting: Waiting[]): Promise<void> {
    const { handle, state } = this.#options
    while (waiting === this.#waiting) {
      try {
        return handle(type, body, done)
      } catch (error) {
        if (!isAtpError(error, 'ATP_SPICE_IMAGE_AWAITED')) throw error
        await state.glz.arrival(Number(error.context['awaitedId']), { timeoutMs: AWAITED_TIMEOUT_MS })
      }
    }
  }
}
