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
import type { InputPathName } from '../evidence/events.ts'
import type { Account, Delivery, InputObserver, InputOptions, InputPath, ObserverChoice, Reconcile } from './api.ts'
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
  reconcile: Reconcile
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
}

/** What the body of an action works with. */
export interface ActionContext {
  recording: Recording
  path: InputPath
  /** False when nobody observes. */
  observed: boolean
  signal: AbortSignal
}

/** Injects; resolves to a remark for the account when it stopped early. */
export type ActionBody = (context: ActionContext) => Promise<string | undefined>

/** How long the guest may report nothing before the rest of an action counts as lost. */
const TAIL_IDLE_MS = 1000
/** Quiet that ends the waiting for an earlier action's input, and the longest such wait, milliseconds. */
const SETTLE_IDLE_MS = 100
const SETTLE_MAX_MS = 2000
/** Actions longer than this have their clock offset measured again, milliseconds. */
const RECALIBRATE_AFTER_MS = 2000

/**
 * Carries out the input actions of one device, one after the other: finds path and observer, runs the body, waits
 * until the guest has seen everything, and draws up the account. When an action fails it lets go of what the
 * action pressed before the failure is reported.
 */
export class ActionQueue {
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
  async run(action: Action, body: ActionBody): Promise<Delivery> {
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
    const startedNs = process.hrtime.bigint()
    const recording = new Recording(path, observer)
    try {
      const remark = await body({ recording, path, observed: observer !== undefined, signal })
      if (observer && !(await recording.waitUntil(() => recording.complete, TAIL_IDLE_MS, signal))) {
        const fault = await observer.fault?.({ signal })
        if (fault !== undefined) recording.markGap(fault)
      }
      const durationMs = Number(process.hrtime.bigint() - startedNs) / 1e6
      const account = observer && (await this.#account(action, recording, observer, durationMs, signal))
      this.#unsettled = account === undefined || account.lost > 0 || recording.gap !== undefined
      return this.#conclude(action, path, recording, { account, observer, reason, remark, durationMs })
    } catch (error) {
      await recording.letGo()
      throw error
    } finally {
      recording.end()
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

  async #account(
    { target, held }: Action,
    recording: Recording,
    observer: InputObserver,
    durationMs: number,
    signal: AbortSignal,
  ): Promise<Account> {
    const observed =
      target === 'keyboard'
        ? recording.observed
        : // Tablet and mouse report over channels of their own; the guest's time says who was first.
          recording.observed.toSorted((left, right) => Number(left.guestNs - right.guestNs))
    const reconcile = () => this.#host.reconcile({ sent: recording.sent, observed, observer, held })
    if (durationMs > RECALIBRATE_AFTER_MS) await recalibrate(observer, signal)
    const account = reconcile()
    if (account.excluded === 0 || durationMs > RECALIBRATE_AFTER_MS) return account
    // A paused and resumed guest lags behind by the pause.
    await recalibrate(observer, signal)
    return reconcile()
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
    const verify = action.options.verify ?? 'observe'
    const unverified = reason ?? recording.gap
    const sent = recording.sent.filter((event) => !event.optional).length
    const {
      latenciesMs,
      latency,
      excluded: _,
      ...counts
    } = unverified === undefined && account ? account : { ...NOTHING_SEEN, sent }
    if (remark !== undefined) counts.differences = [remark, ...counts.differences]
    const whole = counts.lost + counts.duplicated + counts.reordered + counts.stuck.length === 0 && remark === undefined
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
      ...(action.secret ? { differences: [], stuck: counts.stuck.filter((name) => MODIFIER.test(name)) } : {}),
      durationMs,
      latenciesMs,
      ...(latency ? { latency } : {}),
    }
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
  excluded: 0,
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

/** Waits until the guest has been quiet for a moment, so that what it still had to see is not taken for new input. */
async function settle(path: InputPath, observer: InputObserver, signal: AbortSignal): Promise<void> {
  const leftovers = new Recording(path, observer)
  const endMs = performance.now() + SETTLE_MAX_MS
  try {
    await leftovers.waitUntil(() => performance.now() > endMs, SETTLE_IDLE_MS, signal)
  } finally {
    leftovers.end()
  }
}

/** Without a new measurement the bound only grows; that is no reason to fail. */
async function recalibrate(observer: InputObserver, signal: AbortSignal): Promise<void> {
  try {
    await observer.calibrate?.({ signal })
  } catch (error) {
    if (signal.aborted) throw error
    logger('input').debug('the guest clock was not measured again: {reason}', { reason: messageOf(error) })
  }
}
