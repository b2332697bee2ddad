// A client that is killed: it holds a VM that must die with it, and a channel of another VM.
import { connectUnix } from '../../../framework/transport/index.ts'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { CHANNEL, tinyDomain } from '../../support/remote-host/index.ts'

const [socketPath = '', vmName = ''] = process.argv.slice(2)
const client = await LibvirtClient.open(await connectUnix(socketPath), { path: '/session' })
await client.createXml(tinyDomain('mortal'), { autodestroy: true, paused: true })
const channel = await client.openChannel(await client.lookupByName(vmName), CHANNEL)
// More than the guest reads: the daemon holds some of it when this process dies.
void channel.write(Buffer.alloc(1_048_576)).catch(() => {})
process.stdout.write('ready\n')
