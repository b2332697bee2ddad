import { sleep } from '../../framework/core/deadline.ts'
import { messageOf } from '../../framework/core/errors.ts'
import type { Agent, VerifierTransport } from '../core/index.ts'
import type { Endpoint, TransportName } from './transports/endpoint.ts'
import { SocketTransport } from './transports/socket.ts'
import type { TlsOptions } from './transports/connection.ts'
import { VirtioSerialTransport } from './transports/virtio-serial.ts'
import { WebSocketTransport } from './transports/websocket.ts'

export interface RunOptions {
  endpoint: Endpoint
  tls?: TlsOptions
  /** Whether a lost or refused connection is tried again. */
  autoReconnect: boolean
  /** First pause between attempts; it doubles up to a minute, at a virtio-serial port up to 5 s. */
  reconnectIntervalMs: number
  /** Ends the agent. */
  signal: AbortSignal
}

const LONGEST_PAUSE_MS = 60_000
/** At a port, which nobody else can overload by trying, a test should not wait for long. */
const LONGEST_PORT_PAUSE_MS = 5000
/** A connection that lasted for so long was a good one: the next attempt does not wait for those before it. */
const STABLE_MS = 5000

/**
 * Connects an agent to its server, and again whenever the connection ends, until the signal aborts.
 *
 * @throws without `autoReconnect` why the only connection failed: `ATP_VERIFIER_CONNECT`, `ATP_VERIFIER_REFUSED`…
 */
export async function runAgent(agent: Agent, options: RunOptions): Promise<void> {
  const { endpoint, signal, autoReconnect, reconnectIntervalMs } = options
  const log = agent.setup.log ?? (() => {})
  const isPort = endpoint.transport === 'virtio-serial'
  const longestMs = isPort ? LONGEST_PORT_PAUSE_MS : LONGEST_PAUSE_MS
  let pauseMs = 0
  while (!signal.aborted) {
    const transport = TRANSPORT_MAKERS[endpoint.transport](options.tls)
    let connectedMs = Infinity
    try {
      await transport.connect(addressOf(endpoint), { signal })
      connectedMs = performance.now()
      log('debug', `connected to ${addressOf(endpoint)}`)
      await agent.serve(transport, { signal })
      if (signal.aborted) return
      log('info', 'the server ended the connection')
      pauseMs = 0
      if (!autoReconnect) return
    } catch (error) {
      if (signal.aborted) return
      if (!autoReconnect) throw error
      if (performance.now() - connectedMs > STABLE_MS) pauseMs = 0
      log('warn', messageOf(error))
    }
    // A port is connected when the host has it open, and waits for that by itself.
    const waitMs = isPort ? pauseMs : Math.max(pauseMs, reconnectIntervalMs)
    await sleep(jittered(waitMs), signal).catch(() => {})
    pauseMs = Math.min(longestMs, Math.max(waitMs * 2, reconnectIntervalMs))
  }
}

const TRANSPORT_MAKERS: Readonly<Record<TransportName, (tls?: TlsOptions) => VerifierTransport>> = {
  websocket: (tls) => new WebSocketTransport(tls),
  tcp: (tls) => new SocketTransport(tls),
  unix: () => new SocketTransport(),
  'virtio-serial': () => new VirtioSerialTransport(),
}

/** The endpoint as its transport takes it. */
function addressOf(endpoint: Endpoint): string {
  switch (endpoint.transport) {
    case 'websocket':
      return endpoint.url
    case 'tcp':
      return `${endpoint.secure ? 'tls' : 'tcp'}://${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`
    case 'unix':
      return `unix:${endpoint.path}`
    case 'virtio-serial':
      return endpoint.path
  }
}

/** Agents of many VMs that lost the same server do not come back all at once. */
function jittered(ms: number): number {
  return ms * (0.8 + 0.4 * Math.random())
}
