import { connectError, interrupted, isAtpError, logger, messageOf, stateError, withDeadline } from '../core/index.ts'
import { retryDelayMs } from './back-off.ts'
import type {
  AcquireOptions,
  ConnectionPoolOptions,
  HostTask,
  LatencyFigures,
  PooledConnection,
  PoolMember,
  PoolMetrics,
  UseOptions,
} from './connection-pool-api.ts'
import { poolSettings, type PoolSettings } from './connection-pool-settings.ts'
import { PoolSlot, usesOf } from './connection-pool-slot.ts'
import { choiceBy, type Choice } from './connection-pool-strategy.ts'
import { mayHeal } from './healing.ts'
import type { HostConnection } from './host-connection.ts'
import type { ConnectionState } from './link.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import type { PoolObserver } from './observer.ts'

interface Waiter<M extends PoolMember> {
  readonly avoid: M | undefined
  serve(slot: PoolSlot<M>): void
  fail(error: Error): void
}

/** Longest time a timer can hold; it would fire at once for a longer one. */
const TIMER_MAX_MS = 2_147_483_647
/** Before one more connection is tried at a host that refused it for good but keeps others. */
const HOPELESS_PAUSE_MS = 60_000
/** A host that was never reached is not waited for longer than these attempts take: a third of a second if it refuses. */
const ATTEMPTS_AT_UNKNOWN_HOST = 4

/**
 * Connections to one host, shared by many tasks.
 *
 * A connection carries several tasks at once. When all are as busy as they should be the pool connects one more in the
 * background, one at a time, and meanwhile serves from those that are there; when the load is gone it closes what was
 * idle for `idleTimeoutMs`. Lost connections restore themselves and are not handed out until then; one that gives up
 * is replaced. With `max: 1` this is the one connection to the host that everybody shares.
 */
export class ConnectionPool<M extends PoolMember = HostConnection> {
  readonly #host: string
  readonly #settings: Required<PoolSettings>
  readonly #create: () => M
  readonly #maxRetries: number
  readonly #random: () => number
  readonly #observe: PoolObserver | undefined
  readonly #choose: Choice
  readonly #slots = new Set<PoolSlot<M>>()
  /** Given up, but somebody still holds them: they stay open, so that their own errors say what happened. */
  readonly #retired = new Set<PoolSlot<M>>()
  /** Being closed. */
  readonly #discarding = new Set<Promise<void>>()
  readonly #waiters = new Set<Waiter<M>>()
  readonly #closing = new AbortController()
  readonly #acquired = new LatencyHistogram()
  readonly #connected = new LatencyHistogram()
  #usesTotal = 0
  #failed = 0
  /** Failures since the last success; they decide about the pause before the next attempt. */
  #failuresInARow = 0
  #nextAttemptMs = 0
  #lastError: unknown
  #growing: NodeJS.Timeout | undefined
  #shrinking: NodeJS.Timeout | undefined
  /** Woken when the last use ends. */
  #onUnused = () => {}
  #ended: Promise<void> | undefined

  /** @throws `ATP_POOL_SETTINGS` */
  constructor(options: ConnectionPoolOptions<M>) {
    const { host, create, maxRetries = Infinity, random = Math.random, observe, ...settings } = options
    this.#host = host
    this.#observe = observe
    this.#create = create
    this.#maxRetries = maxRetries
    this.#random = random
    this.#settings = poolSettings(settings)
    this.#choose = choiceBy(this.#settings.strategy, random)
  }

  /** Begins to connect `min` connections. {@link acquire} does the same; this does it earlier. */
  warm(): void {
    this.#maintain()
  }

  /**
   * A connection that is connected now. Waits for one where there is none: up to `timeoutMs`, but for a host that was
   * never reached no longer than a few attempts.
   *
   * @throws `ATP_POOL_UNAVAILABLE` with the last error as its cause, `ATP_POOL_CLOSED`, `ATP_INTERRUPTED`.
   */
  async acquire(options: AcquireOptions<M> = {}): Promise<PooledConnection<M>> {
    this.#assertOpen()
    if (options.signal?.aborted) throw interrupted(`waiting for a connection to host "${this.#host}"`, options.signal)
    const startedMs = performance.now()
    const slot = this.#pick(options.avoid)
    const lease = slot ? this.#lend(slot) : await this.#wait(options)
    this.#time('acquire', performance.now() - startedMs)
    this.#maintain()
    return lease
  }

