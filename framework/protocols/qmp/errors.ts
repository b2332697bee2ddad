import { connectError, protocolError, remoteError, stateError, type AtpError } from '../../core/index.ts'

const SHOWN_CHARACTERS = 200

/** `ATP_QMP_PROTOCOL`: the peer sent something that is not QMP. */
export function qmpProtocolError(what: string, text: string, cause?: unknown): AtpError {
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return protocolError('ATP_QMP_PROTOCOL', `the QMP server sent ${what}: ${shown}`, { cause })
}

/** `ATP_QMP_EXECUTE`: QEMU understood the command and refused it. `context.class` is QMP's error class. */
export function qmpExecuteError(peer: string, command: string, errorClass: string, desc: string): AtpError {
  return remoteError('ATP_QMP_EXECUTE', `${peer}: QMP command ${command} failed: ${desc}`, {
    context: { peer, command, class: errorClass, desc },
  })
}

/** `ATP_QMP_GREETING`: the peer spoke first, but not as a QMP server does. */
export function qmpGreetingError(peer: string, cause: unknown): AtpError {
  return protocolError('ATP_QMP_GREETING', `${peer} did not greet as a QMP server`, {
    cause,
    remedy: 'check that the socket is a QMP monitor (not HMP, not the guest agent)',
  })
}

/** `ATP_QMP_NO_GREETING`: the stream opened but no greeting came. */
export function qmpNoGreetingError(peer: string, cause: unknown): AtpError {
  return connectError('ATP_QMP_NO_GREETING', `${peer} sent no QMP greeting`, {
    cause,
    retryable: true,
    remedy: 'QEMU serves one client per monitor socket: check that no other program holds it',
  })
}

/** `ATP_QMP_LOST`: the connection ended without being asked to. */
export function qmpLostError(peer: string, cause?: unknown): AtpError {
  return connectError('ATP_QMP_LOST', `${peer} closed the QMP connection`, { cause, context: { peer } })
}

/** `ATP_QMP_MISSED`: an event did not come, and the connection to the host was lost while it was waited for. */
export function qmpMissedError(event: string, cause: unknown): AtpError {
  return connectError(
    'ATP_QMP_MISSED',
    `QMP event ${event} was not seen; it may have been raised while the connection to the host was lost`,
    { cause, context: { event }, retryable: true },
  )
}

/** `ATP_QMP_CLOSED`: a call on a session that was closed, or is not open yet. */
export function qmpClosedError(peer: string): AtpError {
  return stateError('ATP_QMP_CLOSED', `the QMP session with ${peer} is closed`, { context: { peer } })
}

/** `ATP_QMP_NO_SOCKET`: a direct connection was asked for but the domain has no monitor socket of its own. */
export function qmpNoSocketError(vm: string): AtpError {
  return connectError('ATP_QMP_NO_SOCKET', `the XML of domain "${vm}" names no QMP socket`, {
    context: { vm },
    remedy: 'use the libvirt monitor (the default), or add -qmp unix:… to the domain by its qemu:commandline element',
    verdict: 'spec',
  })
}
