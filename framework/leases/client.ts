import type { Socket } from 'node:net'
import {
  connectError,
  interrupted,
  isAtpError,
  messageOf,
  protocolError,
  sleep,
  stateError,
  withDeadline,
  type AtpError,
  type CallOptions,
  packageVersion,
} from '../core/index.ts'
import type { HostDescription, LastWill, Lease, LeaseRequest } from './api.ts'
import {
  BROKER_PROTOCOL,
  encodeLine,
  fromWireError,
  LineDecoder,
  toWireError,
  type Call,
  type ClientKind,
  type LeaseNotice,
} from './codec.ts'
import { configJsonOf, reach, servesOf, type BrokerStart } from './launch.ts'
import type { Welcome } from './server.ts'
import { statePaths } from './state-dir.ts'
import type { BrokerStatus } from './status.ts'
import type { SweepResult } from './sweep.ts'

export interface ConnectOptions extends CallOptions {
  stateDir: string
  /** Id of the run this process works for; all processes of a run name the same. */
  run: string
  kind: ClientKind
  /** How to start a broker when none runs. Without it there must be one. */
  start?: BrokerStart
}

interface PendingCall {
  resolve: (value: unknown) => void
  reject: (error: Error) => void
}

const CONNECT_TIMEOUT_MS = 120_000
const ANSWER_TIMEOUT_MS = 30_000
/** The broker answers late leases itself and knows why; this is for a broker that does not. */
const LEASE_GRACE_MS = 5_000
const RECONNECT_PAUSE_MS = 50

/**
 * A process' connection to the lease broker. What it leases is taken away when the connection ends, for whatever
 * reason; if a `run` client's ends without {@link end}, everything of the whole run is.
 */
export class BrokerClient {
  readonly #socket: Socket
  readonly #calls = new Map<number, PendingCall>()
  readonly #decoder = new LineDecoder()
  readonly #noticeHandlers = new Set<(notice: LeaseNotice) => void>()
  readonly #closeHandlers = new Set<(error: Error) => void>()
  #subscribed: Promise<unknown> | undefined
  #lastCall = 0
  #closed: Error | undefined
  #welcome: Welcome | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of this.#decoder.push(chunk)) this.#take(message)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', (error) => this.#lost(error))
    socket.on('close', () => this.#lost())
  }

  /**
   * Connects; starts the broker if there is none, and waits until its hosts are ready. Two clients that do so at the
   * same time get the same broker.
   *
   * @throws `ATP_BROKER_ABSENT`, `ATP_BROKER_START`, `ATP_BROKER_STATE_DIR`, `ATP_BROKER_VERSION` (one of another
   * version or configuration is in use), `ATP_INTERRUPTED`, `ATP_TIMEOUT` after `timeoutMs` (default 120000), and what
   * the provider throws while its hosts start.
   */
  static async connect({
    stateDir,
    run,
    kind,
    start,
    signal,
    timeoutMs = CONNECT_TIMEOUT_MS,
  }: ConnectOptions): Promise<BrokerClient> {
    const paths = statePaths(stateDir)
    const hello: Call = {
      verb: 'hello',
      protocol: BROKER_PROTOCOL,
      version: packageVersion(),
      run,
      kind,
      pid: process.pid,
      // Who needs no VMs made is served by any broker.
      ...(start?.provider !== undefined && { serves: servesOf(start.provider, configJsonOf(start)) }),
    }
    return withDeadline(`connecting to the lease broker of "${paths.dir}"`, { signal, timeoutMs }, async (bound) => {
      for (;;) {
        const client = new BrokerClient(await reach(paths, start, { signal: bound }))
        try {
          client.#welcome = (await client.#call(hello, { signal: bound })) as Welcome
          return client
        } catch (error) {
          client.close()
          // It was just ending, or ends now so that this client can start the one it wants.
          const again =
            isAtpError(error, 'ATP_BROKER_LOST') ||
            (start && isAtpError(error, 'ATP_BROKER_VERSION') && error.retryable)
          if (!again || bound.aborted) throw error
        }
        await sleep(RECONNECT_PAUSE_MS, bound)
      }
    })
  }

