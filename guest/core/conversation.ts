import { configError, connectError, remoteError, stateError } from '../../framework/core/errors.ts'
import {
  eventIdOf,
  parseFromServer,
  type AgentMessage,
  type Expect,
  type FromServer,
  type InputDevice,
  type Refused,
  type TimeAnswer,
  type VerifierEvent,
  type VerifyResult,
} from '../protocol/index.ts'
import type { InputSource } from './input-source.ts'
import { failed, makeResult } from './result.ts'
import { isClean, RunningExpectation } from './running-expectation.ts'
import type { VerifierTransport } from './transport.ts'
import type { Verification } from './verifier.ts'

/** A server that was silent for so long is asked whether it is there; after twice that it is given up. */
const QUIET_MS = 10_000
const EXPECTATIONS_MAX = 64

/** What a conversation needs of its agent, which outlives it. */
export interface ConversationOwner {
  readonly setup: {
    readonly newId: () => string
    readonly readClock?: () => Pick<TimeAnswer, 'guest_ns' | 'error_ns'>
    readonly tracing?: boolean
    readonly sources: readonly InputSource[]
  }
  /** The source of a device. @throws `ATP_VERIFIER_DEVICE` */
  source(device: InputDevice): InputSource
  /** The answer to an event id that is known already. */
  known(eventId: string): Promise<VerifyResult> | undefined
  /** Remembers the answer to an expectation; it must not reject. */
  settle(eventId: string, answer: Promise<VerifyResult>): Promise<VerifyResult>
  /** Verifies an event unless that is done or under way. Never rejects. */
  verify(event: VerifierEvent): Promise<VerifyResult>
}

interface Entry {
  begunMs: number
  /** Settles when what was said up to now is done; rejects when the input cannot be watched. */
  running: Promise<RunningExpectation>
}

export function refusedError({ code, message }: Refused) {
  return remoteError('ATP_VERIFIER_REFUSED', `the server refused this agent (${code}): ${message}`)
}

/** What one agent and one server say to each other after the welcome. */
export class Conversation {
  readonly #agent: ConversationOwner
  readonly #transport: VerifierTransport
  readonly #expectations = new Map<string, Entry>()
  /** Events this connection asked for and has no answer to yet: each gets one. */
  readonly #asked = new Set<string>()
  #stopTracing: Promise<(() => void)[]> | undefined
  #heardMs = performance.now()
  #ended = false

  constructor(agent: ConversationOwner, transport: VerifierTransport) {
    this.#agent = agent
    this.#transport = transport
  }

