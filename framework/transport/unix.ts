import { connect, type Socket } from 'node:net'
import {
  configError,
  connectError,
  interrupted,
  messageOf,
  timeoutError,
  type AtpError,
  type CallOptions,
} from '../core/index.ts'
import type { ByteSink, ByteStream } from '../wire/byte-stream.ts'

/** Longest socket path Linux accepts (`sun_path` is 108 bytes with its NUL). */
const UNIX_PATH_MAX_BYTES = 107

const READ_BUFFER_BYTES = 65_536
const TAKEN = Promise.resolve()

/**
 * Connects to a Unix socket.
 *
 * @throws `ATP_TRANSPORT_PATH` for a path no socket can have, `ATP_TRANSPORT_CONNECT` when nobody listens
 *   there or access is denied, `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function connectUnix(path: string, { signal, timeoutMs }: CallOptions = {}): Promise<ByteStream> {
  const sizeBytes = Buffer.byteLength(path)
  if (sizeBytes === 0 || sizeBytes > UNIX_PATH_MAX_BYTES || path.includes('\0')) {
    return Promise.reject(
      configError('ATP_TRANSPORT_PATH', `${JSON.stringify(path)} cannot be the path of a Unix socket`, {
        remedy: `use a path of 1 to ${UNIX_PATH_MAX_BYTES} bytes; this one has ${sizeBytes}`,
      }),
    )
  }
  if (signal?.aborted) return Promise.reject(interrupted(`connecting to unix:${path}`, signal))
  return new Promise((resolve, reject) => {
    const stream = new UnixStream(path, (error) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      if (error) reject(error)
      else resolve(stream)
    })
    const onAbort = () => stream.destroy(interrupted(`connecting to unix:${path}`, signal))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            stream.destroy(
              timeoutError('ATP_TRANSPORT_TIMEOUT', `unix:${path} did not accept a connection within ${timeoutMs} ms`),
            )
          }, timeoutMs)
  })
}

class UnixStream implements ByteStream {
  readonly peer: string
  readonly #socket: Socket
  #sink: ByteSink | undefined
  #connected = false
  /** Bytes that came before {@link start} or in spite of {@link pause}: at most a chunk or two. */
  #held: Uint8Array[] = []
  #paused = false
  #reason: Error | undefined
  #closed = false

  constructor(path: string, onConnect: (error?: Error) => void) {
    this.peer = `unix:${path}`
    // One read buffer for the socket's life: the small copy is cheaper than the stream machinery.
    this.#socket = connect({
      path,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
        callback: (sizeBytes, buffer) => {
          this.#receive(Buffer.copyBytesFrom(buffer, 0, sizeBytes))
          return this.#sink !== undefined && !this.#paused
        },
      },
    })
    this.#socket.setMaxListeners(0)
    this.#socket.once('connect', () => {
      this.#connected = true
      // What comes before somebody listens stays in the kernel.
      this.#socket.pause()
      onConnect()
    })
    this.#socket.on('error', (error) => {
      this.#reason ??= this.#connected ? lostError(this.peer, error) : refusedError(this.peer, error)
    })
    this.#socket.once('close', () => {
      this.#closed = true
      if (this.#connected) this.#deliver()
      else onConnect(this.#reason ?? refusedError(this.peer, 'closed'))
    })
  }

  start(sink: ByteSink): void {
    this.#sink = sink
    this.#deliver()
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed || this.#socket.destroyed || this.#socket.writableEnded) {
      return Promise.reject(closedError(this.peer, this.#reason))
    }
    if (this.#socket.write(bytes)) return TAKEN
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#socket.off('drain', settle)
        this.#socket.off('close', settle)
        if (this.#socket.destroyed) reject(closedError(this.peer, this.#reason))
        else resolve()
      }
      this.#socket.on('drain', settle)
      this.#socket.on('close', settle)
    })
  }

  pause(): void {
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  destroy(error?: Error): void {
    if (this.#closed) return
    this.#reason ??= error
    this.#held = []
    this.#paused = false
    this.#socket.destroy()
  }

  #receive(chunk: Uint8Array): void {
    if (this.#sink && !this.#paused && this.#held.length === 0) this.#sink.onData(chunk)
    else this.#held.push(chunk)
  }

  #deliver(): void {
    const sink = this.#sink
    if (!sink) return
    while (this.#held.length > 0 && !this.#paused) sink.onData(this.#held.shift() as Uint8Array)
    if (this.#paused) return
    if (!this.#closed) this.#socket.resume()
    else {
      this.#sink = undefined
      sink.onClose(this.#reason)
    }
  }
}

function refusedError(peer: string, cause: unknown): AtpError {
  const code = (cause as NodeJS.ErrnoException).code
  return connectError('ATP_TRANSPORT_CONNECT', `cannot connect to ${peer}: ${code ?? messageOf(cause)}`, {
    cause,
    context: { peer, errno: code },
    retryable: code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'EAGAIN',
    remedy:
      code === 'EACCES' || code === 'EPERM'
        ? 'run as a user who may open this socket'
        : 'start the program that listens there, or correct the path',
  })
}

function lostError(peer: string, cause: unknown): AtpError {
  return connectError('ATP_TRANSPORT_LOST', `the connection to ${peer} was lost: ${messageOf(cause)}`, {
    cause,
    context: { peer },
    retryable: true,
  })
}

function closedError(peer: string, cause: Error | undefined): AtpError {
  return connectError('ATP_STREAM_CLOSED', `the stream to ${peer} is closed`, { cause })
}
