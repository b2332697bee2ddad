import { randomInt, randomUUID } from 'node:crypto'
import {
  connectError,
  interrupted,
  stateError,
  timeoutError,
  unsupportedError,
  withDeadline,
  type CallOptions,
} from '../../core/index.ts'
import {
  parseEvent,
  type Hello,
  type InputDevice,
  type TimeAnswer,
  type VerifierEvent,
  type VerifyResult,
} from '../../../guest/protocol/index.ts'
import { agentLostError, noAgentError, type AgentNews } from './agent-connection.ts'
import { AgentExpectation, type ExpectationSink } from './agent-expectation.ts'
import type { AgentWay } from './agent-way.ts'

/** What an agent said of itself. */
export type AgentInfo = Omit<Hello, 'v' | 'type' | 'token'>

/** An event to verify: version 1 of the protocol or an earlier shape; its id is made if it has none. */
export type EventToVerify = Readonly<Record<string, unknown>>

/** Events that may wait for their results at once. */
const PENDING_MAX = 10_000
/** How much longer than the event itself its result may take on its way, milliseconds. */
const RESULT_MARGIN_MS = 5000
const ANSWER_TIMEOUT_MS = 5000
const NO_AGENT_TIMEOUT_MS = 10_000
/** Numbers of a link's questions begin anywhere below this, far from those of the connection's own. */
const NONCES = 2 ** 47

interface Pending<T> {
  resolve(answer: T): void
  reject(error: Error): void
}

/**
 * One VM's verifier agent, as whoever uses it holds it. Owns its way. An agent that comes back after a lost connection
 * is asked again for what it still owes; it verifies nothing twice. One that comes back as another process, or not at
 * all, owes nothing any more: those calls reject.
 */
export class VerifierAgentLink {
  readonly #vm: string
  readonly #way: AgentWay
  readonly #results = new Map<string, Pending<VerifyResult>>()
  /** The events behind them, to be sent again. */
  readonly #events = new Map<string, VerifierEvent>()
  readonly #expectations = new Map<string, AgentExpectation>()
  readonly #times = new Map<number, Pending<TimeAnswer>>()
  readonly #pongs = new Map<number, Pending<void>>()
  readonly #waiters = new Set<() => void>()
  #agent: Hello | undefined
  /** The last one that was there. */
  #session: string | undefined
  #closed: string | undefined
  /** An answer to whoever used the agent before may still be on its way: it must not be taken for one of ours. */
  #nonce = randomInt(NONCES)

  /** @param vm name for messages */
  constructor(vm: string, way: AgentWay) {
    this.#vm = vm
    this.#way = way
    way.start({
      onAgent: (hello) => this.#arrived(hello),
      onMessage: (message) => this.#received(message),
      onLost: (reason) => this.#left(reason),
      onClose: (reason) => this.#end(reason),
    })
  }

  /** The agent that is connected now. */
  get agent(): AgentInfo | undefined {
    return this.#agent
  }

  /** Why the link is of no use any more; undefined while an agent may still come. */
  get closed(): string | undefined {
    return this.#closed
  }

