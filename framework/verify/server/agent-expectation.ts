import { messageOf, withDeadline, type CallOptions } from '../../core/index.ts'
import {
  ENTRIES_MAX,
  type ExpectedInput,
  type InputDevice,
  type Seen,
  type ServerMessage,
  type VerifyResult,
} from '../../../guest/protocol/index.ts'

/** Who hears what the agent saw, in the order it saw it. */
export interface ExpectationSink {
  /** The entry with this index. */
  onSeen(index: number, guestNs: bigint, arrivedNs: bigint): void
  /** So many inputs that were not expected. */
  onUnexpected(count: number, arrivedNs: bigint): void
  /** For a while nothing could be seen. */
  onGap(reason: string): void
}

/** Entries of one message: a bit less than the protocol allows, and far below its longest. */
const ADD_MAX = Math.min(ENTRIES_MAX, 5000)
/** Most unexpected inputs that are told one by one: more than anybody makes during an action. */
const UNEXPECTED_MAX = 100_000
const WATCH_TIMEOUT_MS = 5000
const RESULT_TIMEOUT_MS = 5000

/**
 * A running expectation: entries are announced, the agent tells which of them it saw. What its agent saw before it was
 * lost is told; from then on there is a gap, whether or not the agent comes back.
 */
export class AgentExpectation {
  readonly #id: string
  readonly #device: InputDevice
  readonly #sink: ExpectationSink
  readonly #send: (message: ServerMessage) => void
  readonly #forget: () => void
  readonly #watching = Promise.withResolvers<void>()
  readonly #result = Promise.withResolvers<VerifyResult>()
  readonly #seen = new Set<number>()
  /** Entries that need not be seen. */
  readonly #optional = new Set<number>()
  #hasMotion = false
  #isComplete = false
  #isAsked = false
  #unexpected = 0
  #count = 0
  #isOver = false

  constructor(
    id: string,
    device: InputDevice,
    sink: ExpectationSink,
    { send, forget }: { send(message: ServerMessage): void; forget(): void },
  ) {
    this.#id = id
    this.#device = device
    this.#sink = sink
    this.#send = send
    this.#forget = forget
    this.#result.promise.catch(() => {})
  }

  open(): void {
    this.#expect([], false)
  }

  /** Resolves when the agent watches, or has said that it cannot. @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED` */
  watching({ signal, timeoutMs = WATCH_TIMEOUT_MS }: CallOptions = {}): Promise<void> {
    return withDeadline('the verifier agent to observe', { signal, timeoutMs }, () => this.#watching.promise)
  }

  /** Announces entries; their indices count on. */
  add(entries: readonly ExpectedInput[]): void {
    for (const [index, [type, , , optional]] of entries.entries()) {
      if (optional) this.#optional.add(this.#count + index)
      if (type === 'rel') this.#hasMotion = true
    }
    for (let start = 0; start < entries.length; start += ADD_MAX) {
      this.#expect(entries.slice(start, start + ADD_MAX), false)
    }
    this.#count += entries.length
  }

  /** There will be no more: what the agent could not place by now is unexpected. */
  complete(): void {
    this.#isComplete = true
    this.#expect([], true)
  }

  /**
   * Ends a complete expectation, and compares the agent's own account with what it told. Undefined when they agree, or
   * before there is such an account.
   *
   * @throws `ATP_TIMEOUT`, `ATP_INTERRUPTED`
   */
  async confirm({ signal, timeoutMs = RESULT_TIMEOUT_MS }: CallOptions = {}): Promise<string | undefined> {
    if (!this.#isComplete || this.#isOver) return undefined
    if (!this.#isAsked) this.#send({ v: 1, type: 'release', event_id: this.#id })
    this.#isAsked = true
    const bounds = { signal, timeoutMs }
    const { details } = await withDeadline("the verifier agent's account", bounds, () => this.#result.promise)
    const { seen, unexpected } = details
    if (typeof seen !== 'number' || typeof unexpected !== 'number') {
      return `the verifier agent gives no account of what it saw: ${reasonOf(details)}`
    }
    const told = [...this.#seen].filter((index) => !this.#optional.has(index)).length
    // Motions there and back are in its account, and are not told.
    if ((this.#hasMotion || seen === told) && unexpected === this.#unexpected) return undefined
    return `the verifier agent saw ${seen} inputs and ${unexpected} unexpected ones, and told of ${told} and ${this.#unexpected}`
  }

  /** Ends it. The agent's last words are not waited for. Idempotent. */
  release(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#watching.resolve()
    this.#forget()
    this.#send({ v: 1, type: 'release', event_id: this.#id })
  }

  /** What the agent saw. */
  saw({ seen, unexpected }: Seen, arrivedNs: bigint): void {
    this.#watching.resolve()
    for (const [index, guestNs] of seen) {
      if (index >= this.#count) return this.gap('the verifier agent speaks of input that was not announced')
      if (this.#seen.has(index)) return this.gap('the verifier agent tells of the same input twice')
      this.#seen.add(index)
      this.#sink.onSeen(index, BigInt(guestNs), arrivedNs)
    }
    if (unexpected > UNEXPECTED_MAX - this.#unexpected) {
      return this.gap(`the verifier agent tells of more than ${UNEXPECTED_MAX} unexpected inputs`)
    }
    this.#unexpected += unexpected
    if (unexpected > 0) this.#sink.onUnexpected(unexpected, arrivedNs)
  }

  gap(reason: string): void {
    this.#watching.resolve()
    this.#sink.onGap(reason)
  }

  /** The agent ended it by itself. */
  ended(result: VerifyResult): void {
    if (this.#isOver) return
    if (this.#isAsked) {
      this.#isOver = true
      this.#result.resolve(result)
      return this.#forget()
    }
    const { verified, details } = result
    this.lost(`the verifier agent ended its observation${verified ? '' : `: ${reasonOf(details)}`}`)
    this.#forget()
  }

  /** No more will come. */
  lost(reason: string): void {
    this.#isOver = true
    this.#result.reject(new Error(reason))
    this.gap(reason)
  }

  #expect(add: ExpectedInput[], last: boolean): void {
    if (this.#isOver) return
    try {
      this.#send({ v: 1, type: 'expect', event_id: this.#id, device: this.#device, add, last })
    } catch (error) {
      this.gap(messageOf(error))
    }
  }
}

function reasonOf(details: VerifyResult['details']): string {
  const { error, message } = details
  return typeof error === 'string' ? error : typeof message === 'string' ? message : 'no reason given'
}
