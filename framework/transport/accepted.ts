import type { Socket } from 'node:net'
import type { ByteStream } from '../wire/byte-stream.ts'
import { NodeStream } from './node-stream.ts'
import { lostError } from './stream-errors.ts'

/** The stream of a socket that a server of ours accepted. From here on it is the stream's alone. */
export function acceptedStream(socket: Socket, peer: string, confidential = false): ByteStream {
  const stream = new NodeStream(peer, { confidential, input: socket, output: socket, destroy: () => socket.destroy() })
  socket.pause()
  socket.on('data', (chunk: Buffer) => stream.receive(chunk))
  socket.on('error', (error) => stream.fail(lostError(peer, error)))
  socket.once('close', () => stream.ended())
  return stream
}
