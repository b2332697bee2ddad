import { withDeadline } from '../../framework/core/deadline.ts'
import { isAtpError, remoteError, stateError, timeoutError, unsupportedError } from '../../framework/core/errors.ts'
import {
  parseFromServer,
  type FromServer,
  type Hello,
  type InputDevice,
  type TimeAnswer,
  type VerifierEvent,
  type VerifyResult,
} from '../protocol/index.ts'
import { Conversation, refusedError, type ConversationOwner } from './conversation.ts'
import type { InputSource } from './input-source.ts'
import { failed, makeResult } from './result.ts'
import { ResultMemory } from './result-memory.ts'
import type { VerifierTransport } from './transport.ts'
import type { Verification, Verifier } from './verifier.ts'

export interface AgentSetup {
  /** Who the agent says it is; the verifiers' names are added. */
  identity: Omit<Hello, 'v' | 'type' | 'token' | 'verifiers' | 'reads_clock'>
  token?: string
  verifiers: readonly Verifier[]
  /** Where input is seen, one for each device at most. */
  sources: readonly InputSource[]
  /** The clock that stamps the sources' input. Absent: the agent's answers to `time` would mean nothing. */
  readClock?: () => Pick<TimeAnswer, 'guest_ns' | 'error_ns'>
  /** Whether a server that asks for it gets every input. Default false. */
  tracing?: boolean
  /** Makes the id of an event that came without one. */
  newId: () => string
  /** Told what happens; never an input, an argument or the token. */
  log?: (level: LogLevel, text: string) => void
}
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const WELCOME_TIMEOUT_MS = 10_000
const UNDER_WAY_MAX = 1000

/**
 * The verifier in a guest: takes events from a server and answers each with exactly one result.
 *
 * Events are verified side by side, so that a slow or failing verifier holds up nobody. The agent outlives its
 * connections: an event that a server asks again after a reconnect gets the same result.
 */
export class Agent implements ConversationOwner {
  readonly setup: AgentSetup
  readonly #verifiers: ReadonlyMap<string, Verifier>
  readonly #sources: ReadonlyMap<string, InputSource>
  readonly #memory = new ResultMemory()
  readonly #ending = new AbortController()

  constructor(setup: AgentSetup) {
    this.setup = setup
    this.#verifiers = new Map(setup.verifiers.map((verifier) => [verifier.verifierType, verifier]))
    this.#sources = new Map(setup.sources.map((source) => [source.device, source]))
  }

  get hello(): Hello {
    const { identity, token, readClock } = this.setup
    return {
      v: 1,
      type: 'hello',
      ...identity,
      ...(token !== undefined && { token }),
      verifiers: [...this.#verifiers.keys()],
      reads_clock: readClock !== undefined,
    }
  }

  /**
   * Speaks with one server over a connected transport until either side ends it; closes the transport.
   *
   * @returns when the server ended the connection.
   * @throws `ATP_VERIFIER_REFUSED`, `ATP_VERIFIER_LOST`, `ATP_VERIFIER_MESSAGE`, `ATP_INTERRUPTED`
   */
  async serve(transport: VerifierTransport, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const onAbort = () => transport.close()
    signal?.addEventListener('abort', onAbort, { once: true })
    const conversation = new Conversation(this, transport)
    try {
      transport.send(this.hello)
      await withDeadline('the answer to the hello', { timeoutMs: WELCOME_TIMEOUT_MS, signal }, () =>
        this.#welcome(transport),
      )
      this.setup.log?.('info', 'the server took the agent')
      await conversation.run()
    } finally {
      signal?.removeEventListener('abort', onAbort)
      conversation.end()
      transport.close()
    }
  }

  /** The source of a device. @throws `ATP_VERIFIER_DEVICE` */
  source(device: InputDevice): InputSource {
    const source = this.#sources.get(device)
    if (source) return source
    throw unsupportedError('ATP_VERIFIER_DEVICE', `this agent does not observe a ${device}`)
  }

  /** The answer to an event id that is known already. */
  known(eventId: string): Promise<VerifyResult> | undefined {
    return this.#memory.get(eventId)
  }

  /** Remembers the answer to an expectation; it must not reject. */
  settle(eventId: string, answer: Promise<VerifyResult>): Promise<VerifyResult> {
    return this.#memory.add(eventId, answer)
  }

  /** Verifies an event unless that is done or under way. Never rejects. */
  verify(event: VerifierEvent): Promise<VerifyResult> {
    return this.#memory.get(event.event_id) ?? this.#memory.add(event.event_id, this.#verifyNew(event))
  }

  /** Ends what is under way and gives back what the verifiers hold. */
  async close(): Promise<void> {
    this.#ending.abort()
    await Promise.allSettled(this.setup.verifiers.map(async (verifier) => verifier.close?.()))
  }

  async #welcome(transport: VerifierTransport): Promise<void> {
    for (;;) {
      const text = await transport.receive()
      if (text === undefined)
        throw remoteError('ATP_VERIFIER_REFUSED', 'the server ended the connection without a word')
      const { kind, message } = this.#parse(text)
      if (kind === 'welcome') return
      if (kind === 'refused') throw refusedError(message)
      // On a port without connections a server may still speak to the agent that was here before.
    }
  }

  #parse(text: string): FromServer {
    return parseFromServer(text, this.setup.newId)
  }

  async #verifyNew(event: VerifierEvent): Promise<VerifyResult> {
    const begunMs = performance.now()
    const verification = await this.#tryToVerify(event).catch(failed)
    return makeResult(event.event_id, performance.now() - begunMs, verification)
  }

  async #tryToVerify(event: VerifierEvent): Promise<Verification> {
    const verifier = this.#verifiers.get(event.type)
    if (!verifier) {
      throw unsupportedError('ATP_VERIFIER_TYPE', `this agent has no verifier for "${event.type}"`, {
        remedy: `start it with --verifiers ${event.type} or a plug-in; it has ${[...this.#verifiers.keys()].join(', ')}`,
      })
    }
    if (this.#memory.underWay >= UNDER_WAY_MAX) {
      throw stateError('ATP_VERIFIER_BUSY', `the agent works on ${UNDER_WAY_MAX} events already`)
    }
    const { timeout_ms: timeoutMs } = event.metadata
    try {
      return await withDeadline(
        `verifying a ${event.type} event`,
        { timeoutMs, signal: this.#ending.signal },
        (signal) => verifier.verify(event, signal),
      )
    } catch (error) {
      if (!isAtpError(error, 'ATP_TIMEOUT')) throw error
      throw timeoutError('ATP_VERIFIER_TIMEOUT', `the ${event.type} event was not verified within ${timeoutMs} ms`)
    }
  }
}
