/**
 * The broker's wire: one JSON object a line, UTF-8, at most {@link MAX_MESSAGE_BYTES} each. Pure: bytes ↔ messages.
 *
 * The client sends `hello` first and then calls, each with an `id` of its own choice. The broker answers every call
 * once, `{id, ok}` or `{id, error}`, in any order, and sends notices `{notice}` in between.
 */
import {
  AtpError,
  ERROR_BRANCHES,
  isAtpError,
  messageOf,
  protocolError,
  VERDICTS,
  type ErrorBranch,
  type Verdict,
} from '../core/index.ts'
import type { LastWill, LeasedVm, LeaseRequest } from './api.ts'

/** Raised with every incompatible change of the messages below. */
export const BROKER_PROTOCOL = 3
export const MAX_MESSAGE_BYTES = 1024 * 1024

/** `run`: the process a run belongs to; when it vanishes the whole run is over. `worker`: works for a run. `cli`: asks. */
export type ClientKind = 'run' | 'worker' | 'cli'

export type Call =
  /** `serves`: what the client would start a broker with; the broker refuses when it serves something else. */
  | { verb: 'hello'; protocol: number; version: string; run: string; kind: ClientKind; pid: number; serves?: string }
  | { verb: 'lease'; request: LeaseRequest; timeoutMs?: number }
  /** Gives up a `lease` call; if it was granted already, releases it. */
  | { verb: 'cancel'; call: number }
  | { verb: 'release'; lease: string }
  | { verb: 'end' }
  | { verb: 'drain'; run: string }
  | { verb: 'status' }
  | { verb: 'subscribe' }
  | { verb: 'sweep' }
  | { verb: 'standbys'; perHost: Record<string, number> }
  | { verb: 'will'; will: LastWill }
  | { verb: 'withdraw'; will: number }
  /** Asks for a checkpoint; `claim` below is the id of this call. */
  | { verb: 'checkpoint'; key: string }
  /** Saves the only VM of a lease as the checkpoint. */
  | { verb: 'keep'; claim: number; lease: string }
  /** It could not be made; without an error somebody else may try. */
  | { verb: 'give-up'; claim: number; error?: unknown }
type Verb = Call['verb']
export type CallMessage = Call & { id: number }

export interface WireError {
  code: string
  branch: ErrorBranch
  verdict: Verdict
  message: string
  context?: Record<string, unknown>
  retryable?: boolean
  remedy?: string
  cause?: WireError | { message: string }
}

/**
 * What happens to leases: to a client's own ones always, to all of its run after `subscribe`. `revoked`: taken away
 * while its holder still wanted it.
 */
export interface LeaseNotice {
  state: 'waiting' | 'granted' | 'released' | 'revoked'
  run: string
  lease: string
  holder: string
  /** The `lease` call, in notices to the client that made it. */
  call?: number
  /** Empty while waiting. */
  vms: LeasedVm[]
  /** Why it waits, or was taken away. */
  reason?: string
  /** Since the request. */
  waitMs: number
  /** VMs leased on each host now. */
  hosts: { id: string; leased: number; capacity: number }[]
}

const VERBS: readonly string[] = [
  'hello',
  'lease',
  'cancel',
  'release',
  'end',
  'drain',
  'status',
  'subscribe',
  'sweep',
  'standbys',
  'will',
  'withdraw',
  'checkpoint',
  'keep',
  'give-up',
] satisfies Verb[]
const KINDS: readonly unknown[] = ['run', 'worker', 'cli'] satisfies ClientKind[]
const BRANCHES: readonly string[] = ERROR_BRANCHES
const KNOWN_VERDICTS: readonly string[] = VERDICTS
const MAX_CAUSES = 5

/** @throws `ATP_BROKER_MESSAGE` when the message is longer than {@link MAX_MESSAGE_BYTES}. */
export function encodeLine(message: object): Buffer {
  const line = Buffer.from(`${JSON.stringify(message)}\n`, 'utf8')
  if (line.length > MAX_MESSAGE_BYTES)
    throw broken(`a message of ${line.length} bytes is longer than ${MAX_MESSAGE_BYTES}`)
  return line
}

/** Cuts a byte stream into JSON objects. */
export class LineDecoder {
  #parts: Uint8Array[] = []
  #sizeBytes = 0

