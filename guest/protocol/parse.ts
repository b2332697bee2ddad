import { parseEvent } from './event.ts'
import {
  amountOf,
  countOf,
  flagOf,
  listOf,
  malformed,
  nanosecondsOf,
  objectOf,
  oneOf,
  textOf,
  type Fields,
} from './fields.ts'
import type {
  Expect,
  ExpectedInput,
  Gap,
  Hello,
  InputKind,
  Ping,
  RawInput,
  Refused,
  Release,
  Seen,
  TimeAnswer,
  TimeQuestion,
  Trace,
  VerifierEvent,
  VerifyResult,
  Welcome,
} from './messages.ts'

/** Longest `vm_id`, which earlier generations send as a frame of its own. */
const VM_ID_MAX_LENGTH = 256
/** Most entries of one `add` or `seen`. */
export const ENTRIES_MAX = 10_000
const ID_MAX_LENGTH = 128
const NAME_MAX_LENGTH = 64
const TOKEN_MAX_LENGTH = 4096
const TEXT_MAX_LENGTH = 4000
const VERIFIERS_MAX = 64
const CODE_MAX = 0xffff
const VALUE_MAX = 0x7fff_ffff
const KINDS: readonly InputKind[] = ['key', 'abs', 'rel']
const DEVICES = ['keyboard', 'mouse'] as const

/** What a server reads. */
export type FromAgent =
  | { kind: 'hello'; message: Hello }
  /** An earlier generation: its first frame is only this. */
  | { kind: 'vm-id'; vmId: string }
  | { kind: 'result'; message: VerifyResult }
  | { kind: 'seen'; message: Seen }
  | { kind: 'gap'; message: Gap }
  | { kind: 'time'; message: TimeAnswer }
  | { kind: 'ping'; message: Ping }
  | { kind: 'raw'; message: RawInput }
  /** `raw_input_event` or `verified_input_event` of an earlier generation, unread: to be refused. */
  | { kind: 'legacy-input' }

/** What an agent reads. */
export type FromServer =
  | { kind: 'welcome'; message: Welcome }
  | { kind: 'refused'; message: Refused }
  | { kind: 'event'; message: VerifierEvent }
  | { kind: 'expect'; message: Expect }
  | { kind: 'release'; message: Release }
  | { kind: 'time'; message: TimeQuestion }
  | { kind: 'ping'; message: Ping }
  | { kind: 'trace'; message: Trace }

/**
 * The first frame of a connection: a hello, or the bare VM id of an earlier generation.
 *
 * @throws `ATP_VERIFIER_MESSAGE`
 */
export function parseFirstFrame(text: string): FromAgent {
  const trimmed = text.trim()
  if (trimmed.startsWith('{')) return parseFromAgent(trimmed)
  return { kind: 'vm-id', vmId: vmIdOf({ vm_id: trimmed }) }
}

/**
 * A message of an agent, the results of both earlier generations included. Members it does not know are ignored.
 *
 * @throws `ATP_VERIFIER_MESSAGE`
 */
export function parseFromAgent(text: string): FromAgent {
  const fields = fieldsOf(text)
  switch (fields['type'] ?? fields['message_type']) {
    case 'hello':
      return { kind: 'hello', message: hello(fields) }
    case 'seen':
      return { kind: 'seen', message: seen(fields) }
    case 'gap':
      return { kind: 'gap', message: gap(fields) }
    case 'time':
      return { kind: 'time', message: timeAnswer(fields) }
    case 'ping':
    case 'pong':
      return { kind: 'ping', message: ping(fields) }
    case 'raw':
      return { kind: 'raw', message: raw(fields) }
    case 'raw_input_event':
    case 'verified_input_event':
      return { kind: 'legacy-input' }
    case undefined:
    case 'verify_result':
      return { kind: 'result', message: result(fields) }
    default:
      throw malformed('its type is unknown')
  }
}

/**
 * A message of a server, the events of both earlier generations included.
 *
 * @param newId makes the id of an event that came without one.
 * @throws `ATP_VERIFIER_MESSAGE`
 */
export function parseFromServer(text: string, newId: () => string): FromServer {
  const fields = fieldsOf(text)
  switch (fields['type']) {
    case 'welcome':
      return { kind: 'welcome', message: { v: 1, type: 'welcome' } }
    case 'refused':
      return { kind: 'refused', message: refused(fields) }
    case 'expect':
      return { kind: 'expect', message: expectation(fields) }
    case 'release':
      return { kind: 'release', message: { v: 1, type: 'release', event_id: eventId(fields) } }
    case 'time':
      return { kind: 'time', message: { v: 1, type: 'time', nonce: countOf(fields, 'nonce') } }
    case 'ping':
    case 'pong':
      return { kind: 'ping', message: ping(fields) }
    case 'trace':
      return { kind: 'trace', message: { v: 1, type: 'trace', on: flagOf(fields, 'on') } }
    default:
      return { kind: 'event', message: parseEvent(fields, newId) }
  }
}

/** The id of the event that a malformed message is about, if it has one: its sender waits for a result. */
export function eventIdOf(text: string): string | undefined {
  try {
    const fields = fieldsOf(text)
    const data = fields['data']
    const inner = typeof data === 'object' && data !== null ? (data as Fields)['event_id'] : undefined
    const id = fields['event_id'] ?? inner
    return typeof id === 'string' && id !== '' && id.length <= ID_MAX_LENGTH ? id : undefined
  } catch {
    return undefined
  }
}