  /**
   * Runs a task with a connection and releases it whatever happens. `timeoutMs` bounds all of it; a task that goes on
   * after that keeps its connection in use until it ends.
   *
   * @throws what {@link acquire} and the task throw, `ATP_TIMEOUT`, `ATP_INTERRUPTED`.
   */
  use<T>(task: HostTask<T, M>, { idempotent = false, ...bounds }: UseOptions = {}): Promise<T> {
    return withDeadline(`a task on host "${this.#host}"`, bounds, async (signal) => {
      const first = await this.acquire({ signal })
      try {
        signal.throwIfAborted()
        return await task(first.connection, signal)
      } catch (error) {
        if (!idempotent || signal.aborted || !isLost(error)) throw error
      } finally {
        first.release()
      }
      const second = await this.acquire({ signal, avoid: first.connection })
      try {
        signal.throwIfAborted()
        return await task(second.connection, signal)
      } finally {
        second.release()
      }
    })
  }

  metrics(): PoolMetrics {
    const slots = [...this.#slots]
    const count = (standing: PoolSlot<M>['standing']) => slots.filter((slot) => slot.standing === standing).length
    return {
      total: slots.length,
      active: count('active'),
      idle: count('idle'),
      connecting: count('connecting'),
      failed: this.#failed,
      uses: this.#uses,
      usesTotal: this.#usesTotal,
      waiting: this.#waiters.size,
      acquire: figures(this.#acquired),
      connect: figures(this.#connected),
    }
  }

  /**
   * Ends the pool: nobody gets a connection any more, who waits for one is refused, uses under way may finish within
   * `drainTimeoutMs` (default 0), then all connections are closed. May be called again with less patience.
   *
   * @returns how many uses were still under way when the connections were closed.
   */
  async close({ drainTimeoutMs = 0 }: { drainTimeoutMs?: number } = {}): Promise<number> {
    this.#closing.abort()
    clearTimeout(this.#growing)
    clearTimeout(this.#shrinking)
    for (const waiter of this.#waiters) waiter.fail(this.#closedError())
    if (drainTimeoutMs > 0 && !this.#ended) await this.#drained(drainTimeoutMs)
    if (this.#ended) return this.#ended.then(() => 0)
    const cut = this.#uses
    if (cut > 0) {
      logger('hosts').warn('host "{host}": {cut} tasks lose their connection: they did not end in time', {
        host: this.#host,
        cut,
      })
    }
    this.#ended = this.#end()
    await this.#ended
    return cut
  }

  async #end(): Promise<void> {
    const slots = [...this.#slots, ...this.#retired]
    this.#slots.clear()
    this.#retired.clear()
    for (const slot of slots) this.#count(slot)
    this.#onUnused()
    for (const slot of slots) this.#discard(slot)
    await Promise.all(this.#discarding)
  }

  #discard(slot: PoolSlot<M>): void {
    const done = slot.discard().finally(() => this.#discarding.delete(done))
    this.#discarding.add(done)
  }

  get #uses(): number {
    return usesOf(this.#slots) + usesOf(this.#retired)
  }

  async #drained(timeoutMs: number): Promise<void> {
    if (this.#uses === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(timeoutMs, TIMER_MAX_MS))
      const others = this.#onUnused
      this.#onUnused = () => {
        clearTimeout(timer)
        resolve()
        others()
      }
    })
  }

  #pick(avoid: M | undefined): PoolSlot<M> | undefined {
    const usable = [...this.#slots].filter((slot) => slot.usable)
    const preferred = usable.filter((slot) => slot.member !== avoid)
    const candidates = preferred.length > 0 ? preferred : usable
    return candidates.length > 0 ? this.#choose(candidates) : undefined
  }

  #lend(slot: PoolSlot<M>): PooledConnection<M> {
    slot.uses++
    this.#usesTotal++
    this.#observe?.poolCounted(this.#host, 'uses', 1)
    this.#count(slot)
    let released = false
    const release = () => {
      if (released) return
      released = true
      slot.uses--
      slot.idleSinceMs = performance.now()
      this.#observe?.poolCounted(this.#host, 'uses', -1)
      this.#count(slot)
      if (slot.uses === 0 && this.#retired.delete(slot)) this.#discard(slot)
      if (this.#uses === 0) this.#onUnused()
      this.#maintain()
    }
    return { connection: slot.member, release, [Symbol.dispose]: release }
  }

  #wait({ avoid, signal, timeoutMs = this.#settings.acquireTimeoutMs }: AcquireOptions<M>) {
    return new Promise<PooledConnection<M>>((resolve, reject) => {
      // The use is counted where the waiter is served: one that gave up before is never handed a connection.
      const settle = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        if (this.#waiters.delete(waiter)) this.#observe?.poolCounted(this.#host, 'waiting', -1)
      }
      const waiter: Waiter<M> = {
        avoid,
        serve: (slot) => {
          settle()
          resolve(this.#lend(slot))
        },
        fail: (error) => {
          settle()
          reject(error)
        },
      }
      const onAbort = () => waiter.fail(interrupted(`waiting for a connection to host "${this.#host}"`, signal))
      const timer = Number.isFinite(timeoutMs)
        ? setTimeout(() => waiter.fail(this.#unavailable(`within ${timeoutMs} ms`)), Math.min(timeoutMs, TIMER_MAX_MS))
        : undefined
      signal?.addEventListener('abort', onAbort, { once: true })
      if (this.#waiters.size === 0) this.#failuresInARow = 0
      this.#waiters.add(waiter)
      this.#observe?.poolCounted(this.#host, 'waiting', 1)
      for (const slot of this.#slots) slot.hurry(this.#closing.signal)
      // Somebody wants it now: the pause after earlier failures is over.
      this.#nextAttemptMs = 0
      this.#maintain()
    })
  }

  /** Serves who waits, connects what is missing, sees to what is idle. To be called whenever anything changed. */
  #maintain(): void {
    if (this.#closing.signal.aborted) return
    for (const waiter of this.#waiters) {
      const slot = this.#pick(waiter.avoid)
      if (!slot) break
      waiter.serve(slot)
    }
    clearTimeout(this.#growing)
    // Asked anew each time: a connection that begins or fails at once has been seen to already.
    while (this.#wantsMore()) {
      const pauseMs = this.#nextAttemptMs - performance.now()
      if (pauseMs > 0) {
        if (pauseMs < Infinity) this.#growing = setTimeout(() => this.#maintain(), pauseMs).unref()
        break
      }
      void this.#connect()
    }
    this.#shrink()
  }

  /** Whether to make a connection now: up to `min` together, above it one at a time. */
  #wantsMore(): boolean {
    const slots = [...this.#slots]
    const { min, max, maxUsesPerConnection } = this.#settings
    if (slots.length < min) return true
    if (slots.length >= max || slots.some((slot) => slot.fresh)) return false
    const usable = slots.filter((slot) => slot.usable)
    const load = usesOf(usable) + this.#waiters.size
    return Math.ceil(load / maxUsesPerConnection) > usable.length
  }

  async #connect(): Promise<void> {
    const startedMs = performance.now()
    let slot: PoolSlot<M> | undefined
    try {
      const made: PoolSlot<M> = new PoolSlot(this.#host, this.#create(), (to, error) => this.#changed(made, to, error))
      slot = made
      this.#slots.add(slot)
      this.#count(slot)
      await slot.member.connect({ signal: this.#closing.signal })
      slot.fresh = false
      this.#time('connect', performance.now() - startedMs)
      this.#changed(slot, slot.member.state, undefined)
    } catch (error) {
      if (slot) slot.fresh = false
      const goesOn = slot?.member.state === 'connecting' || slot?.member.state === 'reconnecting'
      if (goesOn) this.#lastError = error
      else this.#giveUp(slot, error)
      this.#maintain()
    }
  }

  #changed(slot: PoolSlot<M>, state: ConnectionState, error: Error | undefined): void {
    if (!this.#slots.has(slot)) return
    this.#count(slot)
    if (error) this.#lastError = error
    if (state === 'connected') {
      slot.fresh = false
      slot.idleSinceMs = performance.now()
      this.#failuresInARow = 0
      this.#nextAttemptMs = 0
      this.#lastError = undefined
    }
    // What a first attempt comes to is told by its promise.
    if (!slot.fresh && (state === 'failed' || state === 'disconnected')) this.#giveUp(slot, error ?? this.#lastError)
    this.#maintain()
  }

  /** A connection will not come (back): it is closed; those who wait are told where nothing else is to be hoped for. */
  #giveUp(slot: PoolSlot<M> | undefined, error: unknown): void {
    if (this.#closing.signal.aborted || (slot && !this.#slots.delete(slot))) return
    if (slot && slot.uses > 0) this.#retired.add(slot)
    else if (slot) this.#discard(slot)
    if (slot) this.#count(slot)
    this.#failed++
    this.#observe?.poolCounted(this.#host, 'failed', 1)
    this.#failuresInARow++
    this.#lastError = error
    const alone = this.#slots.size === 0
    // Repeating it, say with a wrong password, does harm; the next caller decides whether it is tried again.
    const hopeless = !mayHeal(error) || this.#failuresInARow > this.#maxRetries
    const pauseMs = hopeless ? HOPELESS_PAUSE_MS : retryDelayMs(this.#failuresInARow, this.#random)
    this.#nextAttemptMs = hopeless && alone ? Infinity : performance.now() + pauseMs
    const known = this.#connected.count > 0
    if (alone && (hopeless || (!known && this.#failuresInARow >= ATTEMPTS_AT_UNKNOWN_HOST))) {
      const attempts = this.#failuresInARow === 1 ? 'at the first attempt' : `in ${this.#failuresInARow} attempts`
      for (const waiter of this.#waiters) waiter.fail(this.#unavailable(attempts))
    }
  }

  /** Closes what was idle for too long, and comes back when the next one will have been. */
  #shrink(): void {
    const { min, idleTimeoutMs } = this.#settings
    clearTimeout(this.#shrinking)
    if (this.#slots.size <= min) return
    const nowMs = performance.now()
    const idle = [...this.#slots].filter((slot) => slot.uses === 0 && !slot.fresh)
    const leftMs = (slot: PoolSlot<M>) => slot.idleSinceMs + idleTimeoutMs - nowMs
    // Those that are of no use go first, then those idle for longest.
    const over = idle
      .filter((slot) => leftMs(slot) <= 0)
      .sort((a, b) => Number(a.usable) - Number(b.usable) || a.idleSinceMs - b.idleSinceMs)
    for (const slot of over.slice(0, this.#slots.size - min)) {
      this.#slots.delete(slot)
      this.#count(slot)
      this.#discard(slot)
    }
    const waits = idle.filter((slot) => leftMs(slot) > 0).map(leftMs)
    if (this.#slots.size > min && waits.length > 0)
      this.#shrinking = setTimeout(() => this.#shrink(), Math.min(...waits)).unref()
  }

  /** Tells the observer where a connection stands now. */
  #count(slot: PoolSlot<M>): void {
    const standing = this.#slots.has(slot) ? slot.standing : undefined
    const before = slot.counted
    if (standing === before) return
    slot.counted = standing
    if (before) this.#observe?.poolCounted(this.#host, before, -1)
    if (standing) this.#observe?.poolCounted(this.#host, standing, 1)
  }

  #time(what: 'acquire' | 'connect', durationMs: number): void {
    const latency = what === 'acquire' ? this.#acquired : this.#connected
    latency.record(durationMs)
    this.#observe?.poolTimed(this.#host, what, durationMs)
  }

  #unavailable(how: string): Error {
    const last = this.#lastError
    return connectError(
      'ATP_POOL_UNAVAILABLE',
      `no connection to host "${this.#host}" ${how}${last === undefined ? '' : `: ${messageOf(last)}`}`,
      {
        cause: last,
        context: { host: this.#host, connections: this.#slots.size },
        retryable: last === undefined || mayHeal(last),
        remedy: `see what is the matter with it: npx atp host check ${this.#host}`,
      },
    )
  }

  #closedError(): Error {
    return stateError('ATP_POOL_CLOSED', `the connections to host "${this.#host}" are closed`, {
      context: { host: this.#host },
      remedy: 'the host was removed, or its owner ended; add it again to go on',
    })
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw this.#closedError()
  }
}

/** The task's connection broke under it. */
export function isLost(error: unknown): boolean {
  return isAtpError(error) && error.branch === 'connect' && error.retryable
}

function figures(latency: LatencyHistogram): LatencyFigures {
  return { count: latency.count, meanMs: latency.meanMs, p99Ms: latency.percentileMs(99) }
}
