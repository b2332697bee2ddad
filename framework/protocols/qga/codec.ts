/**
 * Messages of the QEMU guest agent (QEMU, qga/qapi-schema.json). Pure: text ↔ messages. Names with dashes are the
 * agent's own.
 */

/** Arguments of `guest-exec`. Absent members are omitted on the wire. */
export interface GuestExecCommand {
  path: string
  arg?: string[]
  /** `NAME=value`; the agent's own environment is used without it. */
  env?: string[]
  /** Base64, given to the process's standard input. */
  'input-data'?: string
  'capture-output'?: boolean
}

/** Answer of `guest-exec-status`. Output is there only once the process has exited. */
export interface GuestExecStatus {
  exited: boolean
  exitcode?: number
  signal?: number
  /** Base64. */
  'out-data'?: string
  'err-data'?: string
  /** The agent keeps at most 16 MiB of each. */
  'out-truncated'?: boolean
  'err-truncated'?: boolean
}

export interface GuestExecInput {
  args?: readonly string[]
  env?: Record<string, string>
  input?: string | Uint8Array
  captureOutput?: boolean
}

/** Answer of `guest-info`, the part every agent has. */
export interface GuestAgentInfo {
  version: string
  supported_commands: { name: string; enabled: boolean; 'success-response'?: boolean }[]
}

/** Answer of `guest-get-osinfo`. Agents leave out what the guest's os-release does not say. */
export interface GuestOsInfo {
  id?: string
  name?: string
  'pretty-name'?: string
  version?: string
  'version-id'?: string
  'kernel-release'?: string
  'kernel-version'?: string
  machine?: string
  variant?: string
  'variant-id'?: string
}

export type QgaReply = { type: 'return'; value: unknown } | { type: 'error'; class: string; desc: string }

/** Arguments of `guest-exec` for a program and its parameters. Output is captured unless said otherwise. */
export function guestExec(
  path: string,
  { args, env, input, captureOutput = true }: GuestExecInput = {},
): GuestExecCommand {
  return {
    path,
    arg: args && args.length > 0 ? [...args] : undefined,
    env: env && Object.entries(env).map(([name, value]) => `${name}=${value}`),
    'input-data': input === undefined ? undefined : Buffer.from(input).toString('base64'),
    'capture-output': captureOutput,
  }
}

export function encodeCommand(execute: string, args?: object): string {
  return JSON.stringify({ execute, arguments: args })
}

/**
 * Reads an answer. Undefined if it is none.
 *
 * With `exactIntegers` integers that a number cannot hold become bigints: nanosecond times exceed 2^53.
 */
export function parseReply(text: string, exactIntegers = false): QgaReply | undefined {
  let message: unknown
  try {
    message = exactIntegers ? JSON.parse(text, reviveExactly) : JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof message !== 'object' || message === null) return undefined
  if ('return' in message) return { type: 'return', value: message.return }
  if (!('error' in message) || typeof message.error !== 'object' || message.error === null) return undefined
  const { class: errorClass, desc } = message.error as Record<string, unknown>
  if (typeof desc !== 'string') return undefined
  return { type: 'error', class: typeof errorClass === 'string' ? errorClass : 'GenericError', desc }
}

function reviveExactly(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  return context?.source !== undefined && /^-?\d+$/.test(context.source) ? BigInt(context.source) : value
}

const OUTPUT_MEMBERS = new Set(['out-data', 'err-data', 'input-data'])

/**
 * A message as a reader wants it in a transcript: the output and input of processes in clear text, so that
 * secrets in it are recognised, the content of files by its size only.
 */
export function readableMessage(text: string): string {
  try {
    return JSON.stringify(
      JSON.parse(text, (key, value: unknown) => {
        if (typeof value !== 'string') return value
        if (OUTPUT_MEMBERS.has(key)) return Buffer.from(value, 'base64').toString('utf8')
        if (key === 'buf-b64') return `<${Buffer.byteLength(value, 'base64')} bytes>`
        return value
      }),
    )
  } catch {
    return text
  }
}
