import type { InputSink, InputSource } from '../../core/index.ts'
import type { InputDevice } from '../../protocol/index.ts'

/** What actually observes: started by the first who watches, kept until the agent ends. */
export interface Observer {
  /**
   * Begins to observe what is not observed yet, or no longer: called for everybody who watches. Resolves once no input
   * is missed any more. When it throws, what was observed before still is.
   *
   * @throws `ATP_VERIFIER_DEVICE`
   */
  start(sink: InputSink): Promise<void>
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

  constructor(device: InputDevice, observer: Observer, tolerance?: number) {
    this.device = device
    this.#observer = observer
    if (tolerance !== undefined) this.tolerance = tolerance
  }

  async watch(sink: InputSink): Promise<() => void> {
    await this.#observer.start(this.#all)
    this.#sinks.add(sink)
    return () => void this.#sinks.delete(sink)
  }
}
