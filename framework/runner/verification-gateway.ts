import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { ResolvedListener, ResolvedVerification } from '../config/index.ts'
import { readSecret } from '../config/secrets.ts'
import { configError, logger, messageOf, type Secret } from '../core/index.ts'
import { isSameSecret } from '../core/same-secret.ts'
import { toWireError } from '../leases/codec.ts'
import {
  configuredTokens,
  derivedToken,
  derivedTokens,
  encodeFrame,
  relayAgent,
  VerificationServer,
  vmIdKey,
  type AgentListener,
  type Authenticate,
} from '../verify/index.ts'
import { lengthFraming } from '../../guest/protocol/index.ts'
import type { AgentAccess, DoorQuestion, VerificationDoor } from './verification-door.ts'

const KEY_TIMEOUT_MS = 5_000
const log = logger('runner')

/**
 * Accepts the verifier agents of a run in its main process, since agents know one address and workers are many, and
 * hands the agent of a VM to the worker that has the VM.
 */
export class VerificationGateway {
  /** Where agents may connect. */
  readonly urls: string[] = []
  readonly #server: VerificationServer
  readonly #door: Server
  readonly #key: string
  readonly #tokens: Tokens
  readonly #sockets = new Set<Socket>()

  private constructor(key: string, tokens: Tokens) {
    this.#key = key
    this.#tokens = tokens
    this.#server = new VerificationServer({ authenticate: tokens.authenticate })
    this.#door = createServer((socket) => this.#serve(socket))
  }

  /**
   * Opens the listeners and the door.
   *
   * @throws `ATP_VERIFIER_LISTEN`, `ATP_VERIFIER_PLAIN`, `ATP_SECRET_MISSING`, `ATP_CONFIG_INVALID` for a certificate that
   *   cannot be read
   */
  static async open({ path, key }: VerificationDoor, settings: ResolvedVerification): Promise<VerificationGateway> {
    const gateway = new VerificationGateway(key, tokensOf(settings, key))
    try {
      for (const listener of settings.listeners) {
        const { url } = await gateway.#server.listen(listenerOf(listener))
        gateway.urls.push(url)
      }
      gateway.#door.listen(path)
      await once(gateway.#door, 'listening')
      return gateway
    } catch (error) {
      await gateway.close()
      throw error
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#door.close()
    for (const socket of this.#sockets) socket.destroy()
    await this.#server.close()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const decoder = lengthFraming.decoder()
    let forward: ((text: string) => void) | undefined
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', (error) => log.warn('a worker’s question is refused: {reason}', { reason: messageOf(error) }))
    socket.setTimeout(KEY_TIMEOUT_MS, () => socket.destroy(new Error('it said nothing')))
    socket.on('data', (chunk: Buffer) => {
      if (socket.destroyed) return
      try {
        for (const text of decoder.push(chunk)) {
          if (forward) forward(text)
          else forward = this.#answer(socket, JSON.parse(text) as DoorQuestion)
        }
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
  }

  /** @returns what the worker's further frames go to. */
  #answer(socket: Socket, question: DoorQuestion): (text: string) => void {
    if (!isSameSecret(String(question.key), this.#key)) throw new Error('it does not know the key of this run')
    socket.setTimeout(0)
    try {
      if (question.ask === 'access') {
        const access: AgentAccess = { urls: this.urls, token: this.#tokens.of(question.vmId) }
        socket.end(encodeFrame({ ok: access }))
        return () => {}
      }
      const way = this.#server.claim(question.address)
      socket.write(encodeFrame({ ok: true }))
      return relayAgent(way, socket)
    } catch (error) {
      socket.end(encodeFrame({ error: toWireError(error) }))
      return () => {}
    }
  }
}

interface Tokens {
  authenticate: Authenticate
  /** The one an agent of this VM needs. */
  of(vmId: string): string
}

/** Tokens of the configuration; where it has none each VM gets its own, which follows from the key of the run. */
function tokensOf({ token, agents }: ResolvedVerification, key: string): Tokens {
  const common = token && readSecret('the token of verifier agents', token)
  const own = new Map<string, Secret>(
    Object.entries(agents).flatMap(([vmId, agent]) =>
      agent.token ? [[vmIdKey(vmId), readSecret(`the token of the verifier agent ${vmId}`, agent.token)]] : [],
    ),
  )
  const configured = configuredTokens(common, own)
  const derived = derivedTokens(key)
  return {
    authenticate: (vmId, given) => (common || own.has(vmIdKey(vmId)) ? configured(vmId, given) : derived(vmId, given)),
    of: (vmId) => (own.get(vmIdKey(vmId)) ?? common)?.reveal() ?? derivedToken(key, vmId),
  }
}

function listenerOf(listener: ResolvedListener): AgentListener {
  if (listener.transport === 'unix' || !listener.tls) return { ...listener, tls: undefined } as AgentListener
  const { cert, key } = listener.tls
  return { ...listener, tls: { cert: pem(cert), key: pem(key) } }
}

function pem(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw configError('ATP_CONFIG_INVALID', `verification: a file of tls cannot be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
}
