import { logger, messageOf, sleep } from '../core/index.ts'
import type { DisplayPicture } from '../protocols/spice/index.ts'
import { Film } from '../screen/index.ts'

/** Least time between two pictures of a film. */
const FRAME_MS = 200

/** What a SPICE display showed lately, as long as it is open. */
class ScreenRecording {
  readonly name: string
  readonly #picture: DisplayPicture
  readonly #film = new Film()
  readonly #over = new AbortController()
  readonly #work: Promise<void>

  constructor(name: string, picture: DisplayPicture) {
    this.name = name
    this.#picture = picture
    this.#work = this.#follow()
  }

  /** Ends it. @returns an animated PNG; undefined when nothing was ever shown. */
  async finish(): Promise<Uint8Array | undefined> {
    this.#over.abort()
    await this.#work
    // The last change may have come since.
    if (this.#picture.size) await this.#look().catch(() => {})
    return this.#film.toAnimatedPng(performance.now())
  }

  stop(): void {
    this.#over.abort()
  }

  async #follow(): Promise<void> {
    const { signal } = this.#over
    try {
      for (;;) {
        const changed = this.#picture.changed({ signal })
        // It is waited for after the look: what changes meanwhile must not be missed.
        changed.catch(() => {})
        // A picture that cannot be had now may be there after the next change.
        await this.#look().catch(
          (error: unknown) => logger('desktop').debug`recording the ${this.name}: ${messageOf(error)}`,
        )
        await changed
        await sleep(FRAME_MS, signal)
      }
    } catch {
      // The display is closed, or the recording over.
    }
  }

  async #look(): Promise<void> {
    if (!this.#picture.size) return
    await this.#film.add(await this.#picture.screenshot({ signal: this.#over.signal }), performance.now())
  }
}

/** Films of all SPICE pictures of one VM. */
export class ScreenRecordings {
  readonly #recordings: ScreenRecording[] = []

  /** Records a display from now on. */
  record(display: number, picture: DisplayPicture): void {
    const name = display === 0 ? 'video' : `video of display ${display}`
    this.#recordings.push(new ScreenRecording(name, picture))
  }

  /** Ends all, and hands out what they hold. */
  async finish(attach: (name: string, contentType: string, content: Uint8Array) => void): Promise<void> {
    for (const recording of this.#recordings.splice(0)) {
      const film = await recording.finish()
      if (film) attach(recording.name, 'image/png', film)
    }
  }

  /** Ends all. */
  stop(): void {
    for (const recording of this.#recordings.splice(0)) recording.stop()
  }
}
