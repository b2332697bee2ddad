import { protocolError } from '../core/index.ts'
import type { HostObserver, ObservedLink, PoolCount } from '../hosts/observer.ts'
import type { CallOutcome } from '../protocols/libvirt/call-observer.ts'

type Role = ObservedLink['role']

/** What an observer was told, as it travels from a worker to the main process. */
export type RelayRecord =
  | [kind: 'opened', host: string, role: Role, durationMs: number, reconnect: boolean]
  | [kind: 'closed', host: string, role: Role, lost: boolean]
  | [kind: 'state', host: string, from: string, to: string]
  | [
      kind: 'call',
      host: string,
      role: Role,
      operation: string,
      outcome: CallOutcome,
      durationMs: number,
      queuedMs: number,
    ]
  | [kind: 'pool', host: string, what: PoolCount, by: number]
  | [kind: 'acquire' | 'connect', host: string, durationMs: number]

const FIELDS: Record<RelayRecord[0], readonly ('string' | 'number' | 'boolean')[]> = {
  opened: ['string', 'string', 'number', 'boolean'],
  closed: ['string', 'string', 'boolean'],
  state: ['string', 'string', 'string'],
  call: ['string', 'string', 'string', 'string', 'number', 'number'],
  pool: ['string', 'string', 'number'],
  acquire: ['string', 'number'],
  connect: ['string', 'number'],
}

export const RELAY_LIMITS = { minBytes: 4, maxBytes: 1024 * 1024 }

/** A frame: its own length as big-endian u32, then the text. */
export function relayFrame(text: string): Buffer {
  const lengthBytes = 4 + Buffer.byteLength(text)
  const frame = Buffer.allocUnsafe(lengthBytes)
  frame.writeUInt32BE(lengthBytes)
  frame.write(text, 4)
  return frame
}

/** @throws `ATP_METRICS_RELAY` for anything but a list of records. */
export function parseRecords(text: string): RelayRecord[] {
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch (error) {
    throw invalid('no JSON', error)
  }
  if (!Array.isArray(list)) throw invalid('no list')
  if (!list.every(isRecord)) throw invalid('an unknown record')
  return list
}

/** Tells an observer what the record says. */
export function replay(record: RelayRecord, observer: HostObserver): void {
  switch (record[0]) {
    case 'opened': {
      const [, host, role, durationMs, reconnect] = record
      return observer.linkOpened({ host, role }, { durationMs, reconnect })
    }
    case 'closed': {
      const [, host, role, lost] = record
      return observer.linkClosed({ host, role }, lost ? LOST : undefined)
    }
    case 'state': {
      const [, host, from, to] = record
      return observer.stateChanged({ host, from, to })
    }
    case 'call': {
      const [, host, role, operation, outcome, durationMs, queuedMs] = record
      return observer.callSettled({ host, role }, { operation, outcome, durationMs, queuedMs })
    }
    case 'pool': {
      const [, host, what, by] = record
      return observer.poolCounted(host, what, by)
    }
    case 'acquire':
    case 'connect': {
      const [what, host, durationMs] = record
      return observer.poolTimed(host, what, durationMs)
    }
  }
}

/** Why a connection was lost stays in its process: metrics only count. */
const LOST = new Error('the connection was lost')

function isRecord(value: unknown): value is RelayRecord {
  if (!Array.isArray(value)) return false
  const [kind, ...fields] = value as unknown[]
  const types = Object.hasOwn(FIELDS, String(kind)) ? FIELDS[kind as RelayRecord[0]] : undefined
  return types?.length === fields.length && fields.every((field, index) => typeof field === types[index])
}

function invalid(what: string, cause?: unknown): Error {
  return protocolError('ATP_METRICS_RELAY', `the figures of a worker are ${what}`, { cause })
}
