import { configError } from '../../../framework/core/errors.ts'

/** Ways from an agent to its server. */
export const TRANSPORTS = ['websocket', 'tcp', 'unix', 'virtio-serial'] as const
export type TransportName = (typeof TRANSPORTS)[number]

/** Where a server is. */
export type Endpoint =
  | { transport: 'websocket'; url: string; secure: boolean; host: string }
  | { transport: 'tcp'; host: string; port: number; secure: boolean }
  | { transport: 'unix' | 'virtio-serial'; path: string }

/** Ports a verification server listens on when nothing else is said. */
const DEFAULT_PORTS = { websocket: 8765, tcp: 8766 }
const DEFAULT_VIRTIO_PORT = '/dev/virtio-ports/atp.verifier.0'
const SCHEMES: Readonly<Record<string, TransportName>> = {
  'ws:': 'websocket',
  'wss:': 'websocket',
  'tcp:': 'tcp',
  'tls:': 'tcp',
  'unix:': 'unix',
  'virtio-serial:': 'virtio-serial',
}

/**
 * What `--server` and `--transport` mean together: `ws://host:8765/path`, `wss://…`, `tcp://host:8766`, `tls://…`,
 * `unix:/path`, `virtio-serial:/dev/virtio-ports/name`, or a bare `host`, `host:port` or path with the transport named
 * apart. A virtio-serial port needs no server: it has a usual name.
 *
 * @throws `ATP_VERIFIER_OPTIONS`
 */
export function parseEndpoint(server: string | undefined, transport?: TransportName): Endpoint {
  if (server === undefined || server === '') {
    if (transport === 'virtio-serial') return { transport, path: DEFAULT_VIRTIO_PORT }
    throw invalid('no server is given', 'pass --server ws://host:8765, or --transport virtio-serial')
  }
  const scheme = /^([a-z-]+:)/.exec(server)?.[1]
  const named = scheme === undefined ? undefined : SCHEMES[scheme]
  if (named !== undefined && transport !== undefined && named !== transport) {
    throw invalid(
      `--server ${server} is no ${transport} address`,
      'leave --transport out, or give an address of its kind',
    )
  }
  const kind =
    named ?? transport ?? (server.startsWith('/dev/') ? 'virtio-serial' : server.startsWith('/') ? 'unix' : 'websocket')
  const rest = named === undefined ? server : server.slice((scheme as string).length)
  if (kind === 'unix' || kind === 'virtio-serial') {
    const path = rest.replace(/^\/\/(?=\/)/, '')
    if (!path.startsWith('/')) throw invalid(`"${server}" is no path from the root`)
    return { transport: kind, path }
  }
  const secure = scheme === 'wss:' || scheme === 'tls:'
  const address = rest.replace(/^\/\//, '')
  const url = parseUrl(`${secure ? 'https' : 'http'}://${address}`, server)
  const port = url.port === '' ? (explicitPort(address) ?? DEFAULT_PORTS[kind]) : Number(url.port)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (kind === 'tcp') return { transport: kind, host, port, secure }
  const path = `${url.pathname}${url.search}`
  return { transport: kind, url: `${secure ? 'wss' : 'ws'}://${url.hostname}:${port}${path}`, secure, host }
}

/** Whether what goes there stays on this machine: a loopback address, a socket, the hypervisor's port. */
export function isLocal(endpoint: Endpoint): boolean {
  if (!('host' in endpoint)) return true
  return endpoint.host === 'localhost' || endpoint.host === '::1' || /^127(\.\d+){3}$/.test(endpoint.host)
}

function parseUrl(text: string, server: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || url.hostname === '') throw invalid(`"${server}" is no address of a server`)
  if (url.username !== '' || url.password !== '') {
    throw invalid(
      'the address of the server holds a user or password',
      'give the token by --token-file or ATP_VERIFIER_TOKEN',
    )
  }
  return url
}

/** The port that URLs leave out because it is their scheme's usual one. */
function explicitPort(address: string): number | undefined {
  const port = /^[^/?#]*:(\d+)(?:[/?#]|$)/.exec(address.replace(/^\[[^\]]*\]/, 'v6'))?.[1]
  return port === undefined ? undefined : Number(port)
}

function invalid(problem: string, remedy?: string) {
  return configError('ATP_VERIFIER_OPTIONS', problem, { remedy })
}
