import type { Domain } from '../protocols/libvirt/index.ts'
import type { ConnectionEvent, ProtocolTarget } from '../protocols/protocol.ts'
import type { ChannelLocks } from './channel-locks.ts'
import type { HostConnection } from './host-connection.ts'

/** What protocols need of one VM, over whatever connections its host has at the moment. */
export function hostTarget(host: HostConnection, domain: Domain, channels: ChannelLocks): ProtocolTarget {
  return {
    name: domain.name,
    uuid: domain.uuid,
    xml: async (bounds) => (await host.client('control', bounds)).getXml(domain, bounds),
    monitorCommand: async (json, bounds) => (await host.client('calls', bounds)).monitorCommand(domain, json, bounds),
    humanMonitorCommand: async (line, bounds) =>
      (await host.client('calls', bounds)).humanMonitorCommand(domain, line, bounds),
    agentCommand: async (json, bounds) => (await host.client('calls', bounds)).agentCommand(domain, json, bounds),
    onMonitorEvent: (handler, bounds) => host.onMonitorEvent(domain, handler, bounds),
    openChannel: (name, bounds = {}) =>
      channels.open(`${domain.uuid}/${name}`, bounds, async (each) => {
        const client = await host.client('channels', each)
        return { client, stream: await client.openChannel(domain, name, each) }
      }),
    onConnection: (handler) => connectionEvents(host, handler),
  }
}

/** States of a host as protocols see them: lost once, restored once. */
function connectionEvents(host: HostConnection, handler: (event: ConnectionEvent) => void): () => void {
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
