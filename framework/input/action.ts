import {
  assertionError,
  callSite,
  interrupted,
  logger,
  messageOf,
  timeoutError,
  unsupportedError,
  type CallOptions,
} from '../core/index.ts'
import type { InputPathName, PointerRecord } from '../evidence/events.ts'
import { evdevKeyName, type UnicodeRoute } from '../keys/index.ts'
import type {
  Account,
  ClockWatch,
  Delivery,
  InputDefaults,
  InputObserver,
  InputOptions,
  InputPath,
  ObservedEvent,
  ObserverChoice,
  Reconcile,
  VerifyMode,
} from './api.ts'
import { Recording } from './recording.ts'

/** What an action needs of the VM: given to keyboard and mouse by whoever composes the VM. */
export interface InputHost {
  /** Name of the VM. */
  vm: string
  /** The way to the device that gets this kind of input. Rejects when `via` or `device` cannot be had. */
  path(
    target: 'keyboard' | 'tablet' | 'mouse' | 'pointer',
    options: Pick<InputOptions, 'via' | 'device'>,
  ): InputPath | Promise<InputPath>
  /** The observer of these devices, started when needed. Rejects with the reason when there can be none. */
  observe(
    what: 'keyboard' | 'pointer',
    path: InputPathName,
    options: CallOptions & { observe?: ObserverChoice },
  ): Promise<InputObserver>
  /** What actions are carried out with that do not say. */
  defaults?: InputDefaults
  reconcile: Reconcile
  /** How the guest takes characters that no key prints. Rejects with `ATP_KEY_UNICODE` when there is no way. */
  unicodeRoute?(options: CallOptions): Promise<UnicodeRoute>
  /** Hears of every action that was carried out, also of those that arrived damaged. */
  onDelivery?(delivery: Delivery): void
}

export interface Action {
  /** `keyboard.type` */
  name: string
  /** What is sent, readable. */
  input: string
  /** Leave everything out of the account that tells what was sent. */
  secret?: boolean
  target: 'keyboard' | 'tablet' | 'mouse' | 'pointer'
  options: InputOptions
  /** evdev codes that may stay down after the action. */
  held: ReadonlySet<number>
  /** Keys are held on purpose, so that the guest may repeat them. */
  holds?: boolean
  /** What was observed of a pointer's move. */
  pointer?(recording: Recording): PointerRecord | undefined
}

/** What the body of an action works with. */
export interface ActionContext {
  /** Says what is sent, where that was not known beforehand. */
  describe(input: string): void
  recording: Recording
  path: InputPath
  verify: VerifyMode
  /** False when nobody observes. */
  observed: boolean
  /** Least distance of two positions that the observer surely tells apart. */
  resolution: number
  /** Whether the observer answers, which it cannot while its guest stands still. Resolves false when nobody observes. */
  alive(options: CallOptions): Promise<boolean>
  signal: AbortSignal
}

/** Injects; resolves to a remark for the account when it stopped early. */
export type ActionBody = (context: ActionContext) => Promise<string | undefined>

/** How long the guest may report nothing before the rest of an action counts as lost. */
const TAIL_IDLE_MS = 1000
/** Quiet after the last event that was sent, in which the guest would report what it got too often. */
const SURPLUS_IDLE_MS = 10
/** Quiet that ends the waiting for an earlier action's input, and the longest such wait, milliseconds. */
const SETTLE_IDLE_MS = 100
const SETTLE_MAX_MS = 2000

/**
 * Carries out the input actions of one device, one after the other: finds path and observer, runs the body, waits
 * until the guest has seen everything, and draws up the account. When an action fails it lets go of what the
 * action pressed before the failure is reported.
 */
export class ActionQueue {
  /** The accounts of all actions so far. */
  readonly deliveries: Delivery[] = []
  readonly #host: InputHost
  #last: Promise<unknown> = Promise.resolve()
  /** The guest may still have to see what an earlier action sent. */
  #unsettled = false

