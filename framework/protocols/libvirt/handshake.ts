import { isAtpError, type CallOptions } from '../../core/index.ts'
import type { SaslCredentials } from '../sasl/index.ts'
import { authenticate, type OpeningCall } from './authentication.ts'
import type { RpcConnection } from './connection.ts'
import { FEATURE, PROGRAM, REMOTE } from './protocol-numbers.ts'

export interface HandshakeOptions extends CallOptions {
  /** Path of the URI: the daemon's `/session` or `/system` instance. */
  path: '/session' | '/system' | (string & {})
  /** Refuse whatever changes something. Default false. */
  readOnly?: boolean
  /** For daemons that ask for it. A stream that is not `confidential` gets SCRAM only. */
  sasl?: SaslCredentials
}

/**
 * Authentication, keepalive in both directions, and the opening of the QEMU driver, in the order the daemon
 * demands.
 *
 * `timeoutMs` bounds the whole; without it each call has its own limit.
 *
 * @throws what {@link authenticate} and every call throw.
 */
export async function handshake(
  connection: RpcConnection,
  { path, readOnly, sasl, signal, timeoutMs }: HandshakeOptions,
): Promise<void> {
  const endsAtMs = timeoutMs === undefined ? undefined : performance.now() + timeoutMs
  const call: OpeningCall = (what, procedure, encode, decode) =>
    connection.call(
      { what, program: PROGRAM.REMOTE, procedure, high: true, bound: true, encode, decode },
      { signal, timeoutMs: endsAtMs === undefined ? undefined : Math.max(0, endsAtMs - performance.now()) },
    )
  await authenticate(call, { peer: connection.peer, confidential: connection.confidential, sasl })
  // Asking for it also makes the daemon watch over us: what a killed client held is freed within seconds.
  const keepalive = await call(
    'asking for keepalive',
    REMOTE.CONNECT_SUPPORTS_FEATURE,
    (writer) => writer.i32(FEATURE.PROGRAM_KEEPALIVE),
    (reader) => reader.i32() !== 0,
  ).catch((error: unknown) => {
    if (isAtpError(error, 'ATP_LIBVIRT_UNSUPPORTED')) return false
    throw error
  })
  if (keepalive) connection.startKeepalive()
  const name = `qemu://${path}`
  await call(
    `opening ${name}`,
    REMOTE.CONNECT_OPEN,
    (writer) => writer.optionalString(name).u32(readOnly ? 1 : 0),
    () => {},
  )
}
