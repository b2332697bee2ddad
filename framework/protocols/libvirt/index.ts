/** libvirt's RPC protocol in TypeScript; published as `@ocloudview/atp/libvirt`. */
export { LibvirtClient } from './client.ts'
export type { DomainState, OpenOptions, RestoreOptions, StartOptions } from './client.ts'
export type { OpenChannelOptions } from './domain-streams.ts'
export type { Domain } from './codec.ts'
export type { ConnectionStats } from './connection.ts'
export { CALL_OUTCOMES } from './call-observer.ts'
export type { CallObserver, CallOutcome, SettledCall } from './call-observer.ts'
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
export { parseCapabilities, type HostCapabilities } from './capabilities.ts'
export { parseDomainXml } from './xml.ts'
export type { DomainChannel, DomainGraphics, DomainInput, DomainXml } from './xml.ts'
export { OWNER_NAMESPACE, OWNER_PREFIX, ownerElement, ownerOf, parseOwnerElement, withOwner } from './owner-tag.ts'
export type { OwnerFields } from './owner-tag.ts'
export { DEFAULT_PORT, formatLibvirtUri, parseLibvirtUri, uriForHost, uriWithoutSecrets } from './uri.ts'
export type { LibvirtUri, ParseUriOptions } from './uri.ts'
export { RISKS } from './uri-parameters.ts'
export type { LibvirtTransport, Risk, UriParameters } from './uri-parameters.ts'
