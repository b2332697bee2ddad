import { X509Certificate } from 'node:crypto'
import { isIP, type OnReadOpts } from 'node:net'
import {
  checkServerIdentity,
  connect,
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { configError, messageOf, type CallOptions } from '../core/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { connectSocket } from './socket-stream.ts'
import { hostAndPort, prompt, type TcpAddress } from './tcp.ts'
import { brokenTls, refusedTls } from './tls-errors.ts'

/** PEM texts. */
export interface TlsCredentials {
  /** Certificates that vouch for the peer. Default: those Node brings along. */
  ca?: string
  /** Lists of revoked certificates. */
  crl?: string
  /** What we show when asked; both or neither. */
  cert?: string
  key?: string
}

export interface TlsAddress extends TcpAddress, TlsCredentials {
  /** False accepts whoever answers. Default true. */
  verify?: boolean
  /** The name or address that the peer's certificate must be for. Default `host`. */
  servername?: string
  /**
   * The subject that the peer's certificate must have instead of a name: `C=US,O=Example,CN=host`, in the order of
   * the certificate.
   */
  subject?: string
}

/**
 * Connects over TLS 1.2 or later and checks the peer's certificate: who signed it, its time, its name or address.
 *
 * With TLS 1.3 a peer that does not accept our certificate says so only after this call succeeded; the stream then
 * ends with `ATP_TLS_CLIENT_CERTIFICATE`.
 *
 * @throws `ATP_TLS_UNKNOWN_CA`, `ATP_TLS_EXPIRED`, `ATP_TLS_NAME`, `ATP_TLS_CLIENT_CERTIFICATE`, `ATP_TLS_HANDSHAKE`,
 *   `ATP_TLS_FILE` for PEM texts that are none, else as `connectTcp`.
 */
export async function connectTls(address: TlsAddress, options: CallOptions = {}): Promise<ByteStream> {
  const { host, port, verify = true, subject, servername = subject ?? host } = address
  const peer = `tls:${hostAndPort({ host, port })}`
  const secureContext = contextOf(peer, address)
  const identity = { peer, servername, presented: address.cert }
  // Node takes `onread` here as in `net.connect`; its types do not say so.
  const settings = (onread: OnReadOpts): ConnectionOptions & { onread: OnReadOpts } => ({
    onread,
    host,
    port,
    secureContext,
    rejectUnauthorized: verify,
    // An address is nothing to ask a server for, and still what its certificate must be for.
    servername: isIP(servername) || subject !== undefined ? undefined : servername,
    checkServerIdentity: (_, certificate) =>
      subject === undefined ? checkServerIdentity(servername, certificate) : checkSubject(subject, certificate.raw),
  })
  return connectSocket(
    {
      peer,
      confidential: verify,
      ready: 'secureConnect',
      connect: (onread) => unbatched(prompt(connect(settings(onread)))),
      refused: (error) => refusedTls(error, identity),
      lost: (error) => brokenTls(error, identity),
    },
    options,
  )
}

/**
 * Has each write travel in records of its own. Node would put those that wait for one another into one record; libvirt's
 * daemon takes one message out of it and leaves the others in its TLS library until something else arrives, which may
 * be the keepalive five seconds later.
 */
function unbatched(socket: TLSSocket): TLSSocket {
  const batching: { _writev?: unknown } = socket
  batching._writev = null
  return socket
}

/** As Node's own check: the error instead of throwing it. */
function checkSubject(wanted: string, certificate: Buffer): Error | undefined {
  const subject = new X509Certificate(certificate).subject.split('\n').join(',')
  if (subject === wanted) return undefined
  const reason = `its subject is ${subject}`
  return Object.assign(new Error(reason), { code: 'ERR_TLS_CERT_ALTNAME_INVALID', reason })
}

function contextOf(peer: string, { ca, crl, cert, key }: TlsCredentials): SecureContext {
  try {
    // OpenSSL passes over what is no certificate, and then trusts nobody.
    if (ca !== undefined) void new X509Certificate(ca)
    return createSecureContext({ ca, crl, cert, key, minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw configError('ATP_TLS_FILE', `${peer}: the CA, certificate or key cannot be used: ${messageOf(cause)}`, {
      cause,
      context: { peer },
      remedy: 'use PEM files: a CA certificate, and a certificate with the key it was made for',
    })
  }
}
