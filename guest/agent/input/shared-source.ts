import type { InputSink, InputSource } from '../../core/index.ts'
import type { InputDevice } from '../../protocol/index.ts'

/** What actually observes: started by the first who watches, kept until the agent ends. */
export interface Observer {
  /** Resolves once no input is missed any more. @throws `ATP_VERIFIER_DEVICE` */
  start(sink: InputSink): Promise<void>
  /** Observes again what has ended since. @throws `ATP_VERIFIER_DEVICE` */
  renew?(sink: InputSink): void
}

/** One observer of a device for everybody who watches it. */
export class SharedSource implements InputSource {
  readonly device: InputDevice
  readonly tolerance?: number
  readonly #observer: Observer
  readonly #sinks = new Set<InputSink>()
  readonly #all: InputSink = {
    onInput: (input) => this.#sinks.forEach((each) => each.onInput(input)),
    onGap: (reason) => this.#sinks.forEach((each) => each.onGap(reason)),
  }
  #started: Promise<void> | undefined

  constructor(device: InputDevice, observer: Observer, tolerance?: number) {
    this.device = device
    this.#observer = observer
    if (tolerance !== undefined) this.tolerance = tolerance
  }

  async watch(sink: InputSink): Promise<() => void> {
    const isFirst = this.#started === undefined
    this.#started ??= this.#observer.start(this.#all)
    try {
      await this.#started
      if (!isFirst) this.#observer.renew?.(this.#all)
    } catch (error) {
      // What could not be observed may be there the next time.
      this.#started = undefined
      throw error
    }
    this.#sinks.add(sink)
    return () => void this.#sinks.delete(sink)
  }
}
