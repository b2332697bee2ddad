import type { Writable } from 'node:stream'
import type { ByteSink, ByteStream } from '../wire/byte-stream.ts'
import { closedError } from './stream-errors.ts'

/** What Node gives us of a connection: one socket in both places, or the two pipes of a process. */
export interface NodeEnds {
  /** See {@link ByteStream.confidential}. */
  confidential?: boolean
  input: { pause(): unknown; resume(): unknown }
  output: Writable
  /** Ends both; {@link NodeStream.ended} is called when they are gone. */
  destroy(): void
}

const TAKEN = Promise.resolve()

/** A {@link ByteStream} over Node's own streams. Whoever makes it feeds it: {@link receive}, {@link fail}, {@link ended}. */
export class NodeStream implements ByteStream {
  readonly peer: string
  readonly confidential: boolean
  readonly #ends: NodeEnds
  #sink: ByteSink | undefined
  /** Bytes that came before {@link start} or in spite of {@link pause}: at most a chunk or two. */
  #held: Uint8Array[] = []
  #paused = false
  #reason: Error | undefined
  #closed = false
  /** What writers wait for while the output is full. */
  #drained: { promise: Promise<void>; resolve(): void; reject(error: Error): void } | undefined

  constructor(peer: string, ends: NodeEnds) {
    this.peer = peer
    this.confidential = ends.confidential ?? false
    this.#ends = ends
    ends.output.on('drain', () => {
      this.#drained?.resolve()
      this.#drained = undefined
    })
  }

  /**
   * Bytes of the peer. False: keep further ones until the input is resumed.
   *
   * @param isLent whether the chunk holds only until this returns.
   */
  receive(chunk: Uint8Array, isLent = false): boolean {
    const sink = this.#paused || this.#held.length > 0 ? undefined : this.#sink
    const isTaken = isLent && sink?.borrows !== true
    const bytes = isTaken ? Buffer.from(chunk) : chunk
    if (sink) sink.onData(bytes)
    else this.#held.push(bytes)
    return this.#sink !== undefined && !this.#paused
  }

  /** Why the ends are about to go; the first reason counts. */
  fail(reason: Error): void {
    this.#reason ??= reason
  }

  /** The ends are gone. */
  ended(): void {
    if (this.#closed) return
    this.#closed = true
    this.#drained?.reject(closedError(this.peer, this.#reason))
    this.#drained = undefined
    this.#deliver()
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#deliver()
  }

  write(bytes: Uint8Array): Promise<void> {
    const { output } = this.#ends
    if (this.#closed || !output.writable) return Promise.reject(closedError(this.peer, this.#reason))
    if (output.write(bytes)) return TAKEN
    this.#drained ??= Promise.withResolvers<void>()
    return this.#drained.promise
  }

  pause(): void {
    this.#paused = true
    this.#ends.input.pause()
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  destroy(error?: Error): void {
    this.#held = []
    this.#paused = false
    // A paused reader has not heard of the end yet.
    if (this.#closed) return queueMicrotask(() => this.#deliver())
    if (error) this.fail(error)
    this.#ends.destroy()
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (this.#held.length > 0 && !this.#paused) sink.onData(this.#held.shift() as Uint8Array)
    // The sink may have paused and resumed meanwhile: then that has told it the end.
    if (this.#paused || this.#sink !== sink) return
    if (!this.#closed) this.#ends.input.resume()
    else {
      this.#sink = undefined
      sink.onClose(this.#reason)
    }
  }
}
