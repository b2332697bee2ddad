import type { OnReadOpts, Socket } from 'node:net'
import { interrupted, type AtpError, type CallOptions } from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { NodeStream } from './node-stream.ts'
import { lateError, lostError, refusedError } from './stream-errors.ts'
import { startLimit } from './time-limit.ts'

const READ_BUFFER_BYTES = 65_536

/** One kind of socket, and what is particular to it. */
export interface SocketKind {
  peer: string
  /** See {@link ByteStream.confidential}. */
  confidential?: boolean
  /** Begins to connect; received bytes go to `onread`. */
  connect(onread: OnReadOpts): Socket
  /** The event after which bytes can be sent. */
  ready: 'connect' | 'secureConnect'
  /** Errors before {@link ready}, and after it. Default: `ATP_TRANSPORT_CONNECT`, `ATP_TRANSPORT_LOST`. */
  refused?(error: Error): AtpError
  lost?(error: Error): AtpError
}

/**
 * A connected socket as a byte stream. What is lost or interrupted on the way leaves no socket behind.
 *
 * @throws what `refused` makes, `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function connectSocket(kind: SocketKind, { signal, timeoutMs }: CallOptions): Promise<ByteStream> {
  const { peer, refused = (error) => refusedError(peer, error), lost = (error) => lostError(peer, error) } = kind
  if (signal?.aborted) return Promise.reject(interrupted(`connecting to ${peer}`, signal))
  return new Promise((resolve, reject) => {
    let ready = false
    let answered = false
    let failure: Error | undefined
    // One read buffer for the socket's life: where its bytes are copied, that is cheaper than the stream machinery.
    const socket = kind.connect({
      // No `Buffer`, whose parts are slow to make.
      buffer: new Uint8Array(READ_BUFFER_BYTES),
      callback: (sizeBytes, buffer) => stream.receive(buffer.subarray(0, sizeBytes), true),
    })
    const { confidential } = kind
    const destroy = () => socket.destroy()
    const stream = new NodeStream(peer, { confidential, input: socket, output: socket, destroy })
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    const giveUp = (error: Error) => {
      failure = error
      socket.destroy()
    }
    const onAbort = () => giveUp(interrupted(`connecting to ${peer}`, signal))
    const onTimeout = (limitMs: number) =>
      giveUp(lateError(peer, answered ? 'did not finish its handshake' : 'did not accept a connection', limitMs))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = startLimit(timeoutMs, onTimeout)

    socket.once('connect', () => (answered = true))
    socket.once(kind.ready, () => {
      ready = true
      settle()
      // What comes before somebody listens stays in the kernel.
      socket.pause()
      resolve(stream)
    })
    socket.on('error', (error) => {
      if (ready) stream.fail(lost(error))
      else failure ??= refused(error)
    })
    socket.once('close', () => {
      settle()
      if (ready) stream.ended()
      else reject(failure ?? refused(new Error('closed')))
    })
  })
}
