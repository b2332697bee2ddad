import type { CallOptions } from '../core/index.ts'
import type { Domain, LibvirtClient } from '../protocols/libvirt/index.ts'
import type { ConnectionEvent, MonitorEvent, ProtocolTarget } from '../protocols/protocol.ts'
import type { HostInfo } from './access.ts'
import type { ChannelLocks } from './channel-locks.ts'
import { openConsole } from './console.ts'
import type { HostRole } from './host-role.ts'
import type { LinkChange } from './link.ts'

/** What a target needs of its host's connection. */
interface TargetHost {
  readonly info: HostInfo
  client(role: HostRole, options?: CallOptions): Promise<LibvirtClient>
  onMonitorEvent(
    domain: Domain,
    handler: (event: MonitorEvent) => void,
    options?: CallOptions,
  ): Promise<() => Promise<void>>
  onStateChange(handler: (change: LinkChange) => void): () => void
}

/** What protocols need of one VM, over whatever connections its host has at the moment. */
export function hostTarget(host: TargetHost, domain: Domain, channels: ChannelLocks): ProtocolTarget {
  /** One call; its time limit includes the waiting for a connection. */
  const on = async <T>(
    role: HostRole,
    bounds: CallOptions = {},
    call: (client: LibvirtClient, bounds: CallOptions) => Promise<T>,
  ): Promise<T> => {
    const { signal, timeoutMs } = bounds
    const startedMs = performance.now()
    const client = await host.client(role, bounds)
    if (timeoutMs === undefined) return call(client, bounds)
    return call(client, { signal, timeoutMs: Math.max(1, timeoutMs - (performance.now() - startedMs)) })
  }
  return {
    name: domain.name,
    uuid: domain.uuid,
    xml: ({ secure, ...bounds } = {}) =>
      on('control', bounds, (client, rest) => client.getXml(domain, { ...rest, secure })),
    openConsole: (address, bounds) => openConsole(host.info, address, bounds),
    monitorCommand: (json, bounds) => on('calls', bounds, (client, rest) => client.monitorCommand(domain, json, rest)),
    humanMonitorCommand: (line, bounds) =>
      on('calls', bounds, (client, rest) => client.humanMonitorCommand(domain, line, rest)),
    agentCommand: (json, bounds) => on('calls', bounds, (client, rest) => client.agentCommand(domain, json, rest)),
    onMonitorEvent: (handler, bounds) => host.onMonitorEvent(domain, handler, bounds),
    openChannel: (name, bounds = {}) =>
      channels.open(`${domain.uuid}/${name}`, bounds, (each) =>
        on('channels', each, async (client, rest) => ({
          client,
          stream: await client.openChannel(domain, name, rest),
        })),
      ),
    onConnection: (handler) => connectionEvents(host, handler),
  }
}

/** States of a host as protocols see them: lost once, restored once. */
function connectionEvents(host: TargetHost, handler: (event: ConnectionEvent) => void): () => void {
  let lost = false
  return host.onStateChange(({ from, to, error }) => {
    if (to === 'connected' && lost) {
      lost = false
      handler({ state: 'restored' })
    } else if (from === 'connected' && to !== 'connected') {
      lost = true
      handler({ state: 'lost', error })
    }
  })
}
