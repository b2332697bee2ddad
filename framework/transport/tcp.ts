import { connect, type Socket } from 'node:net'
import type { CallOptions } from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { connectSocket } from './socket-stream.ts'

/** Quiet time after which the kernel asks whether the peer is still there. */
const KEEPALIVE_DELAY_MS = 30_000

export interface TcpAddress {
  /** Name, IPv4 or IPv6 address, the last without brackets. All addresses of a name are tried. */
  host: string
  port: number
}

/**
 * Connects over TCP, without delay for small writes and with keepalive.
 *
 * @throws `ATP_TRANSPORT_CONNECT`, whose `context.errno` says why, `ATP_TRANSPORT_TIMEOUT`, `ATP_INTERRUPTED`.
 */
export function connectTcp({ host, port }: TcpAddress, options: CallOptions = {}): Promise<ByteStream> {
  return connectSocket(
    {
      peer: `tcp:${hostAndPort({ host, port })}`,
      ready: 'connect',
      connect: (onread) => prompt(connect({ host, port, onread })),
    },
    options,
  )
}

/** Settings of every TCP socket. */
export function prompt<S extends Socket>(socket: S): S {
  // A name with several addresses gets a new handle for each try; only that of the last one counts.
  socket.once('connect', () => socket.setNoDelay(true).setKeepAlive(true, KEEPALIVE_DELAY_MS))
  return socket
}

/** `host:port`, an IPv6 address in brackets. */
export function hostAndPort({ host, port }: TcpAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
