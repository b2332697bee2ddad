/** libvirt's RPC protocol in TypeScript; published as `@ocloudview/atp/libvirt`. */
export { LibvirtClient } from './client.ts'
export type {
  DomainState,
  OpenChannelOptions,
  OpenOptions,
  RestoreOptions,
  StartOptions,
} from './client.ts'
export type { Domain } from './codec.ts'
export type { ConnectionStats } from './connection.ts'
export type { ChannelStream, ChannelStreamOptions } from './channel-stream.ts'
export type {
  AgentLifecycleEvent,
  DomainMonitorEvent,
  LifecycleEvent,
  LifecycleEventName,
  RebootEvent,
  Unsubscribe,
} from './domain-events.ts'
export type { ByteSink, ByteStream } from '../../wire/byte-stream.ts'
export {
  OWNER_NAMESPACE,
  OWNER_PREFIX,
  ownerElement,
  ownerOf,
  parseDomainXml,
  parseOwnerElement,
  withOwner,
} from './xml.ts'
export type { DomainChannel, DomainGraphics, DomainInput, DomainXml, OwnerFields } from './xml.ts'
export { parseLibvirtUri } from './uri.ts'
export type { LibvirtTransport, LibvirtUri } from './uri.ts'
