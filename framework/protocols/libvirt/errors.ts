import {
  connectError,
  messageOf,
  protocolError,
  remoteError,
  timeoutError,
  unsupportedError,
  type AtpError,
} from '../../core/index.ts'
import type { RemoteError } from './codec.ts'
import { LIBVIRT_ERROR } from './protocol-numbers.ts'

/**
 * The error of a refused call. `context.libvirtCode` and `context.libvirtOrigin` hold libvirt's own numbers.
 *
 * Codes: `ATP_LIBVIRT_NO_DOMAIN`, `ATP_LIBVIRT_AGENT_UNRESPONSIVE`, `ATP_LIBVIRT_AUTH`, `ATP_LIBVIRT_UNSUPPORTED`,
 * else `ATP_LIBVIRT_REMOTE`.
 */
export function refusal(what: string, { code, origin, message, domain }: RemoteError): AtpError {
  const context = { libvirtCode: code, libvirtOrigin: origin, domain: domain?.name }
  const text = `${what}: ${message || `libvirt error ${code}`}`
  switch (code) {
    case LIBVIRT_ERROR.NO_DOMAIN:
      return remoteError('ATP_LIBVIRT_NO_DOMAIN', text, {
        context,
        remedy: 'list the VMs of this host; this one is gone or has another name',
      })
    case LIBVIRT_ERROR.AGENT_UNRESPONSIVE:
      return remoteError('ATP_LIBVIRT_AGENT_UNRESPONSIVE', text, {
        context,
        retryable: true,
        remedy: 'check that qemu-guest-agent runs in the guest and that the guest has booted',
      })
    case LIBVIRT_ERROR.AUTH_FAILED:
    case LIBVIRT_ERROR.AUTH_CANCELLED:
    case LIBVIRT_ERROR.AUTH_UNAVAILABLE:
      return remoteError('ATP_LIBVIRT_AUTH', text, {
        context,
        remedy: 'connect as a user whom the daemon lets in (group libvirt, or the daemon’s own user)',
      })
    case LIBVIRT_ERROR.NO_SUPPORT:
    case LIBVIRT_ERROR.RPC:
    case LIBVIRT_ERROR.ARGUMENT_UNSUPPORTED:
    case LIBVIRT_ERROR.OPERATION_UNSUPPORTED:
      return unsupportedError('ATP_LIBVIRT_UNSUPPORTED', text, {
        context,
        verdict: 'infrastructure',
        remedy: 'the daemon, its QEMU or this VM lacks what was asked for; a newer libvirt or QEMU may have it',
      })
    default:
      return remoteError('ATP_LIBVIRT_REMOTE', text, { context, retryable: code === LIBVIRT_ERROR.OPERATION_TIMEOUT })
  }
}

/** The peer broke the protocol; the connection cannot be used any further. */
export function violation(peer: string, message: string, cause?: unknown): AtpError {
  return protocolError('ATP_LIBVIRT_PROTOCOL', `${peer} does not speak libvirt's protocol: ${message}`, {
    cause,
    context: { peer },
    remedy: 'check that the address is that of a libvirt daemon',
  })
}

/** A call on a connection that ended, or whose connection ended before the answer. */
export function closedError(what: string, peer: string, reason: unknown): AtpError {
  return connectError(
    'ATP_LIBVIRT_CLOSED',
    `${what}: the connection to ${peer} is closed (${reason === undefined ? 'by this program' : messageOf(reason)})`,
    { cause: reason, context: { peer }, retryable: reason !== undefined },
  )
}

/** `sent` tells whether the daemon may still carry the call out. */
export function callTimeout(what: string, timeoutMs: number, sent: boolean): AtpError {
  return timeoutError(
    'ATP_LIBVIRT_TIMEOUT',
    `${what}: no answer within ${Math.round(timeoutMs)} ms` +
      (sent ? '; the daemon may still carry it out' : '; it was still waiting for earlier calls and was not sent'),
    { context: { timeoutMs, sent }, retryable: !sent },
  )
}
