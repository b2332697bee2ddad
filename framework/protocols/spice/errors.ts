import { protocolError, type AtpError } from '../../core/errors.ts'

/** What the server sent breaks the protocol. `place` names the message and field. */
export function spiceProtocolError(place: string, message: string, cause?: unknown): AtpError {
  return protocolError('ATP_SPICE_PROTOCOL', `SPICE ${place}: ${message}`, { cause, context: { place } })
}