  /**
   * Until the server ends the connection.
   *
   * @throws `ATP_VERIFIER_LOST`, `ATP_VERIFIER_REFUSED`, `ATP_VERIFIER_MESSAGE`, `ATP_VERIFIER_TOO_LARGE`
   */
  async run(): Promise<void> {
    this.#heardMs = performance.now()
    const timer = setInterval(() => this.#checkLiveness(), QUIET_MS)
    try {
      for (;;) {
        const text = await this.#transport.receive()
        if (text === undefined) return
        this.#heardMs = performance.now()
        this.#read(text)
      }
    } finally {
      clearInterval(timer)
    }
  }

  /** The connection is over: running expectations end with what was seen, and their results are remembered. */
  end(): void {
    this.#ended = true
    this.#trace(false)
    for (const eventId of this.#expectations.keys()) this.#release(eventId)
  }

  #read(text: string): void {
    let parsed: FromServer
    try {
      parsed = parseFromServer(text, this.#agent.setup.newId)
    } catch (error) {
      // Whoever waits for a result gets one; what cannot be answered ends the connection.
      const eventId = eventIdOf(text)
      if (eventId === undefined || this.#expectations.has(eventId)) throw error
      return this.#send(makeResult(eventId, 0, failed(error)))
    }
    switch (parsed.kind) {
      case 'event':
        return this.#answer(parsed.message.event_id, () => this.#agent.verify(parsed.message))
      case 'expect':
        return this.#expect(parsed.message)
      case 'release':
        return this.#release(parsed.message.event_id)
      case 'time': {
        const time = this.#agent.setup.readClock?.()
        if (time) this.#send({ v: 1, type: 'time', nonce: parsed.message.nonce, ...time })
        return
      }
      case 'ping':
        if (parsed.message.type === 'ping') this.#send({ ...parsed.message, type: 'pong' })
        return
      case 'trace':
        return this.#trace(parsed.message.on && this.#agent.setup.tracing === true)
      case 'refused':
        throw refusedError(parsed.message)
      case 'welcome':
        // A second one says nothing new.
        return
    }
  }

  #answer(eventId: string, ask: () => Promise<VerifyResult>): void {
    if (this.#asked.has(eventId)) return
    this.#asked.add(eventId)
    void ask().then((result) => {
      this.#asked.delete(eventId)
      this.#send(result)
    })
  }

  #expect(message: Expect): void {
    const { event_id: eventId } = message
    const known = this.#expectations.get(eventId)
    if (known) return this.#continue(eventId, known, message)
    const answer = this.#agent.known(eventId)
    if (answer) return this.#answer(eventId, () => answer)
    const entry = { begunMs: performance.now(), running: this.#open(message) }
    this.#expectations.set(eventId, entry)
    this.#continue(eventId, entry, message, true)
  }

  async #open({ event_id, device }: Expect): Promise<RunningExpectation> {
    if (this.#expectations.size >= EXPECTATIONS_MAX) {
      throw stateError('ATP_VERIFIER_BUSY', `the agent follows ${EXPECTATIONS_MAX} actions already`)
    }
    return RunningExpectation.open(
      this.#agent.source(device),
      (report) => this.#send({ v: 1, type: 'seen', event_id, ...report }),
      (reason) => this.#send({ v: 1, type: 'gap', event_id, reason }),
    )
  }

  #continue(eventId: string, entry: Entry, { add, last }: Expect, first = false): void {
    entry.running = entry.running.then((running) => {
      running.add(add, last)
      // Says that the agent watches.
      if (first) this.#send({ v: 1, type: 'seen', event_id: eventId, seen: [], unexpected: 0 })
      return running
    })
    entry.running.catch(() => {
      // Told at once, not when the action is over: nothing of it can be verified.
      if (this.#expectations.get(eventId) === entry) this.#release(eventId)
    })
  }

  #release(eventId: string): void {
    const entry = this.#expectations.get(eventId)
    this.#expectations.delete(eventId)
    if (entry) return this.#answer(eventId, () => this.#agent.settle(eventId, this.#finish(eventId, entry)))
    const known = this.#agent.known(eventId)
    const unknown = configError(
      'ATP_VERIFIER_EVENT',
      'there is no such expectation: it was never announced, or long ago',
    )
    this.#answer(eventId, () => known ?? Promise.resolve(makeResult(eventId, 0, failed(unknown))))
  }

  async #finish(eventId: string, { begunMs, running }: Entry) {
    const verification = await running.then((expectation): Verification => {
      const result = expectation.finish()
      return { verified: isClean(result), details: { ...result } }
    }, failed)
    return makeResult(eventId, performance.now() - begunMs, verification)
  }

  #trace(on: boolean): void {
    if (on === (this.#stopTracing !== undefined)) return
    if (!on) {
      void this.#stopTracing?.then((stops) => stops.forEach((stop) => stop()))
      this.#stopTracing = undefined
      return
    }
    this.#stopTracing = Promise.all(
      this.#agent.setup.sources.map((source) =>
        source
          .watch({
            onInput: ({ guestNs, ...input }) =>
              this.#send({ v: 1, type: 'raw', device: source.device, ...input, guest_ns: String(guestNs) }),
            onGap: (reason) => this.#send({ v: 1, type: 'gap', reason }),
          })
          .catch(() => () => {}),
      ),
    )
  }

  #checkLiveness(): void {
    const quietMs = performance.now() - this.#heardMs
    if (quietMs > 2 * QUIET_MS) {
      const error = connectError('ATP_VERIFIER_LOST', `the server was silent for ${Math.round(quietMs / 1000)} s`)
      this.#transport.close(error)
    } else if (quietMs > QUIET_MS / 2) this.#send({ v: 1, type: 'ping', nonce: Math.floor(this.#heardMs) })
  }

  #send(message: AgentMessage): void {
    if (this.#ended) return
    try {
      this.#transport.send(message)
    } catch (error) {
      // The connection is over; whoever receives learns it.
      this.#transport.close(error instanceof Error ? error : undefined)
    }
  }
}
