import type { CallOptions, Secret } from '../core/index.ts'
import type { SpiceAddress, SpiceCarrier, SpiceServer } from '../protocols/spice/index.ts'
import type { SaslCredentials } from '../protocols/sasl/index.ts'
import { connectTcp, connectTls, connectUnix, type TlsAddress } from '../transport/index.ts'
import { connectWebSocket } from './spice-web-socket.ts'

/** How TLS channels are made, in PEM texts. */
export type SpiceTls = Omit<TlsAddress, 'host' | 'port'>

export interface SpiceServerOptions {
  /** For messages. Default: the address. */
  name?: string
  /** For servers with a TLS port, and for `wss://`. Who answers is verified unless `verify` is false. */
  tls?: SpiceTls
  /** Password of the console. */
  password?: Secret
  sasl?: SaslCredentials
}

/**
 * A SPICE server as sessions want it, with carriers over TCP, TLS, a Unix socket or a WebSocket. With both ports a
 * channel goes over the plain one, and over TLS where the server demands that.
 */
export function spiceServer(address: SpiceAddress, options: SpiceServerOptions = {}): SpiceServer {
  const { name = nameOf(address), tls = {}, password, sasl } = options
  const credentials = { ...(password && { password }), ...(sasl && { sasl }) }
  const common = { name, credentials }
  if (address.kind === 'unix') return { ...common, open: over((bounds) => connectUnix(address.path, bounds)) }
  if (address.kind === 'websocket')
    return { ...common, open: over((bounds) => connectWebSocket(address.url, tls, bounds)) }
  const { host, port, tlsPort } = address
  const secured =
    tlsPort === undefined ? undefined : over((bounds) => connectTls({ ...tls, host, port: tlsPort }, bounds))
  if (port === undefined) return { ...common, open: secured as SpiceCarrier }
  return { ...common, open: over((bounds) => connectTcp({ host, port }, bounds)), openSecured: secured }
}

function over(connect: (bounds: CallOptions) => ReturnType<typeof connectTcp>): SpiceCarrier {
  return (_channel, bounds) => connect(bounds)
}

function nameOf(address: SpiceAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  if (address.kind === 'websocket') return address.url
  const host = address.host.includes(':') ? `[${address.host}]` : address.host
  return address.port === undefined ? `spice+tls://${host}:${address.tlsPort}` : `spice://${host}:${address.port}`
}
