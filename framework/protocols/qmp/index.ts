export * from './client.ts'
export { qmpNoSocketError } from './errors.ts'
export { QmpEvents, type QmpEventsOptions } from './events.ts'
export { QmpProtocol, QmpProtocolBuilder, type QmpProtocolOptions, type QmpSocketRoute } from './protocol.ts'
export {
  encodeCommand,
  parseMessage,
  qmpKey,
  type QmpCommand,
  type QmpEvent,
  type QmpGreeting,
  type QmpInputEvent,
  type QmpKey,
  type QmpMessage,
  type QmpVersion,
} from './codec.ts'
