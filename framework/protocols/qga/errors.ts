import {
  connectError,
  isAtpError,
  messageOf,
  protocolError,
  remoteError,
  stateError,
  timeoutError,
  unsupportedError,
  type AtpError,
} from '../../core/index.ts'

/** libvirt's error numbers that say something about the agent (virErrorNumber). */
const LIBVIRT_INTERNAL_ERROR = 1
const LIBVIRT_RPC = 39
const LIBVIRT_ARGUMENT_UNSUPPORTED = 74
const LIBVIRT_AGENT_UNRESPONSIVE = 86

const SHOWN_CHARACTERS = 200

/** `ATP_QGA_PROTOCOL`: the agent's answer is not what its schema says. */
export function qgaProtocolError(vm: string, what: string, text: string, cause?: unknown): AtpError {
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return protocolError('ATP_QGA_PROTOCOL', `${vm}: the guest agent answered ${what}: ${shown}`, {
    cause,
    context: { vm },
  })
}

/**
 * `ATP_QGA_EXECUTE`: the agent understood the command and refused it: the guest lacks what the test asked of it, a
 * program for instance, which says something of the product and not of the way to it.
 */
export function qgaExecuteError(vm: string, command: string, desc: string, cause?: unknown): AtpError {
  return remoteError('ATP_QGA_EXECUTE', `${vm}: the guest agent refused ${command}: ${desc}`, {
    cause,
    context: { vm, command, desc },
    verdict: 'product',
  })
}

/** `ATP_QGA_CLOSED`: a call on a session that is closed or was never connected. */
export function qgaClosedError(vm: string, reason?: unknown): AtpError {
  const why = reason === undefined ? '' : ` (${messageOf(reason)})`
  return stateError('ATP_QGA_CLOSED', `${vm}: the guest agent session is closed${why}`, {
    cause: reason,
    context: { vm },
    // Not the spec's doing when the VM went away.
    ...(isAtpError(reason) ? { verdict: reason.verdict } : {}),
  })
}

/** `ATP_QGA_EXEC_TIMEOUT`: the process was started and had not ended in time. It goes on running. */
export function qgaExecTimeoutError(vm: string, path: string, pid: number, timeoutMs: number): AtpError {
  return timeoutError('ATP_QGA_EXEC_TIMEOUT', `${vm}: ${path} (pid ${pid}) did not end within ${timeoutMs} ms`, {
    // The agent hands out what a process wrote only once it has ended.
    context: { vm, path, pid, timeoutMs, exited: false, output: 'none before the process ends' },
    remedy: 'give it a longer timeout, or start it in the background and ask for its state by the pid',
  })
}

/** `ATP_QGA_FILE`: a file could not be opened, or is larger than allowed. */
export function qgaFileError(vm: string, path: string, what: string, cause?: unknown): AtpError {
  return remoteError('ATP_QGA_FILE', `${vm}: ${path}: ${what}`, { cause, context: { vm, path }, verdict: 'product' })
}

/**
 * What a rejected agent call means. libvirt reports a refusal of the agent as an internal error with the agent's
 * text at its end; absence and silence have numbers of their own. Anything else is passed on unchanged.
 */
export function explainAgentFailure(vm: string, command: string, error: unknown): unknown {
  if (!isAtpError(error)) return error
  switch (error.context['libvirtCode']) {
    case LIBVIRT_AGENT_UNRESPONSIVE:
      return connectError('ATP_QGA_UNRESPONSIVE', `${vm}: the guest agent does not answer ${command}`, {
        cause: error,
        context: { vm, command },
        retryable: true,
        remedy: 'check that the guest has booted and that qemu-guest-agent runs in it',
      })
    case LIBVIRT_ARGUMENT_UNSUPPORTED:
      return unsupportedError('ATP_QGA_ABSENT', `${vm} has no guest agent channel`, {
        cause: error,
        context: { vm, command },
        remedy:
          'add a virtio channel named org.qemu.guest_agent.0 to the domain and install qemu-guest-agent in the guest',
      })
    case LIBVIRT_RPC:
      return remoteError('ATP_QGA_TOO_LARGE', `${vm}: the answer to ${command} is larger than libvirt passes on`, {
        cause: error,
        context: { vm, command },
        remedy: 'let the process write to a file in the guest and read that file',
      })
    case LIBVIRT_INTERNAL_ERROR:
      return qgaExecuteError(vm, command, agentText(error.message), error)
    default:
      return error
  }
}

// "internal error: unable to execute QEMU agent command 'x': <what the agent said>"
function agentText(message: string): string {
  const line = message.split('\n', 1)[0] as string
  return /agent command '[^']*': (.*)$/.exec(line)?.[1] ?? line
}
