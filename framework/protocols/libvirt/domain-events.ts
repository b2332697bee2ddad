import { logger, messageOf, type CallOptions } from '../../core/index.ts'
import type { XdrReader, XdrWriter } from '../../wire/index.ts'
import type { MonitorEvent } from '../protocol.ts'
import { readDomain, writeOptionalDomain, type Domain } from './codec.ts'
import type { RpcConnection } from './connection.ts'
import { EVENT_ID, PROGRAM, QEMU, REMOTE } from './protocol-numbers.ts'

/** Ends a subscription; no event is delivered once it was called. Resolves when the daemon knows too. */
export type Unsubscribe = () => Promise<void>

const LIFECYCLE = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const

/** `virDomainEventType` */
export type LifecycleEventName = (typeof LIFECYCLE)[number] | 'unknown'

export interface LifecycleEvent {
  domain: Domain
  event: LifecycleEventName
  /** Why, as libvirt numbers it for this event (`virDomainEventStartedDetailType` and so on). */
  detail: number
}
export interface RebootEvent {
  domain: Domain
}
export interface AgentLifecycleEvent {
  domain: Domain
  state: 'connected' | 'disconnected'
  /** `virConnectDomainEventAgentLifecycleReason` */
  reason: number
}
export interface DomainMonitorEvent extends MonitorEvent {
  domain: Domain
}

/** One kind of event: how to subscribe to it and what its body holds. */
interface EventKind<T> {
  what: string
  program: number
  register: number
  deregister: number
  event: number
  encode: (writer: XdrWriter) => void
  decode: (body: XdrReader) => T
}

function domainEvent<T>(
  what: string,
  eventId: number,
  event: number,
  domain: Domain | undefined,
  decode: (body: XdrReader) => T,
): EventKind<T> {
  return {
    what,
    program: PROGRAM.REMOTE,
    register: REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
    deregister: REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY,
    event,
    encode: (writer) => writeOptionalDomain(writer.i32(eventId), domain),
    decode,
  }
}

/** Starting, stopping, pausing of one domain or of all. */
export function lifecycleEvents(domain: Domain | undefined): EventKind<LifecycleEvent> {
  const { LIFECYCLE: id } = EVENT_ID
  return domainEvent('lifecycle events', id, REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE, domain, (body) => ({
    domain: readDomain(body),
    event: LIFECYCLE[body.i32()] ?? 'unknown',
    detail: body.i32(),
  }))
}

/** The guest rebooted. */
export function rebootEvents(domain: Domain | undefined): EventKind<RebootEvent> {
  return domainEvent('reboot events', EVENT_ID.REBOOT, REMOTE.DOMAIN_EVENT_CALLBACK_REBOOT, domain, (body) => ({
    domain: readDomain(body),
  }))
}

/** The guest agent opened or closed its port. */
export function agentLifecycleEvents(domain: Domain | undefined): EventKind<AgentLifecycleEvent> {
  const { AGENT_LIFECYCLE: id } = EVENT_ID
  return domainEvent('agent events', id, REMOTE.DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, domain, (body) => ({
    domain: readDomain(body),
    state: body.i32() === 1 ? 'connected' : 'disconnected',
    reason: body.i32(),
  }))
}

/** QMP events, all or those of one name. */
export function monitorEvents(domain: Domain | undefined, name: string | undefined): EventKind<DomainMonitorEvent> {
  return {
    what: 'monitor events',
    program: PROGRAM.QEMU,
    register: QEMU.CONNECT_DOMAIN_MONITOR_EVENT_REGISTER,
    deregister: QEMU.CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER,
    event: QEMU.DOMAIN_MONITOR_EVENT,
    encode: (writer) => writeOptionalDomain(writer, domain).optionalString(name).u32(0),
    decode: (body) => {
      const source = readDomain(body)
      const event = body.string()
      const timestamp = { seconds: Number(body.i64()), microseconds: body.u32() }
      const details = body.optionalString()
      return { domain: source, event, timestamp, data: details === undefined ? undefined : JSON.parse(details) }
    },
  }
}

/** Subscribes; events that follow the daemon's confirmation in the same packet are delivered already. */
export function subscribe<T>(
  connection: RpcConnection,
  kind: EventKind<T>,
  handler: (event: T) => void,
  options?: CallOptions,
): Promise<Unsubscribe> {
  const { program, event } = kind
  let active = true
  const deliver = (body: XdrReader) => {
    const value = kind.decode(body)
    body.end()
    if (!active) return
    try {
      handler(value)
    } catch (error) {
      logger('libvirt').error(`a handler of ${kind.what} threw: ${messageOf(error)}`)
    }
  }
  const deregister = (callbackId: number) =>
    connection.call({
      what: `unsubscribing from ${kind.what}`,
      program,
      procedure: kind.deregister,
      high: true,
      bound: true,
      encode: (writer) => void writer.i32(callbackId),
      decode: nothing,
    })
  connection.events.registrationBegins()
  let callbackId = 0
  return connection
    .call(
      {
        what: `subscribing to ${kind.what}`,
        program,
        procedure: kind.register,
        high: true,
        bound: true,
        encode: kind.encode,
        decode: (reader) => reader.i32(),
        onReply: (id) => {
          callbackId = id
          connection.events.add(program, event, id, deliver)
        },
        onLate: (id) => void deregister(id).catch(nothing),
      },
      options,
    )
    .finally(() => connection.events.registrationEnds())
    .then(() => async () => {
      if (!active) return
      active = false
      try {
        if (!connection.ended) await deregister(callbackId)
      } catch (error) {
        // Subscriptions end with their connection.
        if (!connection.ended) throw error
      } finally {
        connection.events.delete(program, event, callbackId)
      }
    })
}

function nothing(): void {}
