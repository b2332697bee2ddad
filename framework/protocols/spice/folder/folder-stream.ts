import type { ByteSink, ByteStream } from '../../../wire/byte-stream.ts'
import { channelClosedError } from '../errors.ts'

/** What a stream needs of the channel that it shares with others. */
export interface FolderStreamHost {
  write(bytes: Uint8Array): Promise<void>
  /** Called once when it was ended from here. */
  closed(): void
  /** Stops the whole channel until the returned function is called. */
  hold(): () => void
}

/** One connection through a folder channel. A paused one holds all of them up: the channel knows no other brake. */
export class FolderStream implements ByteStream {
  readonly peer: string
  readonly #host: FolderStreamHost
  #sink: ByteSink | undefined
  #held: Uint8Array[] = []
  #release: (() => void) | undefined
  #paused = false
  #over = false
  #reason: Error | undefined

  constructor(peer: string, host: FolderStreamHost) {
    this.peer = peer
    this.#host = host
  }

  get isOver(): boolean {
    return this.#over
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#deliver()
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#over) throw channelClosedError(this.peer, this.#reason)
    await this.#host.write(bytes)
  }

  pause(): void {
    if (this.#paused || this.#over) return
    this.#paused = true
    this.#release = this.#host.hold()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#deliver()
    if (!this.#paused) this.#letGo()
  }

  destroy(error?: Error): void {
    if (this.#over) return
    this.#held = []
    this.#host.closed()
    this.end(error)
  }

  /** Bytes of the guest. */
  receive(bytes: Uint8Array): void {
    if (this.#over) return
    this.#held.push(bytes)
    this.#deliver()
  }

  /** The guest has closed it, or it ended with the channel. */
  end(reason?: Error): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#paused = false
    this.#letGo()
    this.#deliver()
  }

  #letGo(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (this.#held.length > 0 && !this.#paused) sink.onData(this.#held.shift() as Uint8Array)
    if (!this.#over || this.#paused) return
    this.#sink = undefined
    sink.onClose(this.#reason)
  }
}
