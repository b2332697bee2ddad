import { countOf, malformed, objectOf, type Fields } from './fields.ts'
import { DEFAULT_TIMEOUT_MS, RESERVED_TYPES, type VerifierEvent } from './messages.ts'

const ID_MAX_LENGTH = 128
const TYPE_MAX_LENGTH = 64
const KEY_MAX_LENGTH = 64
/** Longest time an event may wait. */
const TIMEOUT_MAX_MS = 3_600_000

/** What an event without an action means. */
const DEFAULT_ACTIONS: Readonly<Record<string, string>> = { keyboard: 'keydown', mouse: 'move', command: 'run' }

/** Members that every event has. Others belong into `metadata`, also where they stand beside these. */
const OWN_NAMES = new Set([
  'v',
  'event_id',
  'type',
  'event_type',
  'message_type',
  'action',
  'key',
  'timestamp',
  'data',
  'metadata',
])

/**
 * An event in any of its shapes: version 1, the envelope `{event_type, timestamp, data: {…}}` and `event_type` for
 * `type`. Whatever an event needs is in `metadata` afterwards.
 *
 * @param newId makes the id of an event that came without one.
 * @throws `ATP_VERIFIER_MESSAGE`
 */
export function parseEvent(value: unknown, newId: () => string): VerifierEvent {
  const outer = objectOf(value, 'an event')
  const data = outer['data'] === undefined ? {} : objectOf(outer['data'], '"data"')
  const given = outer['metadata'] === undefined ? {} : objectOf(outer['metadata'], '"metadata"')
  const { event_id: innerId, action: innerAction, key: innerKey, ...rest } = data
  const type = text(outer['type'] ?? outer['event_type'], 'type', TYPE_MAX_LENGTH)
  if (RESERVED_TYPES.has(type)) throw malformed('its type is not one of an event')
  const id = outer['event_id'] ?? innerId
  const key = outer['key'] ?? innerKey
  const metadata: Fields = { ...others(outer), ...rest, ...given }
  const timeoutMs = metadata['timeout_ms'] === undefined ? DEFAULT_TIMEOUT_MS : countOf(metadata, 'timeout_ms')
  if (timeoutMs > TIMEOUT_MAX_MS) throw malformed(`"timeout_ms" is more than ${TIMEOUT_MAX_MS}`)
  const timestamp = outer['timestamp'] ?? 0
  if (typeof timestamp !== 'number' || !Number.isFinite(timestamp)) throw malformed('"timestamp" is no number')
  return {
    v: 1,
    event_id: id === undefined ? newId() : text(id, 'event_id', ID_MAX_LENGTH),
    type,
    action: text(outer['action'] ?? innerAction ?? DEFAULT_ACTIONS[type] ?? 'verify', 'action', TYPE_MAX_LENGTH),
    ...(key !== undefined && { key: text(key, 'key', KEY_MAX_LENGTH) }),
    timestamp,
    metadata: { ...metadata, timeout_ms: timeoutMs },
  }
}

function others(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !OWN_NAMES.has(name)))
}

function text(value: unknown, name: string, maxLength: number): string {
  if (typeof value !== 'string' || value === '' || value.length > maxLength) {
    throw malformed(`"${name}" is no text of at most ${maxLength} characters`)
  }
  return value
}