  /**
   * The messages that `chunk` completes.
   *
   * @throws `ATP_BROKER_MESSAGE` for a line that is too long, not UTF-8, not JSON or not an object. The stream
   * cannot be used any more then.
   */
  push(chunk: Uint8Array): Record<string, unknown>[] {
    const messages: Record<string, unknown>[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.#keep(chunk.subarray(start, end))
      messages.push(this.#take())
      start = end + 1
    }
    this.#keep(chunk.subarray(start))
    return messages
  }

  #keep(part: Uint8Array): void {
    this.#sizeBytes += part.length
    if (this.#sizeBytes >= MAX_MESSAGE_BYTES) throw broken(`a message is longer than ${MAX_MESSAGE_BYTES} bytes`)
    if (part.length > 0) this.#parts.push(part)
  }

  #take(): Record<string, unknown> {
    const bytes = Buffer.concat(this.#parts)
    this.#parts = []
    this.#sizeBytes = 0
    let message: unknown
    try {
      message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    } catch (error) {
      throw broken(`a line is not JSON: ${messageOf(error)}`)
    }
    if (!isObject(message)) throw broken('a line is not a JSON object')
    return message
  }
}

/**
 * A call out of a decoded message. The lease request inside is checked later, against what exists.
 *
 * @throws `ATP_BROKER_MESSAGE` when it is none.
 */
export function toCall(message: Record<string, unknown>): CallMessage {
  const { id, verb } = message
  const need = (good: boolean, what: string) => {
    if (!good) throw broken(`a call ${what}`)
  }
  need(Number.isSafeInteger(id), 'has no id')
  if (typeof verb !== 'string' || !VERBS.includes(verb))
    throw broken(`a call has an unknown verb ${JSON.stringify(verb)?.slice(0, 50)}`)
  const text = (key: string) => need(typeof message[key] === 'string', `"${verb}" has no ${key}`)
  const integer = (key: string) => need(Number.isSafeInteger(message[key]), `"${verb}" has no ${key}`)
  switch (verb as Verb) {
    case 'hello':
      integer('protocol')
      integer('pid')
      text('version')
      text('run')
      need(message['serves'] === undefined || typeof message['serves'] === 'string', '"hello" has a bad serves')
      need(KINDS.includes(message['kind']), '"hello" has no kind')
      break
    case 'lease':
      need(isObject(message['request']), '"lease" has no request')
      need(
        message['timeoutMs'] === undefined || typeof message['timeoutMs'] === 'number',
        '"lease" has a bad timeoutMs',
      )
      break
    case 'cancel':
      integer('call')
      break
    case 'release':
      text('lease')
      break
    case 'drain':
      text('run')
      break
    case 'standbys':
      need(isObject(message['perHost']), '"standbys" has no perHost')
      break
    case 'will': {
      const will = message['will']
      need(isObject(will) && typeof will['what'] === 'string', '"will" does not say what')
      need(isObject(will) && String(will['module']).startsWith('file:'), '"will" has no module')
      break
    }
    case 'withdraw':
      integer('will')
      break
    case 'checkpoint':
      text('key')
      break
    case 'keep':
      integer('claim')
      text('lease')
      break
    case 'give-up':
      integer('claim')
      break
    default:
  }
  return message as unknown as CallMessage
}

/** Any thrown value for the wire, with at most {@link MAX_CAUSES} causes. */
export function toWireError(error: unknown, causes = MAX_CAUSES): WireError {
  // What is not an AtpError at the top is a defect of the broker.
  if (!isAtpError(error)) {
    return { code: 'ATP_BROKER_INTERNAL', branch: 'internal', verdict: 'framework', message: messageOf(error) }
  }
  const { code, branch, verdict, retryable, remedy, cause } = error
  const tail = remedy === undefined ? '' : `\n  → ${remedy}`
  const message = tail !== '' && error.message.endsWith(tail) ? error.message.slice(0, -tail.length) : error.message
  const wire: WireError = { code, branch, verdict, message, retryable }
  const context = plain(error.context)
  if (context) wire.context = context
  if (remedy !== undefined) wire.remedy = remedy
  if (cause !== undefined && causes > 0) {
    wire.cause = isAtpError(cause) ? toWireError(cause, causes - 1) : { message: messageOf(cause) }
  }
  return wire
}

/** The error of the other side, as thrown here. Unknown fields of a newer peer are left out. */
export function fromWireError(wire: unknown): AtpError {
  const error = isObject(wire) ? wire : {}
  const text = (key: string) => (typeof error[key] === 'string' ? error[key] : undefined)
  const code = text('code')
  const branch = text('branch')
  const verdict = text('verdict')
  return new AtpError(
    branch !== undefined && BRANCHES.includes(branch) ? (branch as ErrorBranch) : 'internal',
    code?.startsWith('ATP_') ? (code as `ATP_${string}`) : 'ATP_BROKER_INTERNAL',
    text('message') ?? 'the broker failed without saying why',
    {
      retryable: error['retryable'] === true,
      ...(isObject(error['context']) && { context: error['context'] }),
      ...(text('remedy') !== undefined && { remedy: text('remedy') as string }),
      ...(verdict !== undefined && KNOWN_VERDICTS.includes(verdict) && { verdict: verdict as Verdict }),
      ...(isObject(error['cause']) && {
        cause:
          typeof error['cause']['code'] === 'string'
            ? fromWireError(error['cause'])
            : new Error(String(error['cause']['message'])),
      }),
    },
  )
}

/** Context values as JSON can hold them; undefined when there is nothing, or nothing JSON can hold. */
function plain(context: Record<string, unknown>): Record<string, unknown> | undefined {
  try {
    const json = JSON.stringify(context, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
    return json === '{}' ? undefined : (JSON.parse(json) as Record<string, unknown>)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function broken(what: string) {
  return protocolError('ATP_BROKER_MESSAGE', `between client and broker: ${what}`)
}
