import { connectError, isAtpError, messageOf, type AtpError } from '../core/index.ts'

/**
 * Errors that are not worth a second call with the same outcome, but that pass while a daemon or its network
 * restarts: a socket that is made before its rights are set, a connection that ends within a message, a driver that
 * is not up yet.
 */
const PASSING = new Set([
  'ATP_TRANSPORT_CONNECT',
  'ATP_STREAM_CLOSED',
  'ATP_LIBVIRT_PROTOCOL',
  'ATP_LIBVIRT_REMOTE',
  'ATP_LIBVIRT_CLOSED',
])

/** Whether another attempt may get further. Not where a person has to do something first: credentials, keys, URI. */
export function mayHeal(error: unknown): boolean {
  if (!isAtpError(error)) return false
  // What a connection ended with is the reason that counts.
  if (error.code === 'ATP_LIBVIRT_CLOSED' && isAtpError(error.cause)) return mayHeal(error.cause)
  return error.retryable || error.branch === 'timeout' || error.branch === 'interrupted' || PASSING.has(error.code)
}

/** `ATP_HOST_UNREACHABLE`: whoever asked for a connection does not get one. */
export function unreachableError(
  what: string,
  how: string,
  cause: unknown,
  { retryable, ...context }: Record<string, unknown> & { retryable: boolean },
): AtpError {
  const [reason] = cause === undefined ? [] : messageOf(cause).split('\n', 1)
  return connectError('ATP_HOST_UNREACHABLE', `${what} ${how}${reason ? `: ${reason}` : ''}`, {
    cause,
    context,
    retryable,
    remedy: isAtpError(cause) ? cause.remedy : undefined,
  })
}
