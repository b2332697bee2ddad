import { connect } from 'node:net'
import { configError, type CallOptions } from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { connectSocket } from './socket-stream.ts'

/** Longest socket path Linux accepts (`sun_path` is 108 bytes with its NUL). */
const UNIX_PATH_MAX_BYTES = 107

/**
 * Connects to a Unix socket.
 *
 * @throws `ATP_TRANSPORT_PATH` for a path no socket can have, `ATP_TRANSPORT_CONNECT` when nobody listens
 *   there or access is denied, `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function connectUnix(path: string, options: CallOptions = {}): Promise<ByteStream> {
  const sizeBytes = Buffer.byteLength(path)
  if (sizeBytes === 0 || sizeBytes > UNIX_PATH_MAX_BYTES || path.includes('\0')) {
    return Promise.reject(
      configError('ATP_TRANSPORT_PATH', `${JSON.stringify(path)} cannot be the path of a Unix socket`, {
        remedy: `use a path of 1 to ${UNIX_PATH_MAX_BYTES} bytes; this one has ${sizeBytes}`,
      }),
    )
  }
  return connectSocket(
    { peer: `unix:${path}`, confidential: true, ready: 'connect', connect: (onread) => connect({ path, onread }) },
    options,
  )
}