  constructor(host: InputHost) {
    this.#host = host
  }

  /**
   * @throws `ATP_INPUT_DAMAGED` (verify `require`, the guest saw something else), `ATP_VERIFY_IMPOSSIBLE` (verify
   * `require`, nobody could see), `ATP_TIMEOUT`, `ATP_INTERRUPTED`, and what path and body throw.
   */
  async run(given: Action, body: ActionBody): Promise<Delivery> {
    const action = { ...given, options: withDefaults(given.options, this.#host.defaults) }
    const { timeoutMs, signal: outer } = action.options
    const timer = timeoutMs !== undefined && Number.isFinite(timeoutMs) ? AbortSignal.timeout(timeoutMs) : undefined
    const signals = [outer, timer].filter((signal) => signal !== undefined)
    const signal = signals.length > 0 ? AbortSignal.any(signals) : new AbortController().signal
    const site = callSite(this.run)
    try {
      return await this.#inTurn(signal, action, () => this.#carryOut(action, signal, body))
    } catch (error) {
      if (!timer?.aborted || outer?.aborted) throw site.mark(error)
      throw timeoutError('ATP_TIMEOUT', `${this.#host.vm}: ${action.name} did not finish within ${timeoutMs} ms`, {
        cause: error,
        context: { vm: this.#host.vm, timeoutMs },
      })
    }
  }

  /** Waits for the actions before this one, whatever becomes of them. */
  #inTurn<T>(signal: AbortSignal, action: Action, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(interrupted(`${this.#host.vm}: ${action.name}`, signal))
      signal.addEventListener('abort', giveUp, { once: true })
      const mine = this.#last.then(() => {
        if (signal.aborted) throw interrupted(`${this.#host.vm}: ${action.name}`, signal)
        // From here on the work itself answers the signal, after it has let go of its keys.
        signal.removeEventListener('abort', giveUp)
        return work()
      })
      this.#last = mine.catch(() => {})
      mine.then(resolve, reject)
    })
  }

  async #carryOut(action: Action, signal: AbortSignal, body: ActionBody): Promise<Delivery> {
    const path = await this.#host.path(action.target, action.options)
    const { observer, reason } = await this.#observer(action, path.name, signal)
    if (observer && this.#unsettled) await settle(path, observer, signal)
    this.#unsettled = true
    const clock = observer && (await watchClock(observer, signal))
    const startedNs = process.hrtime.bigint()
    const recording = new Recording(path, observer, { secret: action.secret })
    const alive = async (bounds: CallOptions) =>
      observer?.fault !== undefined && (await observer.fault(bounds)) === undefined
    try {
      const remark = await body({
        describe: (input) => void (action.input = input),
        recording,
        path,
        verify: verifyOf(action),
        observed: observer !== undefined,
        resolution: observer?.resolution ?? 1,
        alive,
        signal,
      })
      await observer?.expecting?.([], { signal, last: true })
      const complete = !observer || (await recording.waitUntil(() => recording.complete, TAIL_IDLE_MS, signal))
      const durationMs = Number(process.hrtime.bigint() - startedNs) / 1e6
      if (observer && complete) await quiet(recording, SURPLUS_IDLE_MS, signal)
      if (observer && !complete) await examine(recording, observer, signal)
      if (clock) await confirm(clock, signal)
      const account = observer && this.#account(action, recording, observer)
      // Also what is too much, or in another order, may be the observation's doing.
      if (observer && account && complete && !isWhole(account)) await examine(recording, observer, signal)
      this.#unsettled = account === undefined || account.lost > 0 || recording.gap !== undefined
      return this.#conclude(action, path, recording, { account, observer, reason, remark, durationMs })
    } catch (error) {
      await recording.letGo()
      throw error
    } finally {
      recording.end()
      await clock?.stop()
    }
  }

  async #observer(
    { name, target, options }: Action,
    path: InputPathName,
    signal: AbortSignal,
  ): Promise<{ observer?: InputObserver; reason?: string }> {
    if (options.verify === 'off') return { reason: 'verification is off' }
    try {
      const { observe } = options
      const what = target === 'keyboard' ? 'keyboard' : 'pointer'
      return { observer: await this.#host.observe(what, path, { signal, ...(observe && { observe }) }) }
    } catch (error) {
      if (signal.aborted) throw error
      if (options.verify === 'require') throw this.#impossible(name, messageOf(error), error)
      return { reason: messageOf(error) }
    }
  }

  #account({ target, held }: Action, { sent, observed }: Recording, observer: InputObserver): Account {
    // Tablet and mouse report over channels of their own; the guest's time says who was first, unless it jumped.
    const jumped = ({ guestNs, arrivedNs }: ObservedEvent) =>
      observer.toHostTime(guestNs, { fromNs: sent[0]?.atNs ?? arrivedNs, toNs: arrivedNs }).invalid !== undefined
    const inOrder =
      target === 'keyboard' || observed.some(jumped)
        ? observed
        : observed.toSorted((left, right) => Number(left.guestNs - right.guestNs))
    return this.#host.reconcile({ sent, observed: inOrder, observer, held })
  }

  #conclude(
    action: Action,
    path: InputPath,
    recording: Recording,
    {
      account,
      observer,
      reason,
      remark,
      durationMs,
    }: { account?: Account; observer?: InputObserver; reason?: string; remark?: string; durationMs: number },
  ): Delivery {
    const verify = verifyOf(action)
    const unverified = reason ?? recording.gap
    const sent = recording.sent.filter((event) => !event.optional).length
    const { latenciesMs, warmupMs, latency, excluded, ...counts } =
      unverified === undefined && account ? account : { ...NOTHING_SEEN, sent }
    const repeated = recording.observed.filter(({ type, value }) => type === 'key' && value === 2)
    const remarks = [remark, repeatedUnasked(action, repeated)].filter((each) => each !== undefined)
    counts.differences = [...remarks, ...counts.differences]
    const whole = isWhole(counts) && remarks.length === 0
    const repeats = repeated.length
    // Where positions are known only nearly, those that were sent would pass for those that were reached.
    const isExact = unverified === undefined && (observer?.resolution ?? 1) === 1
    const pointer = isExact ? action.pointer?.(recording) : undefined
    const delivery: Delivery = {
      vm: this.#host.vm,
      action: action.name,
      input: action.input,
      path: path.name,
      verify,
      outcome: unverified !== undefined ? 'unverified' : whole ? 'delivered' : 'damaged',
      ...(unverified !== undefined ? { reason: unverified } : {}),
      ...(observer?.by ? { observed: { by: observer.by, level: observer.level } } : {}),
      ...counts,
      ...(action.secret ? { differences: remarks, stuck: counts.stuck.filter((name) => MODIFIER.test(name)) } : {}),
      ...(repeats > 0 && unverified === undefined ? { repeats } : {}),
      ...(pointer ? { pointer } : {}),
      durationMs,
      latenciesMs,
      ...(warmupMs.length > 0 ? { warmupMs } : {}),
      ...(Object.keys(excluded).length > 0 ? { excluded } : {}),
      ...(latency ? { latency } : {}),
    }
    this.deliveries.push(delivery)
    this.#host.onDelivery?.(delivery)
    if (verify === 'require' && unverified !== undefined) throw this.#impossible(action.name, unverified)
    if (verify === 'require' && !whole) throw damaged(delivery)
    return delivery
  }

  #impossible(action: string, reason: string, cause?: unknown): Error {
    return unsupportedError('ATP_VERIFY_IMPOSSIBLE', `${this.#host.vm}: ${action} cannot be verified: ${reason}`, {
      cause,
      context: { vm: this.#host.vm, action },
      verdict: 'infrastructure',
      remedy: "give the guest an observer (see docs), or accept unverified input with verify: 'observe'",
    })
  }
}

