import {
  connectError,
  interrupted,
  isAtpError,
  logger,
  messageOf,
  withDeadline,
  type CallOptions,
} from '../core/index.ts'
import type { LibvirtClient } from '../protocols/libvirt/index.ts'
import { retryDelayMs } from './back-off.ts'
import { mayHeal, unreachableError } from './healing.ts'
import { Heartbeat } from './heartbeat.ts'
import { RetryPause } from './retry-pause.ts'

/**
 * `disconnected`: nobody asked for it yet, or it was lost and is not to be made again by itself. `failed`: given up,
 * since trying again is pointless or the attempts are used up.
 */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed'

export interface LinkChange {
  from: ConnectionState
  /** `reconnecting` is told again for every attempt that is to come. */
  to: ConnectionState
  /** What ended or prevented the connection. */
  error?: Error
  /** Number of the attempt that comes next, counted from 1. */
  attempt?: number
  /** Milliseconds until then; shorter when something says that the daemon is back, or when somebody waits. */
  retryInMs?: number
}

export interface LinkStats {
  state: ConnectionState
  /** Calls sent and not answered yet. */
  inFlight: number
  /** Calls whose promise is not settled, waiting ones included. */
  pending: number
  streams: number
  /** Registrations of events. */
  eventHandlers: number
  /** Connections that were made, and lost, since the beginning. */
  connects: number
  losses: number
  /** How long making the last one took, everything that had to be restored included. */
  lastConnectMs: number | undefined
  /** Round trip of the last heartbeat. */
  heartbeatMs: number | undefined
}

export interface LinkOptions {
  /** For messages: `host "lab-1"`. */
  what: string
  /** For the context of errors. */
  context: Record<string, unknown>
  connectTimeoutMs: number
  /** 0 = none. */
  heartbeatIntervalMs: number
  heartbeatTimeoutMs: number
  autoReconnect: boolean
  maxAttempts: number
  /** Goes on trying also when the very first attempt fails. */
  persistent: boolean
  /** One attempt. */
  open(bounds: CallOptions): Promise<LibvirtClient>
  /** Makes a new connection ready, before anybody gets it. A rejection is a failed attempt. */
  prepare?(client: LibvirtClient, bounds: CallOptions): Promise<void>
  /** True while attempts are pointless unless somebody waits; {@link Link.wake} ends that. */
  held?(): boolean
  /** Watches for signs that the daemon is back; returns the function that ends the watching. */
  watch?(onSign: () => void): () => void
  onChange(change: LinkChange): void
  onOpen?(how: { durationMs: number; reconnect: boolean }): void
  onEnd?(reason: Error | undefined): void
}

/** While somebody waits, pauses are not longer than this, milliseconds, nor than half of what the last attempt took… */
const HURRY_MS = 100
/** …unless the connection has been lost for longer than this. */
const HURRY_WINDOW_MS = 30_000

/**
 * One connection of one role, made again when it is lost: a new client each time, since connections of libvirt's
 * protocol cannot be taken up again. Whatever was pending on the old one has been rejected by it.
 */
export class Link {
  readonly #options: LinkOptions
  readonly #closing = new AbortController()
  readonly #pause = new RetryPause()
  #state: ConnectionState = 'disconnected'
  #client: LibvirtClient | undefined
  #heartbeat: Heartbeat | undefined
  /** For those who wait: settles when the present struggle for a connection is over. */
  #ready = deferred<LibvirtClient>()
  /** The struggle; a new one ends those before it, whose last attempt may still be under way. */
  #struggle: object | undefined
  /** Those that are not over yet; they never reject. */
  readonly #struggles = new Set<Promise<void>>()
  #lastError: Error | undefined
  /** Lost, and nobody is to make it again but {@link connect}. */
  #stays = false
  #attempts = 0
  #waiting = 0
  #hurryUntilMs = 0
  #lastAttemptMs = 0
  /** Something said that the daemon may be back. */
  #sign = false
  #connects = 0
  #losses = 0
  #lastConnectMs: number | undefined

