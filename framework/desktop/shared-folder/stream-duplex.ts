import { Duplex } from 'node:stream'
import type { ByteStream } from '../../wire/byte-stream.ts'

/** A {@link ByteStream} as one of Node's streams, which owns it. The stream knows one end only: `end` is for both ways. */
export class StreamDuplex extends Duplex {
  readonly #stream: ByteStream

  constructor(stream: ByteStream) {
    super()
    this.#stream = stream
    stream.start({
      onData: (chunk) => {
        if (!this.push(chunk)) stream.pause()
      },
      onClose: (error) => {
        if (error) this.destroy(error)
        else this.push(null)
      },
    })
  }

  override _read(): void {
    this.#stream.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    void this.#send(chunk, done)
  }

  override _final(done: () => void): void {
    this.#stream.destroy()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.destroy(error ?? undefined)
    done(error)
  }

  async #send(chunk: Buffer, done: (error?: Error) => void): Promise<void> {
    try {
      await this.#stream.write(chunk)
    } catch (error) {
      return done(error as Error)
    }
    done()
  }
}
