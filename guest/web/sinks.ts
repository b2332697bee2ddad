import type { InputSink, SeenInput } from '../core/index.ts'

/** Those who watch a source. */
export class Sinks implements InputSink {
  readonly #sinks = new Set<InputSink>()

  get watched(): boolean {
    return this.#sinks.size > 0
  }

  /** Returns the function that takes it away again. */
  add(sink: InputSink): () => void {
    // The same sink may watch twice.
    const mine: InputSink = { onInput: (input) => sink.onInput(input), onGap: (reason) => sink.onGap(reason) }
    this.#sinks.add(mine)
    return () => this.#sinks.delete(mine)
  }

  onInput(input: SeenInput): void {
    for (const sink of this.#sinks) sink.onInput(input)
  }

  onGap(reason: string): void {
    for (const sink of this.#sinks) sink.onGap(reason)
  }
}
