import { X509Certificate } from 'node:crypto'
import { connectError, messageOf, remoteError, type AtpError } from '../core/index.ts'
import { lostError, refusedError } from './stream-errors.ts'

interface Identity {
  peer: string
  /** The name or address the peer's certificate must be for. */
  servername: string
  /** The certificate we showed, as PEM. */
  presented: string | undefined
}

const UNKNOWN_CA = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'INVALID_CA',
  'INVALID_PURPOSE',
])
const EXPIRED = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'CRL_HAS_EXPIRED', 'CRL_NOT_YET_VALID'])
/** Alerts by which a peer says that it wants a certificate, or another one. */
const OUR_CERTIFICATE =
  /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|ACCESS_DENIED|NO_CERT)/

/** A TLS connection that did not come about, by the check that failed. */
export function refusedTls(cause: Error, { peer, servername, presented }: Identity): AtpError {
  const code = String((cause as NodeJS.ErrnoException).code)
  const context = { peer, check: code }
  if (UNKNOWN_CA.has(code)) {
    return connectError('ATP_TLS_UNKNOWN_CA', `${peer} shows a certificate that no trusted CA vouches for (${code})`, {
      cause,
      context,
      remedy: 'use the CA certificate that signed the one of the host',
    })
  }
  if (EXPIRED.has(code)) {
    return connectError('ATP_TLS_EXPIRED', `${peer} shows a certificate that is not valid today (${code})`, {
      cause,
      context,
      remedy: 'renew the certificate of the host, and check the clocks of both machines',
    })
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return connectError(
      'ATP_TLS_NAME',
      `${peer} shows a certificate that is not for ${servername}: ${reasonOf(cause)}`,
      {
        cause,
        context,
        remedy: 'use a name or address that is among the alternative names of the certificate',
      },
    )
  }
  if (OUR_CERTIFICATE.test(code)) return clientCertificateError(peer, presented, cause)
  if (code.startsWith('ERR_SSL_') || code === 'ECONNRESET' || code === 'EPROTO') {
    return connectError('ATP_TLS_HANDSHAKE', `${peer} ended the TLS handshake: ${messageOf(cause)}`, {
      cause,
      context,
      retryable: code === 'ECONNRESET',
      remedy: 'check that TLS 1.2 or later is spoken at this port',
    })
  }
  return refusedError(peer, cause)
}

/** A TLS connection that broke after its handshake; with TLS 1.3 the peer judges our certificate only then. */
export function brokenTls(cause: Error, { peer, presented }: Identity): AtpError {
  const code = String((cause as NodeJS.ErrnoException).code)
  return OUR_CERTIFICATE.test(code) ? clientCertificateError(peer, presented, cause) : lostError(peer, cause)
}

/** The peer wants a certificate of us, or another one than `presented` (PEM). */
export function clientCertificateError(peer: string, presented: string | undefined, cause?: Error): AtpError {
  const shown = presented === undefined ? undefined : describe(presented)
  return remoteError(
    'ATP_TLS_CLIENT_CERTIFICATE',
    `${peer} ${shown === undefined ? 'wants a client certificate, and none was shown' : `does not accept the client certificate (${shown})`}`,
    {
      cause,
      context: { peer, check: (cause as NodeJS.ErrnoException | undefined)?.code, presented: shown },
      remedy: 'use a client certificate, with its key, that the host’s CA signed and the host admits',
    },
  )
}

function describe(pem: string): string {
  const { subject, validTo } = new X509Certificate(pem)
  return `${subject.split('\n').join(', ')}, valid until ${validTo}`
}

/** Node's own words without its repetition of the host. */
function reasonOf(cause: Error): string {
  return (cause as { reason?: string }).reason ?? messageOf(cause)
}
