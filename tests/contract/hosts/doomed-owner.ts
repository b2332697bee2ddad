// A process that is killed while it owns a host with a running VM and connections to it.
import { echoDomain, openClient, RemoteHost } from '../../support/remote-host/index.ts'

const host = await RemoteHost.start({ listen: ['tcp', 'ssh'] })
const client = await openClient(host.info('ssh'))
await client.create(await client.defineXml(echoDomain(host.daemon, 'vm')), { paused: true })
process.stdout.write(host.daemon.root)