  /** The broker's process id. */
  get pid(): number {
    return (this.#welcome as Welcome).pid
  }
  /** The provider's hosts. */
  get hosts(): HostDescription[] {
    return (this.#welcome as Welcome).hosts
  }
  get closed(): boolean {
    return this.#closed !== undefined
  }

  /**
   * Waits for VMs and locks. Without `timeoutMs` it waits as long as it takes.
   *
   * @throws `ATP_LEASE_REQUEST`, `ATP_LEASE_IMPOSSIBLE` at once, `ATP_LEASE_TIMEOUT` with what it waited for,
   * `ATP_LEASE_CREATE` when a VM could not be made (tried on two hosts), `ATP_LEASE_REVOKED`, `ATP_LEASE_RUN_OVER`,
   * `ATP_BROKER_LOST`, `ATP_BROKER_CLOSING`, `ATP_INTERRUPTED`. Nothing is held after a rejection.
   */
  async lease(request: LeaseRequest, { signal, timeoutMs }: CallOptions = {}): Promise<Lease> {
    const bounds = { signal, timeoutMs: timeoutMs === undefined ? undefined : timeoutMs + LEASE_GRACE_MS }
    const call: Call = { verb: 'lease', request, ...(timeoutMs === undefined ? {} : { timeoutMs }) }
    return (await this.#call(call, bounds, (id) => this.#call({ verb: 'cancel', call: id }).catch(() => {}))) as Lease
  }

  /**
   * Gives a lease back. Resolves once the broker knows; the VMs are destroyed in the background, see {@link drain}.
   * After {@link close} there is nothing to give back.
   */
  async release(lease: string): Promise<void> {
    if (isAtpError(this.#closed, 'ATP_BROKER_CLOSED')) return
    await this.#call({ verb: 'release', lease })
  }

  /**
   * Has the broker clean something up if this process, or its run, ends without having done so. Make the will before
   * the thing; withdraw it, by the returned function, when the thing is gone.
   */
  async will(will: LastWill): Promise<() => Promise<void>> {
    const id = (await this.#call({ verb: 'will', will })) as number
    return async () => {
      if (!this.#closed) await this.#call({ verb: 'withdraw', will: id })
    }
  }

  /**
   * Asks for a checkpoint of this run, and waits while somebody makes it. `ready`: VMs can be leased from it.
   * Otherwise this caller makes it, and says so with {@link keepCheckpoint} or {@link giveUpCheckpoint}; if it
   * vanishes, the next one does.
   *
   * @throws `ATP_CHECKPOINT_UNSUPPORTED`, `ATP_CHECKPOINT_LIMIT`, `ATP_INTERRUPTED`, `ATP_TIMEOUT`; why it could not
   * be made, if it was tried already.
   */
  async checkpoint(key: string, bounds: CallOptions = {}): Promise<{ ready: true } | { ready: false; claim: number }> {
    let claim = 0
    const call: Call = { verb: 'checkpoint', key }
    const { ready } = (await this.#call(
      call,
      { timeoutMs: undefined, ...bounds },
      (id) => this.giveUpCheckpoint(id).catch(() => {}),
      (id) => (claim = id),
    )) as { ready: boolean }
    return ready ? { ready } : { ready, claim }
  }

  /**
   * Saves the only VM of a lease as the checkpoint of a claim; the VM is gone then. Returns the size in bytes.
   *
   * @throws `ATP_CHECKPOINT_MISSING`, and what the provider throws: the claim is not given up then.
   */
  async keepCheckpoint(claim: number, lease: string, options: CallOptions = {}): Promise<number> {
    return (await this.#call({ verb: 'keep', claim, lease }, { timeoutMs: undefined, ...options })) as number
  }

  /** Ends a claim. With an error all who need the checkpoint are told it; without one, somebody else may try. */
  async giveUpCheckpoint(claim: number, error?: AtpError): Promise<void> {
    await this.#call({ verb: 'give-up', claim, ...(error && { error: toWireError(error) }) })
  }

  /** Says that the run is over in order: closing this connection then takes nothing away from the run's workers. */
  async end(): Promise<void> {
    await this.#call({ verb: 'end' })
  }

  /**
   * Takes away what a run still holds and resolves when none of its VMs exist any more.
   *
   * @returns how many VMs had not been given back: the leaked ones.
   */
  async drain(run: string, options: CallOptions = {}): Promise<number> {
    return (await this.#call({ verb: 'drain', run }, { timeoutMs: undefined, ...options })) as number
  }

  async status(options: CallOptions = {}): Promise<BrokerStatus> {
    return (await this.#call({ verb: 'status' }, { timeoutMs: ANSWER_TIMEOUT_MS, ...options })) as BrokerStatus
  }

  /** Removes VMs nobody answers for. Includes what the broker removed when it started. */
  async sweep(options: CallOptions = {}): Promise<SweepResult> {
    return (await this.#call({ verb: 'sweep' }, { timeoutMs: CONNECT_TIMEOUT_MS, ...options })) as SweepResult
  }

  /**
   * Keeps VMs ready, per profile and host, also beyond this broker's life. Resolves at once; {@link status} tells when
   * they are ready.
   *
   * @throws `ATP_LEASE_STANDBYS`
   */
  async setStandbys(perHost: Record<string, number>): Promise<void> {
    await this.#call({ verb: 'standbys', perHost })
  }
  async stopStandbys(): Promise<void> {
    await this.setStandbys({})
  }

  /**
   * Hears of every lease of this run; without this a client hears of its own, through {@link onNotice}. Returns the
   * function that stops it.
   */
  async subscribe(handler: (notice: LeaseNotice) => void): Promise<() => void> {
    const stop = this.onNotice(handler)
    this.#subscribed ??= this.#call({ verb: 'subscribe' })
    await this.#subscribed
    return stop
  }

  onNotice(handler: (notice: LeaseNotice) => void): () => void {
    this.#noticeHandlers.add(handler)
    return () => this.#noticeHandlers.delete(handler)
  }

  /** Called once, when the connection has ended: `ATP_BROKER_LOST`, or `ATP_BROKER_CLOSED` after {@link close}. */
  onClose(handler: (error: Error) => void): () => void {
    if (this.#closed) handler(this.#closed)
    else this.#closeHandlers.add(handler)
    return () => this.#closeHandlers.delete(handler)
  }

  /** Ends the connection, and with it all leases of this client. Idempotent. */
  close(): void {
    this.#settle(stateError('ATP_BROKER_CLOSED', 'the connection to the lease broker was closed here'))
    this.#socket.destroy()
  }

  async #call(
    call: Call,
    { signal, timeoutMs }: CallOptions = { timeoutMs: ANSWER_TIMEOUT_MS },
    onGivenUp?: (id: number) => unknown,
    onSent?: (id: number) => unknown,
  ): Promise<unknown> {
    const what = `"${call.verb}" at the lease broker`
    if (this.#closed) throw this.#closed
    if (signal?.aborted) throw interrupted(what, signal)
    const id = ++this.#lastCall
    this.#socket.write(encodeLine({ id, ...call }))
    onSent?.(id)
    try {
      return await withDeadline(
        what,
        { signal, timeoutMs },
        () => new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject })),
      )
    } catch (error) {
      // Still pending: it was given up here and may yet be granted there.
      if (this.#calls.delete(id) && !this.#closed) onGivenUp?.(id)
      throw error
    }
  }

  #take(message: Record<string, unknown>): void {
    if ('notice' in message) {
      for (const handler of this.#noticeHandlers) handler(message['notice'] as LeaseNotice)
      return
    }
    const call = this.#calls.get(message['id'] as number)
    if (!call) return
    this.#calls.delete(message['id'] as number)
    if ('error' in message) call.reject(fromWireError(message['error']))
    else if ('ok' in message) call.resolve(message['ok'])
    else call.reject(protocolError('ATP_BROKER_MESSAGE', 'the lease broker gave an answer without a result'))
  }

  #lost(error?: Error): void {
    this.#settle(
      connectError(
        'ATP_BROKER_LOST',
        `the lease broker is gone${error ? `: ${messageOf(error)}` : ''}; the VMs it made are gone or will be removed`,
        {
          cause: error,
          retryable: true,
          remedy: 'start the run again; `atp gc` removes what is left',
        },
      ),
    )
  }

  #settle(error: Error): void {
    if (this.#closed) return
    this.#closed = error
    for (const [id, call] of this.#calls) {
      this.#calls.delete(id)
      call.reject(error)
    }
    for (const handler of this.#closeHandlers) handler(error)
  }
}
