import { connectError } from '../core/index.ts'
import type { ByteStream } from '../wire/index.ts'

/** The same stream; `onEnd` hears of its end, with the reason unless this side ended it. */
export function observedStream(stream: ByteStream, onEnd: (reason: Error | undefined) => void): ByteStream {
  let ended = false
  return {
    peer: stream.peer,
    confidential: stream.confidential ?? false,
    start: (sink) =>
      stream.start({
        borrows: sink.borrows ?? false,
        onData: (chunk) => sink.onData(chunk),
        onClose: (error) => {
          onEnd(error ?? (ended ? undefined : connectError('ATP_STREAM_CLOSED', `${stream.peer} ended the stream`)))
          sink.onClose(error)
        },
      }),
    write: (bytes) => stream.write(bytes),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    destroy: (error) => {
      ended = true
      stream.destroy(error)
    },
  }
}
