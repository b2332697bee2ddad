import { messageOf, type CallOptions } from '../core/index.ts'
import type { ObservationLevel, ObserverName } from '../evidence/events.ts'
import type { ClockWatch, ExpectedEvent, HostTime, InputObserver, ObservedEvent } from '../input/api.ts'
import type { ExpectedInput } from '../../guest/protocol/index.ts'
import type { GuestClock } from './clock.ts'
import type { AgentExpectation } from './server/agent-expectation.ts'
import type { VerifierAgentLink } from './server/agent-link.ts'

/** An input that was not sent: the agent, which is no key logger, says that there was one and not which. */
const UNNAMED = { type: 'key', code: 0, value: 0 } as const
/** Positions that a browser tells apart on every screen of at least 400 pixels: it sees pixels, give or take one. */
const BROWSER_RESOLUTION = 256
const ALIVE_TIMEOUT_MS = 2000
const NO_CLOCK = 'the verifier agent does not tell its time'
const NO_WATCH: ClockWatch = { confirm: async () => {}, stop: async () => {} }

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
  readonly resolution: number
  readonly #link: VerifierAgentLink
  readonly #device: 'keyboard' | 'mouse'
  readonly #clock: GuestClock | undefined
  #running: Observed | undefined
  #hasSeen = false

  constructor(
    link: VerifierAgentLink,
    {
      device,
      level,
      clock,
    }: { device: 'keyboard' | 'mouse'; level: 'kernel' | 'browser'; clock: GuestClock | undefined },
  ) {
    this.#link = link
    this.#device = device
    this.#clock = clock
    this.level = level
    this.by = level === 'browser' ? 'browser' : 'agent'
    this.resolution = level === 'browser' ? BROWSER_RESOLUTION : 1
  }

  subscribe(onEvent: (event: ObservedEvent) => void, onGap: (reason: string) => void): () => void {
    const tell = (event: ObservedEvent) => {
      onEvent(this.#hasSeen ? event : { ...event, first: true })
      this.#hasSeen = true
    }
    const running = new Observed(tell, onGap)
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

  /** An agent that does not answer leaves a gap. */
  async expecting(
    expected: readonly ExpectedEvent[],
    { signal, last = false }: CallOptions & { last?: boolean } = {},
  ): Promise<void> {
    const running = this.#running
    if (!running?.expectation) return
    try {
      await running.expectation.watching({ signal })
      for (const event of expected) running.announced.push(event)
      running.expectation.add(expected.map(entryOf))
      if (!last) return
      running.expectation.complete()
      await this.#link.barrier({ signal, timeoutMs: ALIVE_TIMEOUT_MS })
    } catch (error) {
      if (signal?.aborted) throw error
      running.onGap(messageOf(error))
      // Nobody waits for it a second time.
      running.expectation.release()
      running.expectation = undefined
    }
  }

  get clock(): string | undefined {
    return this.#clock?.source
  }

  /** Without a clock no time can be believed; delivery is accounted for all the same. */
  toHostTime(guestNs: bigint, within?: { fromNs: bigint; toNs: bigint }): HostTime {
    if (this.#clock) return this.#clock.toHostTime(guestNs, within)
    return { hostNs: within?.fromNs ?? 0n, boundNs: 0n, invalid: NO_CLOCK }
  }

  watchClock(options?: CallOptions): Promise<ClockWatch> {
    return this.#clock?.watch(options) ?? Promise.resolve(NO_WATCH)
  }

  async fault(options: CallOptions = {}): Promise<string | undefined> {
    if (this.#link.closed !== undefined) return this.#link.closed
    try {
      await this.#link.barrier({ timeoutMs: ALIVE_TIMEOUT_MS, ...options })
      return await this.#running?.expectation?.confirm({ timeoutMs: ALIVE_TIMEOUT_MS, ...options })
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
