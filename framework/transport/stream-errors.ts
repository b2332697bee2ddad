import { connectError, messageOf, timeoutError, type AtpError } from '../core/index.ts'

/** A connection that did not come about. `context.errno` is the system's own code. */
export function refusedError(peer: string, cause: unknown): AtpError {
  const errno = errnoOf(cause)
  return connectError('ATP_TRANSPORT_CONNECT', `cannot connect to ${peer}: ${errno ?? messageOf(cause)}`, {
    cause,
    context: { peer, errno },
    retryable: errno !== 'EACCES' && errno !== 'EPERM',
    remedy: remedyFor(errno),
  })
}

/** A connection that was there and broke. */
export function lostError(peer: string, cause: unknown): AtpError {
  return connectError('ATP_TRANSPORT_LOST', `the connection to ${peer} was lost: ${messageOf(cause)}`, {
    cause,
    context: { peer, errno: errnoOf(cause) },
    retryable: true,
  })
}

/** A write to a stream that has ended; `cause` is why it ended. */
export function closedError(peer: string, cause?: Error): AtpError {
  return connectError('ATP_STREAM_CLOSED', `the stream to ${peer} is closed`, { cause })
}

/** `what` says what did not happen: `did not accept a connection`. */
export function lateError(peer: string, what: string, timeoutMs: number): AtpError {
  return timeoutError('ATP_TRANSPORT_TIMEOUT', `${peer} ${what} within ${Math.round(timeoutMs)} ms`, {
    context: { peer, timeoutMs },
    retryable: true,
    remedy: 'check that the host is up, and firewalls on the way to it',
  })
}

/** Several addresses of one name fail together; the first one's code speaks for all. */
function errnoOf(cause: unknown): string | undefined {
  const first = cause instanceof AggregateError ? cause.errors[0] : undefined
  return (cause as NodeJS.ErrnoException).code ?? (first as NodeJS.ErrnoException | undefined)?.code
}

function remedyFor(errno: string | undefined): string {
  switch (errno) {
    case 'EACCES':
    case 'EPERM':
      return 'run as a user who may open this socket'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'correct the name of the host, or mend name resolution here'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return 'check that the host is up, and network and firewalls on the way to it'
    default:
      return 'start the program that listens there, or correct the address'
  }
}