function fieldsOf(text: string): Fields {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw malformed('it is no JSON')
  }
  const fields = objectOf(value, 'it')
  if (fields['v'] !== undefined && fields['v'] !== 1) throw malformed('its version is not 1')
  return fields
}

function eventId(fields: Fields): string {
  return textOf(fields, 'event_id', ID_MAX_LENGTH)
}

function hello(fields: Fields): Hello {
  const agent = objectOf(fields['agent'], '"agent"')
  const verifiers = listOf(fields, 'verifiers', VERIFIERS_MAX).map((name) => {
    if (typeof name !== 'string' || name === '' || name.length > NAME_MAX_LENGTH)
      throw malformed('a verifier has no name')
    return name
  })
  return {
    v: 1,
    type: 'hello',
    vm_id: vmIdOf(fields),
    ...(fields['token'] !== undefined && { token: textOf(fields, 'token', TOKEN_MAX_LENGTH) }),
    session: textOf(fields, 'session', ID_MAX_LENGTH),
    verifiers,
    agent: {
      version: textOf(agent, 'version', NAME_MAX_LENGTH),
      platform: oneOf(agent, 'platform', ['linux', 'win32', 'browser']),
    },
    level: oneOf(fields, 'level', ['kernel', 'browser']),
    reads_clock: flagOf(fields, 'reads_clock'),
  }
}

function vmIdOf(fields: Fields): string {
  const vmId = textOf(fields, 'vm_id', VM_ID_MAX_LENGTH)
  // They would let an agent write lines into a log.
  if (/\p{Cc}/u.test(vmId)) throw malformed('"vm_id" has control characters')
  return vmId
}

function refused(fields: Fields): Refused {
  return {
    v: 1,
    type: 'refused',
    code: textOf(fields, 'code', NAME_MAX_LENGTH),
    message: textOf(fields, 'message', TEXT_MAX_LENGTH),
  }
}

function result(fields: Fields): VerifyResult {
  return {
    v: 1,
    event_id: eventId(fields),
    verified: flagOf(fields, 'verified'),
    timestamp: amountOf(fields, 'timestamp'),
    latency_ms: amountOf(fields, 'latency_ms'),
    details: fields['details'] === undefined ? {} : objectOf(fields['details'], '"details"'),
  }
}

function expectation(fields: Fields): Expect {
  return {
    v: 1,
    type: 'expect',
    event_id: eventId(fields),
    device: oneOf(fields, 'device', DEVICES),
    add: listOf(fields, 'add', ENTRIES_MAX).map(expectedInput),
    last: flagOf(fields, 'last'),
  }
}

function expectedInput(entry: unknown): ExpectedInput {
  if (!Array.isArray(entry) || entry.length < 3 || entry.length > 4) throw malformed('an expected input is no triple')
  const [name, code, value, optional] = entry as readonly unknown[]
  const kind = KINDS.find((each) => each === name)
  if (kind === undefined) throw malformed('an expected input has an unknown kind')
  if (!isCode(code) || !isValue(value)) throw malformed('an expected input has no code and value')
  if (optional === undefined) return [kind, code, value]
  if (optional !== 'optional') throw malformed('the fourth element of an expected input is not "optional"')
  return [kind, code, value, 'optional']
}

function isCode(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= CODE_MAX
}

function isValue(value: unknown): value is number {
  return Number.isInteger(value) && Math.abs(value as number) <= VALUE_MAX
}

function seen(fields: Fields): Seen {
  return {
    v: 1,
    type: 'seen',
    event_id: eventId(fields),
    seen: listOf(fields, 'seen', ENTRIES_MAX).map((entry) => {
      if (!Array.isArray(entry) || entry.length !== 2) throw malformed('a seen input is no pair')
      const [index, guestNs] = entry as readonly unknown[]
      if (!Number.isSafeInteger(index) || (index as number) < 0) throw malformed('a seen input has no index')
      return [index as number, nanosecondsOf(guestNs, 'seen')] as const
    }),
    unexpected: countOf(fields, 'unexpected'),
  }
}

function gap(fields: Fields): Gap {
  return {
    v: 1,
    type: 'gap',
    ...(fields['event_id'] !== undefined && { event_id: eventId(fields) }),
    reason: textOf(fields, 'reason', TEXT_MAX_LENGTH),
  }
}

function timeAnswer(fields: Fields): TimeAnswer {
  return {
    v: 1,
    type: 'time',
    nonce: countOf(fields, 'nonce'),
    guest_ns: nanosecondsOf(fields['guest_ns'], 'guest_ns'),
    ...(fields['error_ns'] !== undefined && { error_ns: nanosecondsOf(fields['error_ns'], 'error_ns') }),
  }
}

function ping(fields: Fields): Ping {
  return { v: 1, type: oneOf(fields, 'type', ['ping', 'pong']), nonce: countOf(fields, 'nonce') }
}

function raw(fields: Fields): RawInput {
  const { code, value } = fields
  if (!isCode(code) || !isValue(value)) throw malformed('a raw input has no code and value')
  return {
    v: 1,
    type: 'raw',
    device: oneOf(fields, 'device', DEVICES),
    kind: oneOf(fields, 'kind', KINDS),
    code,
    value,
    guest_ns: nanosecondsOf(fields['guest_ns'], 'guest_ns'),
  }
}
