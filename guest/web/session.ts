import { messageOf } from '../../framework/core/errors.ts'
import { Agent, type AgentSetup } from '../core/index.ts'
import type { Tally } from './tally.ts'
import { PageTransport } from './websocket-transport.ts'

export type SessionState =
  | { name: 'connecting' | 'connected' }
  | { name: 'waiting'; reason: string; forMs: number }
  /** The server will not take this VM id and token at any other time either. */
  | { name: 'refused'; reason: string }

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
const PING_EVERY_MS = 5000
/** Waiting mends none of these. */
const FINAL = new Set(['ATP_VERIFIER_TOKEN', 'ATP_VERIFIER_VM'])

/**
 * Keeps the page's agent connected: after a lost connection it tries again, after 1 s and then twice as long each time,
 * up to a minute, and at once when the network is back. Resolves when the server refused it for good.
 */
export async function keepConnected(
  endpoint: string,
  setup: AgentSetup,
  { tally, onState }: { tally: Tally; onState: (state: SessionState) => void },
): Promise<void> {
  let pauseMs = FIRST_PAUSE_MS
  const agent = new Agent(setup)
  const onWelcome = () => {
    pauseMs = FIRST_PAUSE_MS
    onState({ name: 'connected' })
  }
  for (;;) {
    tally.began()
    onState({ name: 'connecting' })
    const reason = await serveOnce(agent, endpoint, { tally, onWelcome })
    if (FINAL.has(tally.refusal ?? '')) return onState({ name: 'refused', reason })
    onState({ name: 'waiting', reason, forMs: pauseMs })
    await networkOr(pauseMs)
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
  }
}

/** One connection, from its beginning to its end. Returns why it ended. */
async function serveOnce(
  agent: Agent,
  endpoint: string,
  { tally, onWelcome }: { tally: Tally; onWelcome: () => void },
): Promise<string> {
  const transport = new PageTransport({
    onSent: (message) => tally.sent(message, performance.now()),
    onReceived: (text) => {
      const wasWelcome = tally.welcome
      tally.received(text, performance.now())
      if (!tally.welcome || wasWelcome) return
      onWelcome()
      ask()
    },
  })
  let nonce = 0
  const ask = () => {
    if (transport.isOpen && tally.welcome) transport.send({ v: 1, type: 'ping', nonce: nonce++ })
  }
  let asking: ReturnType<typeof setInterval> | undefined
  const leave = () => transport.close()
  addEventListener('pagehide', leave)
  try {
    await transport.connect(endpoint)
    asking = setInterval(() => ask(), PING_EVERY_MS)
    await agent.serve(transport)
    return 'the server ended the connection'
  } catch (error) {
    return messageOf(error)
  } finally {
    clearInterval(asking)
    removeEventListener('pagehide', leave)
  }
}

function networkOr(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer)
      removeEventListener('online', go)
      resolve()
    }
    const timer = setTimeout(go, ms)
    addEventListener('online', go)
  })
}
