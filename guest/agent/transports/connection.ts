import { connectError, type AtpError } from '../../../framework/core/errors.ts'

export const CONNECT_TIMEOUT_MS = 10_000
/** Most bytes that wait to be taken by a server that does not read. */
export const BACKLOG_MAX_BYTES = 16 * 1024 * 1024

/** Who a server must be. */
export interface TlsOptions {
  /** Certificates to trust instead of the system's, PEM. */
  ca?: string
  /** Name that the server's certificate must be for, where it is not that of the address. */
  servername?: string
}

/** `ATP_VERIFIER_LOST` */
export function lost(reason: string): AtpError {
  return connectError('ATP_VERIFIER_LOST', `the connection to the server was lost: ${reason}`, { retryable: true })
}