function verifyOf({ options }: Action): VerifyMode {
  return options.verify ?? 'observe'
}

function withDefaults(options: InputOptions, defaults: InputDefaults = {}): InputOptions {
  return { ...defaults, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) }
}

const MODIFIER = /_(SHIFT|LEFTSHIFT|RIGHTSHIFT|LEFTCTRL|RIGHTCTRL|LEFTALT|RIGHTALT|LEFTMETA|RIGHTMETA)$/

const NOTHING_SEEN: Account = {
  sent: 0,
  seen: 0,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  stuck: [],
  differences: [],
  latenciesMs: [],
  warmupMs: [],
  excluded: {},
}

/** An application takes each repeat for another press. */
function repeatedUnasked({ holds, held, secret }: Action, repeated: readonly ObservedEvent[]): string | undefined {
  if (holds) return undefined
  const names = repeated.filter(({ code }) => !held.has(code)).map(({ code }) => evdevKeyName(code))
  const keys = names.filter((name) => !MODIFIER.test(name))
  if (keys.length === 0) return undefined
  const which = secret ? 'keys' : [...new Set(keys)].join(', ')
  return `the guest was so slow that its kernel repeated ${which}, ${keys.length} times in all`
}

function damaged(delivery: Delivery): Error {
  const { vm, action, path, sent, seen, lost, duplicated, reordered, stuck, differences } = delivery
  const faults = [
    lost > 0 && `${lost} lost`,
    duplicated > 0 && `${duplicated} too many`,
    reordered > 0 && `${reordered} out of order`,
    stuck.length > 0 && `still down: ${stuck.join(', ')}`,
  ].filter((fault) => fault !== false)
  const lines = differences.map((line) => `\n  ${line}`).join('')
  return assertionError(
    'ATP_INPUT_DAMAGED',
    `${vm}: ${action} arrived damaged (${path.via}, ${path.device}): sent ${sent} events, the guest saw ${seen}: ` +
      `${faults.join(', ')}${lines}`,
    { context: { vm, delivery } },
  )
}

