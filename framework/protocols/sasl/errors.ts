import { configError, protocolError, remoteError, unsupportedError, type AtpError } from '../../core/errors.ts'

/** User or password cannot be sent as the standard demands. Never shows either. */
export function credentialsError(message: string): AtpError {
  return configError('ATP_SASL_CREDENTIALS', `SASL: ${message}`, {
    remedy: 'write both, without line breaks and other control characters',
  })
}

/** A message that the mechanism does not allow. `where`: mechanism and server, see {@link placeOf}. */
export function malformedError(where: string, message: string): AtpError {
  return protocolError('ATP_SASL_MALFORMED', `${where}: the server sent ${message}`)
}

/** The server behaves as one that does not know the password, or that wants to learn it. */
export function untrustedError(where: string, message: string): AtpError {
  return protocolError('ATP_SASL_UNTRUSTED', `${where}: ${message}`, {
    remedy: 'make sure that the address is that of the right server; do not repeat this with a password that matters',
  })
}

/** The server's own words for its refusal. */
export function refusedError(where: string, reason: string): AtpError {
  return remoteError('ATP_SASL_REFUSED', `${where}: the server refuses: ${reason}`, {
    remedy: 'check user and password',
  })
}

/** How messages name an exchange. */
export function placeOf(mechanism: string, server: string): string {
  return `${mechanism} with ${server}`
}

/** None of the server's mechanisms can be used. */
export function noMechanismError(server: string, offered: readonly string[], confidential: boolean): AtpError {
  const list = offered.length === 0 ? 'none' : offered.join(', ')
  const hint =
    !confidential && offered.includes('PLAIN') ? ' (PLAIN would show the password to everybody on the way)' : ''
  return unsupportedError(
    'ATP_SASL_NO_MECHANISM',
    `${server} offers the SASL mechanisms ${list}; usable is SCRAM-SHA-256${confidential ? ' or PLAIN' : ''}${hint}`,
    { context: { offered }, remedy: 'let the server offer SCRAM-SHA-256' },
  )
}