  /**
   * The agent, once it is connected. Default limit 10 s.
   *
   * @throws `ATP_VERIFIER_NO_AGENT`, `ATP_VERIFIER_CLOSED`, `ATP_INTERRUPTED`
   */
  async ready({ signal, timeoutMs = NO_AGENT_TIMEOUT_MS }: CallOptions = {}): Promise<AgentInfo> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#waiters.delete(check)
        signal?.removeEventListener('abort', check)
        settle()
      }
      const check = () => {
        const agent = this.#agent
        if (signal?.aborted) finish(() => reject(interrupted(`waiting for the agent of ${this.#vm}`, signal)))
        else if (this.#closed !== undefined) finish(() => reject(this.#closedError()))
        else if (agent) finish(() => resolve(agent))
      }
      const timer = setTimeout(() => finish(() => reject(noAgentError(this.#vm, timeoutMs))), timeoutMs)
      this.#waiters.add(check)
      signal?.addEventListener('abort', check, { once: true })
      check()
    })
  }

  /**
   * Has the agent verify an event; its result, under the event's own id, says whether it could. With `during` that is done once the agent has the
   * event, so that the input it waits for cannot come before it.
   *
   * @throws `ATP_VERIFIER_TYPE` when the agent has no such verifier, `ATP_VERIFIER_TIMEOUT` when its result does not
   *   come, `ATP_VERIFIER_LOST`, `ATP_VERIFIER_BUSY`, `ATP_VERIFIER_MESSAGE` for an event that is none, and what
   *   `during` throws.
   */
  async verify(
    event: EventToVerify,
    { during, ...options }: CallOptions & { during?: (() => Promise<unknown>) | undefined } = {},
  ): Promise<VerifyResult> {
    const { event_id: givenId, ...given } = parseEvent({ timestamp: Date.now(), ...event }, randomUUID)
    const agent = this.#present()
    if (!agent.verifiers.includes(given.type)) {
      throw unsupportedError('ATP_VERIFIER_TYPE', `the agent of ${this.#vm} has no verifier "${given.type}"`, {
        context: { vm: this.#vm, verifiers: agent.verifiers },
        remedy: `it has ${agent.verifiers.join(', ')}; start it with others (--verifiers, --plugin)`,
      })
    }
    if (this.#events.size >= PENDING_MAX) {
      throw stateError('ATP_VERIFIER_BUSY', `${this.#vm}: ${PENDING_MAX} events wait for their results already`)
    }
    // To an id that it knows, from an earlier run too, an agent repeats its answer and verifies nothing.
    const id = randomUUID()
    const sent = { ...given, event_id: id }
    const timeoutMs = options.timeoutMs ?? given.metadata.timeout_ms + RESULT_MARGIN_MS
    this.#events.set(id, sent)
    const result = this.#answer(this.#results, id, { ...options, timeoutMs }, () => this.#way.send(sent))
      .then((answer) => ({ ...answer, event_id: givenId }))
      .finally(() => this.#events.delete(id))
    if (!during) return result
    result.catch(() => {})
    try {
      await this.barrier(options)
      await during()
    } catch (error) {
      this.#results.get(id)?.reject(error as Error)
      throw error
    }
    return result
  }

  /** Begins to observe input that is announced piece by piece. @throws `ATP_VERIFIER_LOST` without an agent */
  expect(device: InputDevice, sink: ExpectationSink): AgentExpectation {
    this.#present()
    const id = randomUUID()
    const expectation = new AgentExpectation(id, device, sink, {
      send: (message) => this.#way.send(message),
      forget: () => this.#expectations.delete(id),
    })
    this.#expectations.set(id, expectation)
    expectation.open()
    return expectation
  }

  /**
   * The time of the clock that stamps the agent's input, and by how much it may be wrong.
   *
   * @throws `ATP_VERIFIER_TIMEOUT`, `ATP_VERIFIER_LOST`, `ATP_VERIFIER_CLOCK` when the agent has no such clock
   */
  async now(options: CallOptions = {}): Promise<{ guestNs: bigint; errorNs: bigint }> {
    if (!this.#present().reads_clock) {
      throw unsupportedError('ATP_VERIFIER_CLOCK', `the agent of ${this.#vm} does not tell its time`, {
        verdict: 'infrastructure',
      })
    }
    const nonce = this.#nonce++
    const { guest_ns, error_ns = '0' } = await this.#answer(this.#times, nonce, options, () =>
      this.#way.send({ v: 1, type: 'time', nonce }),
    )
    return { guestNs: BigInt(guest_ns), errorNs: BigInt(error_ns) }
  }

  /**
   * Resolves once the agent has taken everything that was sent before, and what it had said until then is here.
   *
   * @throws `ATP_VERIFIER_TIMEOUT`, `ATP_VERIFIER_LOST`
   */
  async barrier(options: CallOptions = {}): Promise<void> {
    this.#present()
    const nonce = this.#nonce++
    await this.#answer(this.#pongs, nonce, options, () => this.#way.send({ v: 1, type: 'ping', nonce }))
  }

  /** Leaves the agent. What waits for it rejects. Idempotent. */
  close(): void {
    for (const expectation of this.#expectations.values()) expectation.release()
    this.#way.close()
    this.#end('it was closed')
  }

  #present(): Hello {
    if (this.#closed !== undefined) throw this.#closedError()
    if (!this.#agent) throw agentLostError(this.#vm, 'it is not connected')
    return this.#agent
  }

  /** Waits for the answer that is known by a key; leaves no entry behind. */
  async #answer<K, T>(
    waiting: Map<K, Pending<T>>,
    key: K,
    { signal, timeoutMs = ANSWER_TIMEOUT_MS }: CallOptions,
    ask: () => void,
  ): Promise<T> {
    try {
      return await withDeadline(`${this.#vm}: its agent's answer`, { signal }, () => {
        const { promise, resolve, reject } = Promise.withResolvers<T>()
        const timer = setTimeout(() => reject(this.#lateError(timeoutMs)), timeoutMs)
        waiting.set(key, { resolve, reject })
        ask()
        return promise.finally(() => clearTimeout(timer))
      })
    } finally {
      waiting.delete(key)
    }
  }

  #arrived(hello: Hello): void {
    const isSame = hello.session === this.#session
    this.#agent = hello
    this.#session = hello.session
    if (!isSame) this.#failEvents(agentLostError(this.#vm, 'another agent has taken its place'))
    for (const event of this.#events.values()) this.#way.send(event)
    this.#wake()
  }

  #left(reason: string): void {
    this.#agent = undefined
    const error = agentLostError(this.#vm, reason)
    for (const pending of [...this.#times.values(), ...this.#pongs.values()]) pending.reject(error)
    for (const expectation of this.#expectations.values()) expectation.lost(`the verifier agent is gone: ${reason}`)
    this.#expectations.clear()
    this.#wake()
  }

  #end(reason: string): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    this.#left(reason)
    this.#failEvents(this.#closedError())
  }

  #failEvents(error: Error): void {
    for (const { reject } of this.#results.values()) reject(error)
    this.#events.clear()
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
  }

  #received(news: AgentNews): void {
    // Arrival is noted before anything is done with it.
    const arrivedNs = process.hrtime.bigint()
    switch (news.kind) {
      case 'result':
        // A second result for an event, or one for an event of an earlier user, concerns nobody.
        this.#results.get(news.message.event_id)?.resolve(news.message)
        this.#expectations.get(news.message.event_id)?.ended(news.message)
        return
      case 'seen':
        return this.#expectations.get(news.message.event_id)?.saw(news.message, arrivedNs)
      case 'gap': {
        const { event_id: id, reason } = news.message
        for (const [each, expectation] of this.#expectations)
          if (id === undefined || id === each) expectation.gap(reason)
        return
      }
      case 'time':
        return this.#times.get(news.message.nonce)?.resolve(news.message)
      case 'ping':
        return this.#pongs.get(news.message.nonce)?.resolve()
      case 'raw':
    }
  }

  #lateError(timeoutMs: number): Error {
    if (!this.#agent) return agentLostError(this.#vm, `it did not come back within ${timeoutMs} ms`)
    return timeoutError('ATP_VERIFIER_TIMEOUT', `the agent of ${this.#vm} did not answer within ${timeoutMs} ms`, {
      context: { vm: this.#vm, timeoutMs },
    })
  }

  #closedError(): Error {
    return connectError('ATP_VERIFIER_CLOSED', `${this.#vm}: its agent cannot be reached any more: ${this.#closed}`, {
      context: { vm: this.#vm },
    })
  }
}
