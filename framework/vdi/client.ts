import {
  addRedaction,
  callSite,
  type CallOptions,
  configError,
  interrupted,
  isAtpError,
  type Secret,
  timeoutError,
} from '../core/index.ts'
import { DeskPoolsApi } from './apis/desk-pools.ts'
import { DomainsApi } from './apis/domains.ts'
import { EventsApi } from './apis/events.ts'
import { HostsApi } from './apis/hosts.ts'
import { ModelsApi } from './apis/models.ts'
import { SerialsApi } from './apis/serials.ts'
import { UsbPoolsApi } from './apis/usb-pools.ts'
import { UsersApi } from './apis/users.ts'
import { DEFAULT_ASSUMPTIONS, type VdiAssumptions } from './assumptions.ts'
import { CallLimit } from './call-limit.ts'
import type { Caller, CallerOptions, Pace } from './caller.ts'
import { check, type Validation } from './check.ts'
import { VdiConnection, type VdiTls, type WireRequest } from './connection.ts'
import { codeOf, messageIn, unwrap, type WireAnswer } from './envelope.ts'
import { answerError, type CallPlace, closedError, httpError, refusedError, requestError } from './errors.ts'
import { type Input, type Operation, pathOf, queryOf } from './operation.ts'
import { login, logout } from './operations/session.ts'
import type { Schema, WireTime } from './schema.ts'
import { passwordHash } from './password.ts'
import { Session } from './session.ts'
import { timestampMs, zoneMs } from './times.ts'
import { DEFAULT_PACE } from './until.ts'

const TIMEOUT_MS = 30_000
const RETRIES = 3
const FIRST_RETRY_MS = 100
const FAREWELL_MS = 2000

/** One request that was sent, without anything secret. */
export interface VdiExchange {
  /** `domains.start` */
  operation: string
  method: string
  /** Without the query. */
  url: string
  /** Counted from 1; more than one after a failure that was retried. */
  attempt: number
  durationMs: number
  httpStatus?: number
  /** The platform's code; 0 is success. */
  code?: number
  /** Code of the error, where no answer came: `ATP_VDI_CONNECT`. */
  error?: string
}

/** How the client reaches its platform, and what it expects of it. */
export interface VdiClientOptions {
  /** Scheme, host and port of the platform, with a path if a proxy needs one. */
  baseUrl: string
  /** Administrator account. */
  username: string
  password: Secret
  tls?: VdiTls
  /** Milliseconds that one call may take, logins and retries included. Default 30000. */
  timeoutMs?: number
  /** Repetitions of an idempotent call after a lost connection or HTTP 5xx. Default 3. */
  retries?: number
  /** Default `'tolerant'`. */
  validation?: Validation
  /** Where the platform behaves differently from {@link DEFAULT_ASSUMPTIONS}. */
  assumptions?: Partial<VdiAssumptions>
  /** How fast waits ask. */
  pace?: Partial<Pace>
  /** Told of every request. Must not throw. */
  observe?: (exchange: VdiExchange) => void
}

/**
 * A client of the OCloudView platform. Logs in when the first call needs it, and again when the platform no longer
 * takes its token. Safe for any number of calls at a time.
 */
export class VdiClient {
  /** What is assumed about the platform. */
  readonly assumptions: Readonly<VdiAssumptions>
  /** VMs. */
  readonly domains: DomainsApi
  /** Desk pools: desktops made from a template. */
  readonly deskPools: DeskPoolsApi
  /** Hypervisors. */
  readonly hosts: HostsApi
  /** Templates. */
  readonly models: ModelsApi
  /** End users. */
  readonly users: UsersApi
  /** Events: what became of operations. */
  readonly events: EventsApi
  /** USB devices of the hosts. */
  readonly usbPools: UsbPoolsApi
  /** Serial ports of VMs. */
  readonly serials: SerialsApi
  readonly #connection: VdiConnection
  readonly #session: Session
  readonly #credentials: Pick<VdiClientOptions, 'username' | 'password'>
  readonly #timeoutMs: number
  readonly #retries: number
  readonly #validation: Validation
  readonly #observe: VdiClientOptions['observe']
  readonly #closing = new AbortController()

