import { readFile } from 'node:fs/promises'
import { loadConfig, type ResolvedConfig } from '../config/index.ts'
import { configError, isAtpError, messageOf, Secret } from '../core/index.ts'
import { SpiceSession } from '../desktop/spice-session.ts'
import { HostConnection, spiceServer, TransportManager } from '../hosts/index.ts'
import { parseSpiceUri, SpiceVmConnection } from '../protocols/spice/index.ts'
import { connectConsole } from '../protocols/spice/protocol.ts'
import { allHosts } from './known-hosts.ts'

export interface ConsoleOptions {
  config?: string
  /** PEM file, for an address over TLS. */
  ca?: string
}

/**
 * Runs `work` with a session of a console: an address, a VM of the hosts file's `spice.vms`, or one of a host.
 *
 * @throws `ATP_SPICE_CONSOLE_UNKNOWN`, `ATP_SPICE_URI`, what connecting throws. Nothing is left open.
 */
export async function withConsole<T>(
  name: string,
  { config: file, ca }: ConsoleOptions,
  work: (session: SpiceSession) => Promise<T>,
): Promise<T> {
  if (name.includes('://')) return await atAddress(name, ca, work)
  const config = await loadConfig(process.cwd(), file)
  if (config.spice.vms.some(({ vmId }) => vmId === name)) return await ofHostsFile(name, config, work)
  return await ofHost(name, config, work)
}

async function atAddress<T>(
  address: string,
  ca: string | undefined,
  work: (session: SpiceSession) => Promise<T>,
): Promise<T> {
  const password = process.env['SPICE_PASSWORD']
  const server = spiceServer(parseSpiceUri(address), {
    ...(password !== undefined && { password: new Secret('SPICE password', password) }),
    ...(ca !== undefined && { tls: { ca: await pem(ca) } }),
  })
  const connection = new SpiceVmConnection(server.name, { server })
  try {
    await connection.connectMainChannel()
    return await work(new SpiceSession(server.name, connection))
  } finally {
    await connection.disconnectAll()
  }
}

async function ofHostsFile<T>(
  vmId: string,
  config: ResolvedConfig,
  work: (session: SpiceSession) => Promise<T>,
): Promise<T> {
  const transport = new TransportManager({ spiceVms: config.spice.vms })
  try {
    return await work(new SpiceSession(vmId, await transport.getSpiceConnection(vmId)))
  } finally {
    await transport.close()
  }
}

/** Asks one host after the other; the first that has a VM of this name is the one. */
async function ofHost<T>(
  name: string,
  config: ResolvedConfig,
  work: (session: SpiceSession) => Promise<T>,
): Promise<T> {
  const asked: string[] = []
  for (const known of await allHosts(config)) {
    if (known.up === false) continue
    let host: HostConnection | undefined
    try {
      host = await HostConnection.open(known.info(), { timeoutMs: known.connectTimeoutMs })
      const control = await host.client('control')
      const target = await host.target(await control.lookupByName(name))
      const connection = await connectConsole(target, {}, {})
      try {
        return await work(new SpiceSession(name, connection))
      } finally {
        await connection.disconnectAll()
      }
    } catch (error) {
      if (host && !isAtpError(error, 'ATP_LIBVIRT_NO_DOMAIN')) throw error
      asked.push(host ? `${known.id} has none` : `${known.id}: ${messageOf(error).split('\n')[0]}`)
    } finally {
      await host?.close()
    }
  }
  throw configError('ATP_SPICE_CONSOLE_UNKNOWN', `no VM "${name}" was found (${asked.join('; ') || 'no host is up'})`, {
    remedy: 'give the name of a running VM, or an address such as spice://host:5900',
  })
}

async function pem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw configError('ATP_USAGE', `the authorities of "${file}" cannot be read`, { cause })
  }
}
