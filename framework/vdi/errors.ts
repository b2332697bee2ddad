import { type AtpError, configError, connectError, protocolError, remoteError, stateError } from '../core/index.ts'
import { excerpt } from './excerpt.ts'
import type { Operation } from './operation.ts'

/** Where a call went: the operation, and the address without its query, which may hold names and passwords. */
export interface CallPlace {
  readonly operation: Operation
  /** Scheme, host, port and path. */
  readonly url: string
}

/** Meanings of the codes that the platform is known to answer. */
export const KNOWN_CODES: Readonly<Record<number, string>> = {
  1006: 'the session has expired or its token is wrong',
  5098: 'no such user',
  5099: 'wrong password',
  5100: 'the account is locked',
  5101: 'the account has expired',
  5102: 'a code sent by SMS is needed',
}

const REMEDIES: Readonly<Record<number, string>> = {
  5098: 'check the account name',
  5099: 'check the password; more attempts may lock the account',
  5100: 'ask an administrator of the platform to unlock the account',
  5101: 'ask an administrator of the platform to extend the account',
  5102: 'use an account without SMS verification',
}

/** Node's and OpenSSL's codes of a certificate that is not trusted; they heal by no repetition. */
const CERTIFICATE = /^(CERT_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|ERR_SSL_)/

/** The platform's words in an error. */
const LONGEST = 500

const where = ({ operation, url }: CallPlace): string => `${operation.name} (${operation.method} ${url})`
const contextOf = ({ operation, url }: CallPlace) => ({ operation: operation.name, url })

/** The platform understood and refused. */
export function refusedError(place: CallPlace, code: number, message: string, httpStatus: number): AtpError {
  const known = KNOWN_CODES[code]
  const said = excerpt(message, LONGEST)
  return remoteError(
    'ATP_VDI_REFUSED',
    `the platform refused ${where(place)}: ${code}${known ? ` (${known})` : ''}${said ? `: ${said}` : ''}`,
    { context: { ...contextOf(place), code, message: said, httpStatus }, remedy: REMEDIES[code] },
  )
}

/** The answer has another HTTP status than success. */
export function httpError(place: CallPlace, httpStatus: number, message: string | undefined): AtpError {
  return remoteError(
    'ATP_VDI_HTTP',
    `${where(place)} was answered with HTTP ${httpStatus}${message ? `: ${excerpt(message, LONGEST)}` : ''}`,
    { context: { ...contextOf(place), httpStatus }, retryable: httpStatus >= 500 },
  )
}

/** The answer is not what the operation answers. */
export function answerError(place: CallPlace, what: string, context: Record<string, unknown> = {}): AtpError {
  return protocolError('ATP_VDI_ANSWER', `${where(place)} was answered with ${excerpt(what, LONGEST)}`, {
    context: { ...contextOf(place), ...context },
  })
}

/** The request is not what the operation takes; nothing was sent. */
export function requestError(operation: Operation, what: string, context: Record<string, unknown> = {}): AtpError {
  return configError('ATP_VDI_REQUEST', `${operation.name} was not sent: ${excerpt(what, LONGEST)}`, {
    context: { operation: operation.name, ...context },
  })
}

/** A call after the client was closed. */
export function closedError(what: string): AtpError {
  return stateError('ATP_VDI_CLOSED', `${what}: the client of the platform is closed`)
}

/** The error for what undici threw: no connection, no trust, no HTTP, too much of it. */
export function transportError(place: CallPlace, thrown: unknown, maxAnswerBytes: number): AtpError {
  const { code = '', name, message = String(thrown) } = (thrown ?? {}) as Partial<Error & { code: string }>
  const context = { ...contextOf(place), reason: code }
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return answerError(place, `more than ${maxAnswerBytes} bytes`)
  if (name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW')
    return answerError(place, `what is no HTTP: ${message}`)
  if (CERTIFICATE.test(code)) {
    return connectError('ATP_VDI_TLS', `${where(place)}: the platform's certificate is not trusted: ${message}`, {
      context,
      cause: thrown,
      remedy: "give the platform's authority as tls.ca, and the name in its certificate as baseUrl",
    })
  }
  return connectError('ATP_VDI_CONNECT', `${where(place)} did not reach the platform: ${excerpt(message, LONGEST)}`, {
    context,
    cause: thrown,
    retryable: true,
    remedy: 'check the address, and that the platform is up',
  })
}