  /** @throws `ATP_VDI_OPTIONS` for options that make no sense */
  constructor(options: VdiClientOptions) {
    const { baseUrl, timeoutMs = TIMEOUT_MS, retries = RETRIES } = options
    if (!(timeoutMs > 0)) throw configError('ATP_VDI_OPTIONS', `timeoutMs ${timeoutMs} is no time`)
    if (!Number.isInteger(retries) || retries < 0)
      throw configError('ATP_VDI_OPTIONS', `retries ${retries} is no number of repetitions`)
    this.assumptions = { ...DEFAULT_ASSUMPTIONS, ...options.assumptions }
    zoneMs(this.assumptions.timestampZone)
    this.#connection = new VdiConnection(baseUrl, options.tls)
    this.#session = new Session(() => this.#logIn())
    this.#credentials = options
    this.#timeoutMs = timeoutMs
    this.#retries = retries
    this.#validation = options.validation ?? 'tolerant'
    this.#observe = options.observe
    const caller: Caller = {
      assumptions: this.assumptions,
      pace: { ...DEFAULT_PACE, ...options.pace },
      ended: this.#closing.signal,
      call: (operation, input, bounds) => this.call(operation, input, bounds),
    }
    this.domains = new DomainsApi(caller)
    this.deskPools = new DeskPoolsApi(caller)
    this.hosts = new HostsApi(caller)
    this.models = new ModelsApi(caller)
    this.users = new UsersApi(caller)
    this.events = new EventsApi(caller)
    this.usbPools = new UsbPoolsApi(caller)
    this.serials = new SerialsApi(caller)
  }

  /** Logs in now, instead of at the first call; joins a login under way. Does nothing while there is a session. */
  async login(options?: CallOptions): Promise<void> {
    await this.#bounded(login, options, async () => void (await this.#session.token()))
  }

