import { sleep } from '../../framework/core/deadline.ts'
import { isAtpError, messageOf } from '../../framework/core/errors.ts'
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
  /** First pause between attempts; it doubles up to a minute. */
  reconnectIntervalMs: number
  /** Ends the agent. */
  signal: AbortSignal
}

const LONGEST_PAUSE_MS = 60_000

/**
 * Connects an agent to its server, and again whenever the connection ends, until the signal aborts.
 *
 * @throws without `autoReconnect` why the only connection failed: `ATP_VERIFIER_CONNECT`, `ATP_VERIFIER_REFUSED`…
 */
export async function runAgent(agent: Agent, options: RunOptions): Promise<void> {
  const { endpoint, signal, autoReconnect, reconnectIntervalMs } = options
  const log = agent.setup.log ?? (() => {})
  let pauseMs = 0
  while (!signal.aborted) {
    const transport = TRANSPORT_MAKERS[endpoint.transport](options.tls)
    const begunMs = performance.now()
    try {
      await transport.connect(addressOf(endpoint), { signal })
      log('debug', `connected to ${addressOf(endpoint)}`)
      await agent.serve(transport, { signal })
      if (signal.aborted) return
      log('info', 'the server ended the connection')
      pauseMs = 0
      if (!autoReconnect) return
    } catch (error) {
      if (signal.aborted) return
      if (!autoReconnect) throw error
      if (isAtpError(error, 'ATP_VERIFIER_LOST') && performance.now() - begunMs > LONGEST_PAUSE_MS) pauseMs = 0
      log('warn', messageOf(error))
    }
    // A port is connected when the host has it open, and waits for that by itself.
    const waits = endpoint.transport === 'virtio-serial' && pauseMs === 0
    if (!waits) await sleep(jittered(Math.max(pauseMs, reconnectIntervalMs)), signal).catch(() => {})
    pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(pauseMs * 2, reconnectIntervalMs))
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
