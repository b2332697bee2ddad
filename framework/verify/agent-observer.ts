import { messageOf, type CallOptions } from '../core/index.ts'
import type { ObservationLevel, ObserverName } from '../evidence/events.ts'
import type { ExpectedEvent, InputObserver, ObservedEvent } from '../input/api.ts'
import type { ExpectedInput } from '../../guest/protocol/index.ts'
import type { GuestClock } from './clock.ts'
import type { AgentExpectation } from './server/agent-expectation.ts'
import type { VerifierAgentLink } from './server/agent-link.ts'

/** An input that was not sent: the agent, which is no key logger, says that there was one and not which. */
const UNNAMED = { type: 'key', code: 0, value: 0 } as const
const ALIVE_TIMEOUT_MS = 2000

/**
 * Sees input through a verifier agent in the guest: tells it what will be sent, and hears which of it was seen. Inputs
 * that were not sent are counted, as events of code 0.
 *
 * An agent that is lost, or a gap that it tells of, means that nothing can be said about the input of that time; it is
 * never counted as lost keys.
 */
export class AgentObserver implements InputObserver {
  readonly level: ObservationLevel
  readonly by: ObserverName
  readonly #link: VerifierAgentLink
  readonly #device: 'keyboard' | 'mouse'
  readonly #clock: GuestClock
  #running: Observed | undefined

  constructor(
    link: VerifierAgentLink,
    { device, level, clock }: { device: 'keyboard' | 'mouse'; level: 'kernel' | 'browser'; clock: GuestClock },
  ) {
    this.#link = link
    this.#device = device
    this.#clock = clock
    this.level = level
    this.by = level === 'browser' ? 'browser' : 'agent'
  }

  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void {
    const running = new Observed(onEvent, onGap)
    this.#running = running
    try {
      running.expectation = this.#link.expect(this.#device, running)
    } catch (error) {
      onGap(messageOf(error))
    }
    return () => {
      running.expectation?.release()
      if (this.#running === running) this.#running = undefined
    }
  }

  async expecting(expected: readonly ExpectedEvent[], options: CallOptions = {}): Promise<void> {
    const running = this.#running
    if (!running?.expectation) return
    try {
      await running.expectation.watching({ signal: options.signal })
    } catch (error) {
      if (options.signal?.aborted) throw error
      return running.onGap(messageOf(error))
    }
    running.announced.push(...expected)
    running.expectation.add(expected.map(entryOf))
  }

  toHostTime(guestNs: bigint): { hostNs: bigint; boundNs: bigint } {
    return this.#clock.toHostTime(guestNs)
  }

  async calibrate(options?: CallOptions): Promise<void> {
    await this.#clock.estimate(options)
  }

  /** Asks the agent for everything it has seen by now; what it could not place is an input that was not sent. */
  async fault(options: CallOptions = {}): Promise<string | undefined> {
    if (this.#link.closed !== undefined) return this.#link.closed
    try {
      this.#running?.expectation?.complete()
      await this.#link.barrier({ timeoutMs: ALIVE_TIMEOUT_MS, ...options })
      return undefined
    } catch (error) {
      if (options.signal?.aborted) throw error
      return `whether the verifier agent still works is unknown: ${messageOf(error)}`
    }
  }
}

/** What one subscriber has announced, and what of it was seen. */
class Observed {
  readonly announced: ExpectedEvent[] = []
  expectation: AgentExpectation | undefined
  readonly onGap: (reason: string) => void
  readonly #onEvent: (event: ObservedEvent) => void
  #lastNs = 0n

  constructor(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void) {
    this.#onEvent = onEvent
    this.onGap = onGap
  }

  onSeen(index: number, guestNs: bigint, arrivedNs: bigint): void {
    const { type, code, value } = this.announced[index] as ExpectedEvent
    this.#lastNs = guestNs
    this.#onEvent({ type, code, value, guestNs, arrivedNs })
  }

  /** Their time is not told; they came after what was told before. */
  onUnexpected(count: number, arrivedNs: bigint): void {
    for (let each = 0; each < count; each++) this.#onEvent({ ...UNNAMED, guestNs: this.#lastNs, arrivedNs })
  }
}

function entryOf({ type, code, value, optional }: ExpectedEvent): ExpectedInput {
  return optional ? [type, code, value, 'optional'] : [type, code, value]
}
