import { unsupportedError, type CallOptions } from '../../core/index.ts'
import type { XdrReader, XdrWriter } from '../../wire/index.ts'
import type { RpcConnection } from './connection.ts'
import { AUTH, FEATURE, LIMIT, PROGRAM, REMOTE } from './protocol-numbers.ts'

export interface HandshakeOptions extends CallOptions {
  /** Path of the URI: the daemon's `/session` or `/system` instance. */
  path: '/session' | '/system' | (string & {})
  /** Refuse whatever changes something. Default false. */
  readOnly?: boolean
}

/**
 * Authentication, keepalive in both directions, and the opening of the QEMU driver, in the order the daemon
 * demands.
 *
 * @throws `ATP_LIBVIRT_AUTH_UNSUPPORTED`, `ATP_LIBVIRT_AUTH`, and what every call throws.
 */
export async function handshake(
  connection: RpcConnection,
  { path, readOnly, signal, timeoutMs }: HandshakeOptions,
): Promise<void> {
  const call = <T>(
    what: string,
    procedure: number,
    encode: ((writer: XdrWriter) => unknown) | undefined,
    decode: (reader: XdrReader) => T,
  ) => connection.call({ what, program: PROGRAM.REMOTE, procedure, high: true, encode, decode }, { signal, timeoutMs })

  const kinds = await call('listing ways of authentication', REMOTE.AUTH_LIST, undefined, (reader) =>
    Array.from({ length: reader.count(LIMIT.AUTH_LIST_MAX) }, () => reader.i32()),
  )
  if (kinds.length > 0 && !kinds.includes(AUTH.NONE)) {
    if (!kinds.includes(AUTH.POLKIT)) {
      throw unsupportedError('ATP_LIBVIRT_AUTH_UNSUPPORTED', `${connection.peer} demands authentication by SASL`, {
        remedy: 'use a socket that admits this user without a password',
      })
    }
    await call('authenticating by polkit', REMOTE.AUTH_POLKIT, undefined, (reader) => reader.i32())
  }
  // Asking for it also makes the daemon watch over us: what a killed client held is freed within seconds.
  const keepalive = await call(
    'asking for keepalive',
    REMOTE.CONNECT_SUPPORTS_FEATURE,
    (writer) => writer.i32(FEATURE.PROGRAM_KEEPALIVE),
    (reader) => reader.i32() !== 0,
  )
  if (keepalive) connection.startKeepalive()
  const name = `qemu://${path}`
  await call(
    `opening ${name}`,
    REMOTE.CONNECT_OPEN,
    (writer) => writer.optionalString(name).u32(readOnly ? 1 : 0),
    () => {},
  )
}
