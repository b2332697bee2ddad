import {
  connectError,
  isAtpError,
  messageOf,
  protocolError,
  stateError,
  unsupportedError,
  type AtpError,
} from '../../core/index.ts'

/** `ATP_VIRTIO_SERIAL_CLOSED`: a call on a channel that this side closed, or never opened. */
export function channelClosedError(peer: string, reason?: unknown): AtpError {
  const why = reason === undefined ? '' : ` (${messageOf(reason)})`
  return stateError('ATP_VIRTIO_SERIAL_CLOSED', `${peer} is closed${why}`, {
    cause: reason,
    context: { peer },
    // Not the spec's doing when the VM went away.
    ...(isAtpError(reason) ? { verdict: reason.verdict } : {}),
  })
}

/**
 * `ATP_VIRTIO_SERIAL_LOST`: the other side, or the host, ended the channel. Retryable where it went with the connection
 * to the host: opened again it works once that is restored.
 */
export function channelLostError(peer: string, cause?: unknown): AtpError {
  const why = cause === undefined ? '' : `: ${messageOf(cause)}`
  const retryable = isAtpError(cause) && cause.retryable
  return connectError('ATP_VIRTIO_SERIAL_LOST', `${peer} ended${why}`, { cause, context: { peer }, retryable })
}

/** `ATP_VIRTIO_SERIAL_TRUNCATED`: the channel ended within a message. */
export function channelTruncatedError(peer: string, pendingBytes: number): AtpError {
  return protocolError(
    'ATP_VIRTIO_SERIAL_TRUNCATED',
    `${peer} ended within a message, after ${pendingBytes} bytes of it`,
    {
      context: { peer, pendingBytes },
    },
  )
}

/** `ATP_VIRTIO_SERIAL_NO_CHANNEL`: the domain has no channel of that name. */
export function noChannelError(vm: string, name: string, known: readonly string[]): AtpError {
  return unsupportedError('ATP_VIRTIO_SERIAL_NO_CHANNEL', `${vm} has no virtio-serial channel "${name}"`, {
    context: { vm, name, known },
    remedy:
      known.length > 0
        ? `it has ${known.join(', ')}`
        : "add <channel type='unix'><target type='virtio' name='…'/></channel> to the domain's XML",
  })
}

/** `ATP_VIRTIO_SERIAL_RESPONDER`: the program on the guest's side said something else than its protocol allows. */
export function responderError(peer: string, what: string, cause?: unknown): AtpError {
  return protocolError('ATP_VIRTIO_SERIAL_RESPONDER', `the responder on ${peer} ${what}`, { cause, context: { peer } })
}
