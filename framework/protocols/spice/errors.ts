import {
  configError,
  connectError,
  protocolError,
  remoteError,
  stateError,
  timeoutError,
  unsupportedError,
  type AtpError,
} from '../../core/errors.ts'
import { LINK_ERROR } from './wire/numbers.ts'

/** What the server sent breaks the protocol. `place` names the message and field. */
export function spiceProtocolError(place: string, message: string, cause?: unknown): AtpError {
  return protocolError('ATP_SPICE_PROTOCOL', `SPICE ${place}: ${message}`, { cause, context: { place } })
}

/** The server refused the link of a channel. `linkError` is its number for the reason. */
export function linkRefusedError(place: string, linkError: number): AtpError {
  const name = Object.entries(LINK_ERROR).find(([, number]) => number === linkError)?.[0] ?? 'unknown'
  const context = { place, linkError, reason: name }
  if (linkError === LINK_ERROR.needSecured) {
    return remoteError('ATP_SPICE_NEED_SECURED', `${place}: the server opens this channel over TLS only`, {
      context,
      remedy: 'give the TLS port of the server, and its CA',
    })
  }
  if (linkError === LINK_ERROR.needUnsecured) {
    return remoteError('ATP_SPICE_NEED_UNSECURED', `${place}: the server opens this channel without TLS only`, {
      context,
      remedy: 'give the plain port of the server, or let it offer TLS for this channel',
    })
  }
  return remoteError('ATP_SPICE_LINK', `${place}: the server refuses the channel (${name}, ${linkError})`, { context })
}

/** The stream ended before the channel was linked: so does a server that has no such channel. */
export function linkEndedError(place: string, cause?: Error): AtpError {
  return connectError('ATP_SPICE_LINK_ENDED', `${place}: the server closed the connection instead of opening it`, {
    cause,
    context: { place },
    retryable: true,
    remedy: 'check that a SPICE server listens there and that the VM has a device for this channel',
  })
}

/** A password was not accepted: the server does not tell a wrong one from an expired one. */
export function ticketRefusedError(place: string): AtpError {
  return remoteError('ATP_SPICE_AUTH', `${place}: the server refuses the password; it is wrong or has expired`, {
    context: { place },
    remedy: 'give the password of the console, or set a new one (QMP set_password, expire_password)',
  })
}

/** SASL ended without admission. */
export function saslRefusedError(place: string, user: string, mechanism: string, cause?: unknown): AtpError {
  return remoteError('ATP_SPICE_AUTH', `${place}: the server refuses user "${user}" (${mechanism})`, {
    cause,
    context: { place },
    remedy: 'check user and password against the server’s SASL database',
  })
}

/** The server wants a secret and none was given. */
export function authNeededError(place: string, what: 'a password' | 'a SASL user and password'): AtpError {
  return configError('ATP_SPICE_AUTH_NEEDED', `${place}: the server wants ${what}, and none is given`, {
    context: { place },
    remedy: `give ${what}`,
  })
}

/** The ways of authentication of both sides do not meet. */
export function authUnsupportedError(place: string, message: string, remedy: string, cause?: unknown): AtpError {
  return unsupportedError('ATP_SPICE_AUTH_UNSUPPORTED', `${place}: ${message}`, { cause, context: { place }, remedy })
}

/** A password that cannot be sent. Never shows it. */
export function ticketError(message: string): AtpError {
  return configError('ATP_SPICE_TICKET', `the SPICE password ${message}`, {
    remedy: 'use a password of at most 60 characters',
  })
}

/** A channel that was open ended without being asked to. */
export function channelLostError(place: string, cause?: unknown): AtpError {
  return connectError('ATP_SPICE_LOST', `${place}: the channel was lost`, {
    cause,
    context: { place },
    retryable: true,
  })
}

/** The server ended the channel with a message that says why. */
export function disconnectingError(place: string, reason: number): AtpError {
  return connectError('ATP_SPICE_DISCONNECTED', `${place}: the server ends the channel (reason ${reason})`, {
    context: { place, reason },
    retryable: true,
  })
}

/** Nothing came from the server although it owes an answer. */
export function silentError(place: string, timeoutMs: number): AtpError {
  return timeoutError('ATP_SPICE_SILENT', `${place}: the server did not answer a heartbeat within ${timeoutMs} ms`, {
    context: { place, timeoutMs },
    retryable: true,
    remedy: 'check that the VM runs and is not stopped in a debugger, and the network on the way to it',
  })
}

/** A call on a channel that is not open. */
export function channelClosedError(place: string, cause?: unknown): AtpError {
  return stateError('ATP_SPICE_CLOSED', `${place}: the channel is not open`, { cause, context: { place } })
}

/** Something of the protocol that this client does not do. */
export function spiceUnsupportedError(place: string, what: string): AtpError {
  return unsupportedError('ATP_SPICE_UNSUPPORTED', `${place}: ${what} is not supported`, {
    context: { place },
    verdict: 'infrastructure',
  })
}

/** Positions are for client mode, motion is for server mode; a server drops what is for the other. */
export function mouseModeError(place: string, wanted: 'server' | 'client'): AtpError {
  const what = wanted === 'client' ? 'positions' : 'relative motion'
  return stateError('ATP_SPICE_MOUSE_MODE', `${place}: ${what} needs the mouse mode "${wanted}"`, {
    context: { place },
    remedy:
      wanted === 'client'
        ? 'request it; the server follows when the VM has a tablet or its agent runs'
        : 'request the mouse mode "server", or give positions',
  })
}

/** The VM has no such channel. */
export function noChannelError(place: string, offered: readonly string[]): AtpError {
  return unsupportedError('ATP_SPICE_NO_CHANNEL', `${place}: the VM has no such channel`, {
    context: { place, offered },
    remedy: `it has ${offered.join(', ') || 'none'}; channels belong to devices of the VM`,
  })
}

/** The server closed the session again and again as soon as it was restored: so it does for the sake of another client. */
export function takenOverError(place: string, cause: Error): AtpError {
  return remoteError('ATP_SPICE_TAKEN_OVER', `${place}: the server keeps ending the session; another client uses it`, {
    cause,
    context: { place },
    remedy: 'close the other client: a VM has one SPICE session at a time',
  })
}