function isWhole({
  lost,
  duplicated,
  reordered,
  stuck,
}: Pick<Account, 'lost' | 'duplicated' | 'reordered' | 'stuck'>): boolean {
  return lost + duplicated + reordered + stuck.length === 0
}

/** Waits until the guest has been quiet for a moment, so that what it still had to see is not taken for new input. */
async function settle(path: InputPath, observer: InputObserver, signal: AbortSignal): Promise<void> {
  const leftovers = new Recording(path, observer)
  try {
    await quiet(leftovers, SETTLE_IDLE_MS, signal)
  } finally {
    leftovers.end()
  }
}

async function quiet(recording: Recording, idleMs: number, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + SETTLE_MAX_MS
  await recording.waitUntil(() => performance.now() > endMs, idleMs, signal)
}

/** Damage is the input's only if the observation is sound. */
async function examine(recording: Recording, observer: InputObserver, signal: AbortSignal): Promise<void> {
  const fault = await observer.fault?.({ signal })
  if (fault !== undefined) recording.markGap(fault)
}

/** Without it nothing is known of latencies; that is no reason to fail. */
async function watchClock(observer: InputObserver, signal: AbortSignal): Promise<ClockWatch | undefined> {
  try {
    return await observer.watchClock?.({ signal })
  } catch (error) {
    if (signal.aborted) throw error
    logger('input').debug('the guest clock is not watched: {reason}', { reason: messageOf(error) })
    return undefined
  }
}

async function confirm(clock: ClockWatch, signal: AbortSignal): Promise<void> {
  try {
    await clock.confirm({ signal })
  } catch (error) {
    if (signal.aborted) throw error
    logger('input').debug('the guest clock is not confirmed: {reason}', { reason: messageOf(error) })
  }
}