  /** Ends the session on the platform, if there is one. The next call logs in again. */
  async logout(options?: CallOptions): Promise<void> {
    const token = this.#session.current
    if (token === undefined) return
    this.#session.drop(token)
    await this.#bounded(logout, options, async (limit) => {
      const place = this.#place(logout, logout.path)
      const answer = await this.#deliver(place, { path: logout.path }, token, limit)
      if (!this.#expired(place, answer)) this.#read(place, answer)
    })
  }

  /** Ends calls under way, the session and all connections. Never rejects; a session that cannot be ended expires. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(closedError('a call under way was ended'))
    await this.logout({ timeoutMs: FAREWELL_MS }).catch(() => {})
    await this.#connection.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /**
   * One operation of {@link VDI_OPERATIONS}, checked before and after; the methods of the APIs are made of it.
   *
   * @throws `ATP_VDI_REQUEST` before anything is sent; `ATP_VDI_REFUSED` with the platform's code; `ATP_VDI_HTTP`,
   * `ATP_VDI_ANSWER`, `ATP_VDI_CONNECT`, `ATP_VDI_TLS`, `ATP_VDI_TIMEOUT`, `ATP_VDI_CLOSED`, `ATP_INTERRUPTED`
   */
  async call<Path extends string, Query, Body, Answer>(
    operation: Operation<Path, Query, Body, Answer>,
    input: Input<Path, Query, Body>,
    options?: CallerOptions,
  ): Promise<Answer> {
    if (this.#closing.signal.aborted) throw closedError(operation.name)
    const { path: parameters, query, body } = input as { path?: Record<string, string>; query?: object; body?: object }
    if (operation.query) checkRequest(operation, operation.query, query ?? {}, 'query')
    if (operation.body) checkRequest(operation, operation.body, body, 'body')
    const path = pathOf(operation, parameters)
    const request = {
      path: path + queryOf(query, this.assumptions.arrayQuery),
      body: body && JSON.stringify(body),
    }
    const place = this.#place(operation, path)
    try {
      const answer = await this.#bounded(operation, options, (limit) =>
        this.#inSession(place, request, options?.token, limit),
      )
      return this.#read(place, answer) as Answer
    } catch (error) {
      // Below here are more frames of ours than a stack holds; it is to name the line of the spec.
      throw callSite(this.call).mark(error)
    }
  }

  /** Milliseconds since 1970 of a time in any of its wire forms, undefined for none. */
  timestampMs(value: WireTime | null | undefined): number | undefined {
    return timestampMs(value, this.assumptions.timestampZone)
  }

  #place(operation: Operation, path: string): CallPlace {
    return { operation, url: this.#connection.baseUrl + path }
  }

  async #inSession(
    place: CallPlace,
    request: WireRequest,
    other: Secret | undefined,
    limit: CallLimit,
  ): Promise<WireAnswer> {
    if (!place.operation.session || other) return this.#deliver(place, request, other?.reveal(), limit)
    const token = await this.#session.token()
    const answer = await this.#deliver(place, request, token, limit)
    if (!this.#expired(place, answer)) return answer
    this.#session.drop(token)
    const fresh = await this.#session.token()
    const second = await this.#deliver(place, request, fresh, limit)
    if (this.#expired(place, second)) this.#session.drop(fresh)
    return second
  }

  #expired({ operation }: CallPlace, { httpStatus, value }: WireAnswer): boolean {
    const code = codeOf(operation, value, this.assumptions)
    return (
      this.assumptions.expiredTokenHttpStatuses.includes(httpStatus) ||
      (code !== undefined && this.assumptions.expiredTokenCodes.includes(code))
    )
  }

  /** Sends, and repeats what may be repeated. */
  async #deliver(
    place: CallPlace,
    request: WireRequest,
    token: string | undefined,
    limit: CallLimit,
  ): Promise<WireAnswer> {
    const attempts = place.operation.idempotent ? this.#retries + 1 : 1
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#observed(place, attempt, async () => {
          const answer = await this.#connection.exchange(place, request, token, limit)
          if (answer.httpStatus < 500) return answer
          throw httpError(place, answer.httpStatus, messageIn(answer.value))
        })
      } catch (error) {
        if (limit.over || attempt === attempts || !isAtpError(error) || !error.retryable) throw error
        await limit.pause(FIRST_RETRY_MS * 2 ** (attempt - 1))
      }
    }
  }

  async #observed(place: CallPlace, attempt: number, send: () => Promise<WireAnswer>): Promise<WireAnswer> {
    if (!this.#observe) return send()
    const startedMs = performance.now()
    const { operation, url } = place
    const seen = { operation: operation.name, method: operation.method, url, attempt }
    try {
      const answer = await send()
      const code = codeOf(operation, answer.value, this.assumptions)
      this.#observe({ ...seen, durationMs: performance.now() - startedMs, httpStatus: answer.httpStatus, code })
      return answer
    } catch (error) {
      const [code, httpStatus] = isAtpError(error)
        ? [error.code, error.context['httpStatus'] as number | undefined]
        : ['ATP_INTERRUPTED', undefined]
      this.#observe({ ...seen, durationMs: performance.now() - startedMs, httpStatus, error: code })
      throw error
    }
  }

  /** What a successful answer carries. */
  #read(place: CallPlace, answer: WireAnswer): unknown {
    const { httpStatus, value } = answer
    if (httpStatus >= 200 && httpStatus < 300) return unwrap(place, answer, this.#validation, this.assumptions)
    const code = codeOf(place.operation, value, this.assumptions)
    const message = messageIn(value)
    if (code !== undefined && code !== 0 && message !== undefined) throw refusedError(place, code, message, httpStatus)
    throw httpError(place, httpStatus, message)
  }

  /** One login, in its own time: whoever waits for it may give up without ending it for the others. */
  async #logIn(): Promise<string> {
    const { username, password } = this.#credentials
    const body = { username, password: passwordHash(password), client: this.assumptions.loginClient }
    const place = this.#place(login, login.path)
    const request = { path: login.path, body: JSON.stringify(body) }
    const { token } = await this.#bounded(login, { signal: this.#closing.signal }, async (limit) => {
      const answer = await this.#deliver(place, request, undefined, limit)
      return this.#read(place, answer) as { token: string }
    })
    addRedaction(token)
    if (!/^[\x21-\x7e]+$/.test(token)) throw answerError(place, 'a token that no header can carry')
    return token
  }

  async #bounded<T>(
    { name }: Operation,
    { signal, timeoutMs = this.#timeoutMs }: CallOptions = {},
    work: (limit: CallLimit) => Promise<T>,
  ): Promise<T> {
    const limit = new CallLimit({ signal, timeoutMs })
    try {
      return await limit.race(work)
    } catch (error) {
      if (this.#closing.signal.aborted && name !== logout.name) throw closedError(name)
      if (limit.over === 'abort') throw interrupted(name, signal)
      if (limit.over === undefined) throw error
      throw timeoutError('ATP_VDI_TIMEOUT', `${name} was not answered within ${timeoutMs} ms`, {
        context: { operation: name, url: this.#connection.baseUrl, timeoutMs },
        retryable: true,
        remedy: 'raise timeoutMs, or look at what keeps the platform',
      })
    } finally {
      limit.release()
    }
  }
}

/** @throws `ATP_VDI_REQUEST` for a part of a request that is not what the operation takes */
function checkRequest(operation: Operation, { json }: Schema<unknown>, value: unknown, part: 'query' | 'body'): void {
  const wrong = check(json, value, 'strict')
  if (!wrong) return
  const what = `${part}: ${wrong.path}: expected ${wrong.expected}, found ${wrong.found}`
  throw requestError(operation, what, { ...wrong })
}
