import {
  configError,
  connectError,
  protocolError,
  remoteError,
  timeoutError,
  unsupportedError,
  type AtpError,
} from '../../../core/errors.ts'

const REMEDY = 'check that spice-vdagent runs in the guest and that the VM has a channel com.redhat.spice.0'

/** No agent in the guest told what it can do. */
export function agentAbsentError(place: string, timeoutMs: number, connected: boolean, cause: unknown): AtpError {
  const what = connected ? 'did not say what it can do' : 'did not connect'
  return timeoutError('ATP_SPICE_AGENT_ABSENT', `${place}: the guest's SPICE agent ${what} within ${timeoutMs} ms`, {
    cause,
    context: { place, timeoutMs },
    remedy: REMEDY,
  })
}

/** The agent left while something was under way. */
export function agentGoneError(place: string, cause?: unknown): AtpError {
  return connectError('ATP_SPICE_AGENT_GONE', `${place}: the guest's SPICE agent has gone`, {
    cause,
    context: { place },
    retryable: true,
    remedy: REMEDY,
  })
}

/** The agent sent what its protocol does not allow; it is not listened to until it connects again. */
export function agentProtocolError(place: string, cause: Error): AtpError {
  return protocolError('ATP_SPICE_AGENT', `${place}: the guest's SPICE agent broke the protocol: ${cause.message}`, {
    cause,
    context: { place },
  })
}

/** The agent does not offer what is asked for. */
export function agentCannotError(place: string, what: string, offered: readonly string[]): AtpError {
  return unsupportedError('ATP_SPICE_AGENT_CANNOT', `${place}: the guest's SPICE agent does not do ${what}`, {
    context: { place, offered },
  })
}

/** The guest offers no text. */
export function clipboardEmptyError(place: string, why: string, cause?: unknown): AtpError {
  return timeoutError('ATP_SPICE_CLIPBOARD_EMPTY', `${place}: the guest's clipboard gives no text: ${why}`, {
    cause,
    context: { place },
    verdict: 'product',
  })
}

/** Text too long for a clipboard. */
export function clipboardSizeError(sizeBytes: number, maxBytes: number): AtpError {
  const message = `a clipboard takes at most ${maxBytes} bytes of text, not ${sizeBytes}`
  return configError('ATP_SPICE_CLIPBOARD_SIZE', message, { remedy: 'send a file instead' })
}

/** A name that no file in the guest can have. */
export function fileNameError(name: string): AtpError {
  return configError('ATP_SPICE_FILE_NAME', `${JSON.stringify(name)} cannot be the name of a file in the guest`, {
    remedy: 'give a plain name of at most 255 bytes, without a folder',
  })
}

/** The agent did not take a file, or not to its end. */
export function fileRefusedError(place: string, name: string, status: string, detail: string): AtpError {
  const message = `${place}: the guest's SPICE agent did not take "${name}": ${status}${detail}`
  return remoteError('ATP_SPICE_FILE_REFUSED', message, { context: { place, name, status }, verdict: 'product' })
}

/** Monitors that cannot be. */
export function monitorsError(message: string): AtpError {
  return configError('ATP_SPICE_MONITORS', message, {
    remedy: 'give 1 to 16 monitors with sizes and positions in whole pixels',
  })
}