  constructor(options: LinkOptions) {
    this.#options = options
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** What ended or prevented the connection last. */
  get lastError(): Error | undefined {
    return this.#lastError
  }

  /** The client, if it is connected now. */
  get current(): LibvirtClient | undefined {
    return this.#client?.ended === false ? this.#client : undefined
  }

  /**
   * The client; connects if that was not done yet, waits for the end of a reconnection.
   *
   * @throws `ATP_HOST_UNREACHABLE` at the end of the time limit, and at once when it was given up; what the first
   *   attempt throws; `ATP_INTERRUPTED`; the reason it was closed for.
   */
  async get(bounds: CallOptions = {}): Promise<LibvirtClient> {
    // Who heard of the end earlier than this object did waits until this object knows too.
    if (this.#client?.ended) await this.#client.closed
    this.#closing.signal.throwIfAborted()
    if (this.#client) return this.#client
    if (this.#state === 'failed' || this.#stays) throw this.#unreachable()
    if (this.#state === 'disconnected') this.#begin()
    return this.#wait(bounds)
  }

  /** Connects, also after it was given up. Joins an attempt under way. */
  async connect(bounds: CallOptions = {}): Promise<void> {
    if (this.#client?.ended) await this.#client.closed
    this.#closing.signal.throwIfAborted()
    if (this.#client) return
    if (this.#state === 'failed' || this.#state === 'disconnected') this.#begin()
    await this.#wait(bounds)
  }

  /** Ends a pause between attempts: the daemon may be back. Attempts are counted anew from here. */
  wake(): void {
    this.#sign = true
    this.#pause.end()
  }

  /** Gives up what is being tried. */
  fail(error: Error): void {
    this.#lastError = error
    this.#end('failed', error, this.#unreachable('was given up'))
  }

  /** Forgets that it was lost or given up: the next {@link get} connects. */
  reset(): void {
    this.#stays = false
    if (this.#state === 'failed') this.#to('disconnected')
  }

  /** Ends everything; those who wait get `reason`. Idempotent. */
  async close(reason: Error): Promise<void> {
    this.#closing.abort(reason)
    this.#heartbeat?.stop()
    this.#pause.end()
    this.#ready.reject(reason)
    await Promise.all(this.#struggles)
    await this.#client?.close()
    this.#client = undefined
    if (this.#state !== 'disconnected') this.#to('disconnected')
  }

  stats(): LinkStats {
    const { inFlight = 0, pending = 0, streams = 0, eventHandlers = 0 } = this.#client?.stats() ?? {}
    return {
      state: this.#state,
      inFlight,
      pending,
      streams,
      eventHandlers,
      connects: this.#connects,
      losses: this.#losses,
      lastConnectMs: this.#lastConnectMs,
      heartbeatMs: this.#heartbeat?.latencyMs,
    }
  }

  async #wait({ signal, timeoutMs = this.#options.connectTimeoutMs }: CallOptions): Promise<LibvirtClient> {
    const { promise } = this.#ready
    const what = `waiting for ${this.#options.what}`
    this.#waiting++
    this.#hurry()
    try {
      return await withDeadline(what, { signal, timeoutMs }, () => promise)
    } catch (error) {
      const mine = isAtpError(error, 'ATP_TIMEOUT') && error.context['timeoutMs'] === timeoutMs
      throw mine ? this.#unreachable(`could not be reached within ${Math.round(timeoutMs)} ms`, error) : error
    } finally {
      this.#waiting--
    }
  }

  #hurry(): void {
    if (this.#isUrgent) this.#pause.shorten(Math.max(HURRY_MS, this.#lastAttemptMs / 2))
  }

  get #isUrgent(): boolean {
    return this.#waiting > 0 && performance.now() <= this.#hurryUntilMs
  }

  #begin(): void {
    this.#stays = false
    this.#ready = deferred()
    this.#to('connecting')
    this.#start((struggle) => this.#firstAttempt(struggle))
  }

  #start(run: (struggle: object) => Promise<void>): void {
    const struggle = {}
    this.#struggle = struggle
    this.#attempts = 0
    this.#sign = false
    this.#hurryUntilMs = performance.now() + HURRY_WINDOW_MS
    const over = run(struggle).finally(() => this.#struggles.delete(over))
    this.#struggles.add(over)
  }

  async #firstAttempt(struggle: object): Promise<void> {
    const error = await this.#attempt(struggle)
    if (!error || this.#isOver(struggle)) return
    if (!mayHeal(error)) this.#end('failed', error, error)
    else if (this.#options.persistent) await this.#retry(struggle, error)
    else this.#end('disconnected', error, error)
  }

  /** Tries until it works, is hopeless, or the attempts are used up. */
  async #retry(struggle: object, cause: Error): Promise<void> {
    const { watch, held, maxAttempts } = this.#options
    const unwatch = watch?.(() => this.wake())
    let error = cause
    try {
      for (let retry = 1; ; retry++) {
        const delayMs = held?.() && !this.#isUrgent ? Infinity : retryDelayMs(retry)
        const dueMs = performance.now() + delayMs
        this.#say('info', `attempt ${retry} ${Number.isFinite(delayMs) ? `in ${delayMs} ms` : 'once the host is back'}`)
        this.#to('reconnecting', { error, attempt: retry, retryInMs: delayMs })
        let due = false
        let sign = false
        while (!due && !sign) {
          const pause = this.#pause.begin(dueMs - performance.now())
          this.#hurry()
          due = await pause
          if (this.#isOver(struggle)) return
          // Attempts before their time are extra ones.
          if (due) this.#attempts = retry
          sign = this.#takeSign()
          const failure = await this.#attempt(struggle)
          if (!failure || this.#isOver(struggle)) return
          error = failure
          if (!mayHeal(error)) return this.#giveUp('was given up', error)
          sign = this.#takeSign() || sign
        }
        if (sign) retry = 0
        else if (retry >= maxAttempts) return this.#giveUp(`was given up after ${retry} attempts`, error)
      }
    } finally {
      unwatch?.()
    }
  }

  #takeSign(): boolean {
    const sign = this.#sign
    this.#sign = false
    return sign
  }

  #giveUp(how: string, error: Error): void {
    this.#say('error', `${how}: ${reasonOf(error)}`)
    this.#end('failed', error, this.#unreachable(how))
  }

  async #attempt(struggle: object): Promise<Error | undefined> {
    const bounds = { signal: this.#closing.signal, timeoutMs: this.#options.connectTimeoutMs }
    const startedMs = performance.now()
    let client: LibvirtClient | undefined
    try {
      client = await this.#options.open(bounds)
      await this.#prepare(client, bounds)
      if (client.ended) throw (await client.closed) ?? closedHere(this.#options.what)
      if (this.#isOver(struggle)) throw interrupted(`connecting to ${this.#options.what}`, this.#closing.signal)
    } catch (caught) {
      const error = caught instanceof Error ? caught : new Error(messageOf(caught))
      client?.drop(error)
      this.#lastError = error
      return error
    } finally {
      this.#lastAttemptMs = performance.now() - startedMs
    }
    this.#opened(client, this.#lastAttemptMs)
    return undefined
  }

  async #prepare(client: LibvirtClient, bounds: CallOptions): Promise<void> {
    const { prepare, what } = this.#options
    if (prepare) await withDeadline(`restoring ${what}`, bounds, (signal) => prepare(client, { signal }))
  }

  #opened(client: LibvirtClient, durationMs: number): void {
    const { what, heartbeatIntervalMs: intervalMs, heartbeatTimeoutMs: timeoutMs, onOpen } = this.#options
    this.#client = client
    this.#lastConnectMs = durationMs
    this.#attempts = 0
    if (intervalMs > 0) {
      const onSilence = (error: Error) => client.drop(error)
      this.#heartbeat = new Heartbeat(client, { what, intervalMs, timeoutMs, onSilence })
    }
    client.onClose((reason) => this.#onLoss(client, reason))
    this.#say('info', `connected to ${client.peer} in ${Math.round(durationMs)} ms`)
    onOpen?.({ durationMs, reconnect: this.#connects > 0 })
    this.#connects++
    this.#to('connected')
    this.#ready.resolve(client)
  }

  #onLoss(client: LibvirtClient, reason: Error | undefined): void {
    this.#options.onEnd?.(reason)
    if (this.#client !== client || this.#closing.signal.aborted) return
    const error = reason ?? closedHere(this.#options.what)
    this.#client = undefined
    this.#heartbeat?.stop()
    this.#heartbeat = undefined
    this.#losses++
    this.#lastError = error
    this.#ready = deferred()
    this.#say('warn', `lost: ${reasonOf(error)}`)
    if (this.#options.autoReconnect) return this.#start((struggle) => this.#retry(struggle, error))
    this.#stays = true
    this.#end('disconnected', error, this.#unreachable())
  }

  /** The struggle is over without a connection. */
  #end(state: 'failed' | 'disconnected', error: Error, refusal: Error): void {
    this.#struggle = undefined
    this.#pause.end()
    this.#to(state, { error })
    this.#ready.reject(refusal)
  }

  #isOver(struggle: object): boolean {
    return this.#closing.signal.aborted || this.#struggle !== struggle
  }

  #to(to: ConnectionState, more: Omit<LinkChange, 'from' | 'to'> = {}): void {
    const from = this.#state
    this.#state = to
    this.#options.onChange({ from, to, ...more })
  }

  #unreachable(how = 'is not connected', waited?: Error): Error {
    const { what, context } = this.#options
    const cause = this.#lastError ?? waited
    return unreachableError(what, how, cause, { ...context, attempts: this.#attempts, retryable: waited !== undefined })
  }

  #say(level: 'info' | 'warn' | 'error', text: string): void {
    logger('hosts')[level]('{what}: {text}', { what: this.#options.what, text })
  }
}

function closedHere(what: string): Error {
  return connectError('ATP_LIBVIRT_CLOSED', `the connection to ${what} was closed by this program`, { retryable: true })
}

function reasonOf(error: unknown): string {
  return messageOf(error).split('\n', 1)[0] as string
}

function deferred<T>() {
  const made = Promise.withResolvers<T>()
  // Nobody may be waiting.
  made.promise.catch(() => {})
  return made
}
