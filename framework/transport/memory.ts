import type { ByteSink, ByteStream } from '../wire/byte-stream.ts'
import { closedError } from './stream-errors.ts'

/** Bytes one side may have under way before its writes wait. */
const CAPACITY_BYTES = 65_536

/** Two streams whose ends are each other: what one writes the other receives, in a later turn of the loop. */
export function memoryPair(): [ByteStream, ByteStream] {
  const left = new MemoryStream('memory:left')
  const right = new MemoryStream('memory:right')
  left.attach(right)
  right.attach(left)
  return [left, right]
}

class MemoryStream implements ByteStream {
  readonly peer: string
  #other: MemoryStream | undefined
  #sink: ByteSink | undefined
  #incoming: { bytes: Uint8Array; taken?: () => void; refused?: (error: Error) => void }[] = []
  #incomingBytes = 0
  #paused = false
  #scheduled = false
  #end: { error: Error | undefined } | undefined

  constructor(peer: string) {
    this.peer = peer
  }

  attach(other: MemoryStream): void {
    this.#other = other
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#schedule()
  }

  write(bytes: Uint8Array): Promise<void> {
    const other = this.#other as MemoryStream
    if (this.#end || other.#end) return Promise.reject(closedError(this.peer))
    other.#incomingBytes += bytes.length
    other.#schedule()
    const copy = Uint8Array.from(bytes)
    if (other.#incomingBytes <= CAPACITY_BYTES) {
      other.#incoming.push({ bytes: copy })
      return Promise.resolve()
    }
    return new Promise((taken, refused) => other.#incoming.push({ bytes: copy, taken, refused }))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#schedule()
  }

  destroy(error?: Error): void {
    if (this.#end) return
    this.#end = { error }
    const other = this.#other as MemoryStream
    // Nobody reads what came; what was written here is still delivered there, though its writers wait no longer.
    for (const { refused } of this.#incoming.splice(0)) refused?.(closedError(other.peer))
    for (const { refused } of other.#incoming) refused?.(closedError(this.peer))
    this.#schedule()
    other.peerEnded()
  }

  /** The other side ended: what it wrote before is still delivered, then the end. */
  peerEnded(): void {
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (!this.#end && !this.#paused) {
      const next = this.#incoming.shift()
      if (!next) break
      this.#incomingBytes -= next.bytes.length
      next.taken?.()
      sink.onData(next.bytes)
    }
    const drained = this.#incoming.length === 0 && !this.#paused
    if (!this.#end && drained && (this.#other as MemoryStream).#end) this.#end = { error: undefined }
    if (this.#end) {
      this.#sink = undefined
      sink.onClose(this.#end.error)
    }
  }
}
