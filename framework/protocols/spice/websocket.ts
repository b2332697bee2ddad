import { interrupted, type CallOptions } from '../../core/deadline.ts'
import { connectError, timeoutError } from '../../core/errors.ts'
import type { ByteSink, ByteStream } from '../../wire/byte-stream.ts'
import type { SpiceCarrier } from './link-channel.ts'

/** Bytes that may wait in the socket before writers do. */
const BUFFERED_MAX_BYTES = 1024 * 1024
const DRAIN_POLL_MS = 5
const OPEN = 1

/**
 * A carrier over WebSockets, straight to the SPICE port or to a proxy: binary frames that are nothing but a byte
 * stream. It uses the `WebSocket` of the platform, so that a browser has it too.
 *
 * @param url `ws://host:port/` or `wss://…`
 */
export function webSocketCarrier(url: string): SpiceCarrier {
  return (_, options) => openWebSocket(url, options)
}

function openWebSocket(url: string, { signal, timeoutMs }: CallOptions): Promise<ByteStream> {
  if (signal?.aborted) return Promise.reject(interrupted(`connecting to ${url}`, signal))
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, 'binary')
    socket.binaryType = 'arraybuffer'
    const stream = new WebSocketStream(url, socket)
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    const fail = (error: Error) => {
      settle()
      reject(error)
      socket.close()
    }
    const onAbort = () => fail(interrupted(`connecting to ${url}`, signal))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            const message = `${url} did not accept a WebSocket within ${Math.round(timeoutMs)} ms`
            fail(timeoutError('ATP_SPICE_WEBSOCKET_TIMEOUT', message, { retryable: true }))
          }, timeoutMs)
    socket.addEventListener('open', () => {
      settle()
      resolve(stream)
    })
    socket.addEventListener('close', ({ code }) => {
      fail(
        connectError('ATP_SPICE_WEBSOCKET', `${url} accepts no WebSocket (${code})`, {
          retryable: true,
          remedy: 'check that a SPICE server or a WebSocket proxy listens there',
        }),
      )
    })
  })
}

/** A WebSocket as a byte stream. It cannot be slowed down: what arrives while paused is kept. */
class WebSocketStream implements ByteStream {
  readonly peer: string
  readonly confidential: boolean
  readonly #socket: WebSocket
  #sink: ByteSink | undefined
  #held: Uint8Array[] = []
  #paused = false
  #end: { error: Error | undefined } | undefined

  constructor(url: string, socket: WebSocket) {
    this.peer = url
    this.confidential = url.startsWith('wss:')
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      this.#held.push(new Uint8Array(data as ArrayBuffer))
      this.#deliver()
    })
    socket.addEventListener('close', () => this.#ended(undefined))
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#deliver()
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#socket.readyState !== OPEN)
      throw connectError('ATP_STREAM_CLOSED', `the stream to ${this.peer} is closed`)
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>)
    // The interface tells of no drain; asking is all there is.
    while (this.#socket.readyState === OPEN && this.#socket.bufferedAmount > BUFFERED_MAX_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    }
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  destroy(error?: Error): void {
    this.#held = []
    this.#paused = false
    this.#socket.close()
    this.#ended(error)
  }

  #ended(error: Error | undefined): void {
    this.#end ??= { error }
    this.#deliver()
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (this.#held.length > 0 && !this.#paused) sink.onData(this.#held.shift() as Uint8Array)
    if (this.#paused || !this.#end || !this.#sink) return
    this.#sink = undefined
    sink.onClose(this.#end.error)
  }
}
