/**
 * QMP messages (QEMU, docs/interop/qmp-spec): one JSON object a line. Pure: text ↔ messages.
 */
import { qmpProtocolError } from './errors.ts'

/** Version triple of QEMU and the package it came in. */
export interface QmpVersion {
  qemu: { major: number; minor: number; micro: number }
  package: string
}

/** What the server says first (§ Server Greeting). */
export interface QmpGreeting {
  version: QmpVersion
  capabilities: string[]
}

/** § Issuing Commands. Absent members are omitted on the wire. */
export interface QmpCommand {
  execute: string
  arguments?: object
  id?: number | string
}

/** § Asynchronous events. */
export interface QmpEvent {
  event: string
  /** The hypervisor host's clock; −1 for both when QEMU could not read it. */
  timestamp: { seconds: number; microseconds: number }
  data: unknown
}

/** Anything a server may send. An error without id answers something that was not even JSON. */
export type QmpMessage =
  | { type: 'greeting'; greeting: QmpGreeting }
  | { type: 'return'; id: unknown; value: unknown }
  | { type: 'error'; id: unknown; class: string; desc: string }
  | { type: 'event'; event: QmpEvent }

/** One key by QKeyCode, as `send-key` and `input-send-event` want it. */
export interface QmpKey {
  type: 'qcode'
  data: string
}

export function qmpKey(qcode: string): QmpKey {
  return { type: 'qcode', data: qcode }
}

/** `InputEvent` of QEMU's QAPI schema (qapi/ui.json). */
export type QmpInputEvent =
  | { type: 'key'; data: { down: boolean; key: QmpKey } }
  | { type: 'btn'; data: { down: boolean; button: string } }
  | { type: 'abs' | 'rel'; data: { axis: 'x' | 'y'; value: number } }

export function encodeCommand({ execute, arguments: args, id }: QmpCommand): string {
  return JSON.stringify({ execute, arguments: args, id })
}

/** @throws `ATP_QMP_PROTOCOL` for anything that is no QMP server message. */
export function parseMessage(text: string): QmpMessage {
  const message = parseObject(text)
  if ('return' in message) return { type: 'return', id: message['id'], value: message['return'] }
  if ('error' in message) {
    const error = message['error']
    if (!isObject(error) || typeof error['desc'] !== 'string')
      throw qmpProtocolError('an error without description', text)
    const errorClass = typeof error['class'] === 'string' ? error['class'] : 'GenericError'
    return { type: 'error', id: message['id'], class: errorClass, desc: error['desc'] }
  }
  if ('event' in message) return { type: 'event', event: parseEvent(message, text) }
  if ('QMP' in message) return { type: 'greeting', greeting: parseGreeting(message['QMP'], text) }
  throw qmpProtocolError('a message of no known kind', text)
}

function parseEvent(message: Record<string, unknown>, text: string): QmpEvent {
  const { event, timestamp, data } = message
  if (typeof event !== 'string' || !isObject(timestamp)) throw qmpProtocolError('a malformed event', text)
  const { seconds, microseconds } = timestamp
  if (typeof seconds !== 'number' || typeof microseconds !== 'number') throw qmpProtocolError('a malformed event', text)
  return { event, timestamp: { seconds, microseconds }, data: data ?? {} }
}

function parseGreeting(body: unknown, text: string): QmpGreeting {
  const version = isObject(body) ? parseVersion(body['version']) : undefined
  if (!isObject(body) || !version) throw qmpProtocolError('a greeting without version', text)
  // The list's items were objects in early drafts of QMP; only names mean anything to a client.
  const capabilities = Array.isArray(body['capabilities'])
    ? body['capabilities'].filter((c) => typeof c === 'string')
    : []
  return { version, capabilities }
}

/** The answer of `query-version`; undefined if it is none. */
export function parseVersion(value: unknown): QmpVersion | undefined {
  if (!isObject(value) || !isObject(value['qemu'])) return undefined
  const { major, minor, micro } = value['qemu']
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') return undefined
  return { qemu: { major, minor, micro }, package: typeof value['package'] === 'string' ? value['package'] : '' }
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw qmpProtocolError('something that is not JSON', text, cause)
  }
  if (!isObject(value)) throw qmpProtocolError('JSON that is no object', text)
  return value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
