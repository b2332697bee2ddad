import { interrupted, logger, messageOf } from '../core/index.ts'
import type {
  Expectation,
  InjectOptions,
  InputEvent,
  InputObserver,
  InputPath,
  ObservedEvent,
  SentEvent,
} from './api.ts'
import { expectationOf } from './expectation.ts'

const RELEASE_TIMEOUT_MS = 2000

/**
 * Both sides of one input action: every event as it was sent, and every event the observer saw meanwhile. It
 * knows when all that was sent has been seen, so that nobody has to sleep, and what is still pressed, so that a
 * failed action can let go of it. Owns the observer's subscription until {@link end}.
 */
export class Recording {
  readonly sent: SentEvent[] = []
  readonly observed: ObservedEvent[] = []
  /** Called for each observed event, before anybody who waits is woken. */
  onSeen: (event: ObservedEvent) => void = () => {}
  readonly #path: InputPath
  readonly #observer: InputObserver | undefined
  readonly #wakers = new Set<() => void>()
  /** What is still to be seen, by kind of event: how often (keys, positions) or how far (motion). */
  readonly #open = new Map<string, number>()
  #openKinds = 0
  /** Events that undo what is pressed now, by what they release. */
  readonly #releases = new Map<string, InputEvent>()
  readonly #unsubscribe: () => void
  #gap: string | undefined

  readonly #secret: boolean

  /** @param options `secret`: what is sent is not told to the log. */
  constructor(path: InputPath, observer: InputObserver | undefined, { secret = false }: { secret?: boolean } = {}) {
    this.#secret = secret
    this.#path = path
    this.#observer = observer
    this.#unsubscribe =
      observer?.subscribe(
        (event) => this.#see(event),
        (reason) => this.markGap(reason),
      ) ?? (() => {})
  }

  /** Why the observation has a hole; undefined while it has none. */
  get gap(): string | undefined {
    return this.#gap
  }

  markGap(reason: string): void {
    this.#gap ??= reason
    this.#wake()
  }

  /** Everything sent so far was seen. */
  get complete(): boolean {
    return this.#openKinds === 0
  }

  /** Injects the events in one call. `optional`: they only serve to provoke others and need not be seen. */
  async inject(events: readonly InputEvent[], options: InjectOptions & { optional?: boolean } = {}): Promise<void> {
    const { optional, ...bounds } = options
    // Noted before the call: the guest may report an event before the call's own reply is here.
    const added = events.flatMap((event, index) => {
      const path = this.#path
      const reached = event.type === 'abs' && path.nearest ? path.nearest(event.axis, event.value) : undefined
      const expected = expectationOf(reached === undefined ? event : ({ ...event, value: reached } as InputEvent))
      return expected ? [{ index, sent: { ...expected, atNs: 0n, ...(optional ? { optional } : {}) } }] : []
    })
    this.sent.push(...added.map(({ sent }) => sent))
    for (const { sent } of added) if (!optional) this.#expect(sent, 1)
    for (const event of events) if (isPress(event)) this.#releases.set(nameOf(event), { ...event, down: false })
    if (added.length > 0)
      await this.#observer?.expecting?.(
        added.map(({ sent }) => sent),
        bounds,
      )
    const { atNs, eachAtNs } = await this.#path.inject(events, bounds)
    for (const { index, sent } of added) sent.atNs = eachAtNs?.[index] ?? atNs
    for (const event of events) if (!isPress(event)) this.#releases.delete(nameOf(event))
  }

  /**
   * Waits until `done` holds, as long as the guest keeps reporting: resolves false when it has reported nothing
   * for `idleMs`, or when the observation has a gap.
   *
   * @throws `ATP_INTERRUPTED` when the signal aborts.
   */
  waitUntil(done: () => boolean, idleMs: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (signal?.aborted) finish(() => reject(interrupted('waiting for the guest to see input', signal)))
        else if (done()) finish(() => resolve(true))
        else if (this.#gap !== undefined) finish(() => resolve(false))
        else timer.refresh()
      }
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#wakers.delete(check)
        signal?.removeEventListener('abort', check)
        settle()
      }
      const timer = setTimeout(() => finish(() => resolve(done())), idleMs)
      this.#wakers.add(check)
      signal?.addEventListener('abort', check, { once: true })
      check()
    })
  }

  /** Releases what this action pressed and did not release. Never rejects: it runs while another error is on its way. */
  async letGo(): Promise<void> {
    const releases = [...this.#releases.values()].toReversed()
    if (releases.length === 0) return
    try {
      await this.#path.inject(releases, { timeoutMs: RELEASE_TIMEOUT_MS })
      this.#releases.clear()
    } catch (error) {
      const names = this.#secret ? 'keys of a secret' : [...this.#releases.keys()].join(', ')
      logger('input').warn('{names} may be stuck in the guest: {reason}', { names, reason: messageOf(error) })
    }
  }

  /** Ends the observation. */
  end(): void {
    this.#unsubscribe()
  }

  #see(event: ObservedEvent): void {
    this.observed.push(event)
    // Some drivers report the wheel twice, in notches and in fractions of one: only what was asked for counts.
    const asked = event.type === 'rel' ? this.#open.has(kindOf(event)) : event.type === 'abs' || event.value !== 2
    if (asked) this.#expect(event, -1)
    this.onSeen(event)
    this.#wake()
  }

  #expect(event: Expectation, sign: 1 | -1): void {
    const { type, value } = event
    const kind = kindOf(event)
    const before = this.#open.get(kind) ?? 0
    const after = before + sign * (type === 'rel' ? value : 1)
    // Motion may overshoot, which is as incomplete as too little; a key seen too often is not waited for.
    const open = (count: number) => (type === 'rel' ? count !== 0 : count > 0)
    this.#openKinds += Number(open(after)) - Number(open(before))
    this.#open.set(kind, after)
  }

  #wake(): void {
    for (const wake of this.#wakers) wake()
  }
}

function kindOf({ type, code, value }: Expectation): string {
  return type === 'rel' ? `rel ${code}` : `${type} ${code} ${value}`
}

type Pressable = Extract<InputEvent, { down: boolean }>

function isPress(event: InputEvent): event is Pressable {
  return 'down' in event && event.down
}

function nameOf(event: InputEvent): string {
  return event.type === 'key' ? event.qcode : event.type === 'button' ? event.button : ''
}
