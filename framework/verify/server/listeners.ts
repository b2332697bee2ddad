import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server as HttpServer,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, isIP, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { WebSocketServer, type WebSocket } from 'ws'
import { configError, connectError, messageOf } from '../../core/index.ts'
import { MESSAGE_MAX_BYTES } from '../../../guest/protocol/index.ts'
import { serveWebPage } from './web-page.ts'

/** PEM texts of the server's certificate and its key. */
export interface ListenerTls {
  cert: string
  key: string
}

/** An address where agents may connect. */
export type AgentListener =
  | {
      transport: 'websocket' | 'tcp'
      /** Address of this machine. Default `127.0.0.1`: this machine only. */
      host?: string | undefined
      /** 0 takes any free port. */
      port: number
      tls?: ListenerTls | undefined
      /** Without TLS on an address that others reach: tokens and keys can be read on the way. */
      allowPlain?: boolean | undefined
    }
  | { transport: 'unix'; path: string }

/** Where it listens: `url` is what agents are started with. */
export interface ListeningAddress {
  transport: AgentListener['transport']
  url: string
  port?: number
}

interface Handlers {
  onConnection(socket: Socket): void
  onSocket(socket: Socket, peer: string): void
  onWebSocket(socket: WebSocket, request: IncomingMessage): void
}

const LOOPBACK = '127.0.0.1'
const HTTP_LIMITS = { headersTimeout: 5000, requestTimeout: 5000, connectionsCheckingInterval: 1000 } as const
const BACKLOG = 128
const TLS_LIMITS = { minVersion: 'TLSv1.2', handshakeTimeout: 5000 } as const

/** @throws `ATP_VERIFIER_PLAIN`, `ATP_VERIFIER_LISTEN` */
export async function openListener(
  listener: AgentListener,
  handlers: Handlers,
): Promise<{ server: Server | HttpServer; address: ListeningAddress }> {
  if (listener.transport === 'unix') return openUnix(listener.path, handlers)
  const { transport, host = LOOPBACK, port, tls, allowPlain = false } = listener
  if (!tls && !allowPlain && !isLoopback(host)) {
    throw configError('ATP_VERIFIER_PLAIN', `${transport} at ${host} would be open to others without TLS`, {
      context: { transport, host },
      remedy: "give it a certificate (tls), listen at 127.0.0.1, or say allow: ['plain']",
    })
  }
  const server = transport === 'websocket' ? webSocketServer(tls, handlers) : socketServer(tls, handlers)
  await listening(server, () => server.listen({ host, port, backlog: BACKLOG }), `${transport} ${host}:${port}`)
  const bound = server.address() as AddressInfo
  const scheme = transport === 'websocket' ? (tls ? 'wss' : 'ws') : tls ? 'tls' : 'tcp'
  const name = host.includes(':') ? `[${host}]` : host
  return { server, address: { transport, url: `${scheme}://${name}:${bound.port}`, port: bound.port } }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function socketServer(tls: ListenerTls | undefined, { onConnection, onSocket }: Handlers): Server {
  const accept = (socket: Socket) => {
    socket.setNoDelay(true)
    onSocket(socket, `tcp:${socket.remoteAddress}:${socket.remotePort}`)
  }
  const server = tls ? createTlsServer({ ...tls, ...TLS_LIMITS }, accept) : createServer(accept)
  // Also of one that has not finished its TLS handshake.
  server.on('connection', onConnection)
  return server
}

function webSocketServer(tls: ListenerTls | undefined, handlers: Handlers): HttpServer {
  const respond: RequestListener = (request, response) => {
    if (serveWebPage(request, response)) return
    response.writeHead(404, { 'content-type': 'text/plain', connection: 'close' })
    response.end('agents connect here by WebSocket, browsers at /verifier/\n')
  }
  const server: HttpServer = tls
    ? createHttpsServer({ ...tls, ...TLS_LIMITS, ...HTTP_LIMITS }, respond)
    : createHttpServer(HTTP_LIMITS, respond)
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_MAX_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
  })
  server.on('connection', (socket) => handlers.onConnection(socket))
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {})
    const network = socket as Socket
    network.setNoDelay(true)
    if (isForeign(request)) return void socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n')
    sockets.handleUpgrade(request, socket, head, (webSocket) => handlers.onWebSocket(webSocket, request))
  })
  return server
}

/** Whether a page of another server asks, in whatever browser: only the web verifier's own page has a reason to. */
function isForeign({ headers: { origin, host } }: IncomingMessage): boolean {
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host?.toLowerCase())
}

async function openUnix(path: string, { onConnection, onSocket }: Handlers) {
  await removeStale(path)
  const server = createServer((socket) => {
    onConnection(socket)
    onSocket(socket, `unix:${path}`)
  })
  // Only its user may connect, from the moment the socket is there.
  const bind = () => {
    const mask = process.umask(0o177)
    try {
      server.listen({ path, backlog: BACKLOG })
    } finally {
      process.umask(mask)
    }
  }
  await listening(server, bind, `unix ${path}`)
  return { server, address: { transport: 'unix' as const, url: `unix:${path}` } }
}

/** The socket of a server that died is in the way; that of a living one is not touched. */
async function removeStale(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return
  const socket = connect(path)
  try {
    await once(socket, 'connect')
  } catch {
    rmSync(path, { force: true })
  } finally {
    socket.destroy()
  }
}

async function listening(server: Server | HttpServer, listen: () => unknown, where: string): Promise<void> {
  try {
    const ready = once(server, 'listening')
    listen()
    await ready
  } catch (cause) {
    throw connectError('ATP_VERIFIER_LISTEN', `agents cannot connect at ${where}: ${messageOf(cause)}`, {
      cause,
      remedy: 'end the program that listens there, or choose another port; 0 takes any free one',
    })
  }
}
