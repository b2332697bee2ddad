import { fromBase64 } from './base64.ts'
import { malformedError, refusedError, untrustedError } from './errors.ts'

/** Longest message taken from a server, bytes. Real ones have less than 200. */
const MESSAGE_MAX_BYTES = 4096
/** RFC 7677: fewer make guessing the password too cheap for whoever records the exchange. */
const ITERATIONS_MIN = 4096
/** More would let a server keep this machine busy; about half a second of one core. */
const ITERATIONS_MAX = 1_000_000

/** `server-first-message` of RFC 5802. */
export interface ServerFirst {
  /** The client's nonce and the server's. */
  nonce: string
  salt: Uint8Array<ArrayBuffer>
  iterations: number
}

/** @throws `ATP_SASL_MALFORMED`, `ATP_SASL_REFUSED`, `ATP_SASL_UNTRUSTED` */
export function readServerFirst(where: string, text: string, clientNonce: string): ServerFirst {
  throwServerError(where, text)
  const [r = '', s = '', i = '', ...extensions] = text.split(',')
  if (r.startsWith('m=')) throw malformedError(where, 'an extension that must be understood, and is not')
  const salt = s.startsWith('s=') ? fromBase64(s.slice(2)) : undefined
  const count = /^i=([1-9]\d{0,9})$/.exec(i)?.[1]
  if (!/^r=[\x21-\x2b\x2d-\x7e]+$/.test(r) || !salt || salt.length === 0 || !count || !areExtensions(extensions))
    throw malformedError(where, 'a first message that is none')
  const nonce = r.slice(2)
  if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length)
    throw untrustedError(where, 'the server’s nonce does not continue ours: its message is from another exchange')
  const iterations = Number(count)
  if (iterations < ITERATIONS_MIN)
    throw untrustedError(where, `the server wants ${iterations} iterations; fewer than ${ITERATIONS_MIN} are unsafe`)
  if (iterations > ITERATIONS_MAX)
    throw untrustedError(where, `the server wants ${iterations} iterations; at most ${ITERATIONS_MAX} are done`)
  return { nonce, salt, iterations }
}

/** The signature of a `server-final-message`. @throws `ATP_SASL_MALFORMED`, `ATP_SASL_REFUSED` */
export function readServerFinal(where: string, text: string): Uint8Array {
  throwServerError(where, text)
  const [v = '', ...extensions] = text.split(',')
  const signature = v.startsWith('v=') ? fromBase64(v.slice(2)) : undefined
  if (!signature || !areExtensions(extensions)) throw malformedError(where, 'a last message that is none')
  return signature
}

/** The text of a message. @throws `ATP_SASL_MALFORMED` */
export function readText(where: string, message: Uint8Array): string {
  if (message.length > MESSAGE_MAX_BYTES) throw malformedError(where, `${message.length} bytes at once`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(message)
  } catch {
    throw malformedError(where, 'bytes that are no UTF-8')
  }
}

function throwServerError(where: string, text: string): void {
  if (!text.startsWith('e=')) return
  const reason = text.slice(2).split(',', 1)[0] as string
  // What a stranger sends is shown only where it cannot forge a line of a report.
  throw refusedError(where, /^[\x20-\x7e]{1,100}$/.test(reason) ? reason : 'for a reason that cannot be shown')
}

function areExtensions(parts: string[]): boolean {
  return parts.every((part) => /^[A-Za-z]=[^\0,]+$/.test(part))
}
