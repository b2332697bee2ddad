import { connectError, timeoutError, withDeadline, type CallOptions } from '../core/index.ts'

const MAX_BUFFERED = 1_048_576

/** The part of a byte stream that serial steps use. */
export interface SerialStream {
  readonly peer: string
  start(sink: { onData(chunk: Uint8Array): void; onClose(error?: Error): void }): void
  write(bytes: Uint8Array): Promise<void>
  destroy(): void
}

/** Text over a byte channel into the guest: send, and wait for an answer. */
export class SerialPort {
  readonly #stream: SerialStream
  readonly #decoder = new TextDecoder()
  #text = ''
  #closed: Error | undefined
  #changed: () => void = () => {}

  constructor(stream: SerialStream) {
    this.#stream = stream
    stream.start({
      onData: (chunk) => {
        this.#text = (this.#text + this.#decoder.decode(chunk, { stream: true })).slice(-MAX_BUFFERED)
        this.#changed()
      },
      onClose: (error) => {
        this.#closed = error ?? connectError('ATP_SCENARIO_SERIAL_CLOSED', `${stream.peer} was closed`)
        this.#changed()
      },
    })
  }

  async send(text: string, options: CallOptions): Promise<void> {
    await withDeadline(`sending to ${this.#stream.peer}`, options, () =>
      this.#stream.write(new TextEncoder().encode(text)),
    )
  }

  /**
   * Waits until what arrived since the last match satisfies `find`, which returns the end of the match.
   *
   * @throws `ATP_SCENARIO_SERIAL_SILENT` with what did arrive, or the error that closed the port.
   */
  async expect(
    what: string,
    find: (text: string) => { end: number; match: string } | undefined,
    options: CallOptions,
  ): Promise<string> {
    try {
      return await withDeadline(`waiting for ${what} on ${this.#stream.peer}`, options, async (signal) => {
        for (;;) {
          const found = find(this.#text)
          if (found) {
            this.#text = this.#text.slice(found.end)
            return found.match
          }
          if (this.#closed) throw this.#closed
          await new Promise<void>((resolve) => {
            this.#changed = resolve
            signal.addEventListener('abort', () => resolve(), { once: true })
          })
          signal.throwIfAborted()
        }
      })
    } catch (error) {
      if (options.signal?.aborted || this.#closed) throw error
      const arrived =
        this.#text === '' ? 'nothing arrived' : `what arrived is ${JSON.stringify(this.#text.slice(-400))}`
      throw timeoutError('ATP_SCENARIO_SERIAL_SILENT', `${what} did not come from ${this.#stream.peer}: ${arrived}`, {
        verdict: 'product',
        cause: error,
      })
    }
  }

  /**
   * Waits for a text, or for what a regular expression matches; resolves to what matched.
   *
   * @throws what {@link expect} throws.
   */
  async expectText(
    { contains, matches }: { contains?: string; matches?: string },
    options: CallOptions,
  ): Promise<string> {
    const pattern = matches === undefined ? undefined : new RegExp(matches, 'u')
    const what = contains === undefined ? `/${matches}/` : JSON.stringify(contains)
    const find = (arrived: string) => {
      if (contains === undefined) return pattern?.exec(arrived)
      const index = arrived.indexOf(contains)
      return index < 0 ? undefined : { index, 0: contains }
    }
    return this.expect(
      what,
      (arrived) => {
        const found = find(arrived)
        return found ? { end: found.index + found[0].length, match: found[0] } : undefined
      },
      options,
    )
  }

  close(): void {
    this.#stream.destroy()
  }
}
