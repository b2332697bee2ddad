import { logger, messageOf, withDeadline, type CallOptions } from '../core/index.ts'
import type { LibvirtClient, Unsubscribe } from '../protocols/libvirt/index.ts'
import { HostView } from './host-view.ts'

/** One kind of event of one domain or all, as it can be subscribed to on any connection. */
export interface EventKind<T> {
  /** The same for all who want the same. */
  readonly key: string
  /** For messages: `lifecycle events of "vm-001"`. */
  readonly what: string
  subscribe(client: LibvirtClient, handler: (event: T) => void): Promise<Unsubscribe>
  /** Sees every event before the handlers do. */
  note?(event: T): void
  /** What happened while nobody was connected; nothing the first time. Called once events arrive on a connection. */
  missed?(view: HostView): Promise<T[]>
}

const DEFAULT_TIMEOUT_MS = 30_000

/**
 * Subscriptions that outlive connections. All handlers of one kind share one registration in the daemon, which
 * refuses a second one on the same connection.
 */
export class Subscriptions {
  readonly #control: (bounds: CallOptions) => Promise<LibvirtClient>
  readonly #registrations = new Map<string, Registration<never>>()

  /** @param control gives the connection that events come on, and waits for it while there is none. */
  constructor(control: (bounds: CallOptions) => Promise<LibvirtClient>) {
    this.#control = control
  }

  /** Registrations wanted of the daemon. */
  get registrations(): number {
    return this.#registrations.size
  }

  get handlers(): number {
    let count = 0
    for (const { handlers } of this.#registrations.values()) count += handlers
    return count
  }

  /**
   * Resolves when the daemon knows, to the function that ends it. A connection that is lost meanwhile is waited for.
   * Handlers run in the connection's reader: they must be short. One that throws harms nobody.
   *
   * @throws what `control` throws, `ATP_TIMEOUT`, and the daemon's refusal.
   */
  async add<T>(kind: EventKind<T>, handler: (event: T) => void, options: CallOptions = {}): Promise<Unsubscribe> {
    const registration = this.#registration(kind)
    // An object of its own for each caller, so that the same function may be given twice.
    const own = { handle: handler }
    registration.attach(own)
    const end = () => registration.detach(own, () => this.#forget(kind.key, registration))
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options
    const endMs = performance.now() + timeoutMs
    const bounds = () => ({ signal, timeoutMs: Math.max(1, Math.ceil(endMs - performance.now())) })
    try {
      for (;;) {
        const client = await this.#control(bounds())
        try {
          await withDeadline(`subscribing to ${kind.what}`, bounds(), () => registration.establish(client))
          return end
        } catch (error) {
          if (!client.ended || signal?.aborted || performance.now() >= endMs) throw error
        }
      }
    } catch (error) {
      end().catch((also: unknown) => logger('hosts').debug(`unsubscribing from ${kind.what}: ${messageOf(also)}`))
      throw error
    }
  }

  /** Registers everything on a new connection; then tells what was missed in between. */
  async restore(client: LibvirtClient): Promise<void> {
    const wanted = [...this.#registrations.values()]
    await Promise.all(wanted.map((registration) => registration.register(client)))
    const view = new HostView(client)
    await Promise.all(wanted.map((registration) => registration.catchUp(view)))
  }

  /** Ends all deliveries. The daemon is told by the end of its connection. */
  close(): void {
    for (const registration of this.#registrations.values()) registration.silence()
    this.#registrations.clear()
  }

  #registration<T>(kind: EventKind<T>): Registration<T> {
    let registration = this.#registrations.get(kind.key) as Registration<T> | undefined
    if (!registration) {
      registration = new Registration(kind)
      this.#registrations.set(kind.key, registration as unknown as Registration<never>)
    }
    return registration
  }

  #forget(key: string, registration: unknown): void {
    if (this.#registrations.get(key) === registration) this.#registrations.delete(key)
  }
}

/** What one registration in the daemon stands for, on whichever connection it is at the moment. */
class Registration<T> {
  readonly #kind: EventKind<T>
  readonly #handlers = new Set<{ handle: (event: T) => void }>()
  #active: { client: LibvirtClient; unsubscribe: Unsubscribe } | undefined
  /** Registering and its undoing take turns: the daemon must not be asked for both at once. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(kind: EventKind<T>) {
    this.#kind = kind
  }

  get handlers(): number {
    return this.#handlers.size
  }

  attach(handler: { handle: (event: T) => void }): void {
    this.#handlers.add(handler)
  }

  /** No event is delivered from here on. The last one ends the registration. */
  async detach(handler: { handle: (event: T) => void }, onUnused: () => void): Promise<void> {
    if (!this.#handlers.delete(handler) || this.#handlers.size > 0) return
    await this.#inTurn(async () => {
      if (this.#handlers.size > 0) return
      const active = this.#active
      this.#active = undefined
      try {
        // Registrations end with their connection.
        if (active && !active.client.ended) await active.unsubscribe()
      } finally {
        if (this.#handlers.size === 0) onUnused()
      }
    })
  }

  silence(): void {
    this.#handlers.clear()
  }

  /** Registered, and the state of things known, when this resolves. */
  establish(client: LibvirtClient): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#active?.client === client) return
      await this.#register(client)
      await this.#catchUp(new HostView(client))
    })
  }

  register(client: LibvirtClient): Promise<void> {
    return this.#inTurn(() => this.#register(client))
  }

  catchUp(view: HostView): Promise<void> {
    return this.#inTurn(() => this.#catchUp(view))
  }

  async #catchUp(view: HostView): Promise<void> {
    for (const event of (await this.#kind.missed?.(view)) ?? []) this.#deliver(event)
  }

  async #register(client: LibvirtClient): Promise<void> {
    if (this.#active?.client === client || this.#handlers.size === 0) return
    this.#active = undefined
    const unsubscribe = await this.#kind.subscribe(client, (event) => {
      this.#kind.note?.(event)
      this.#deliver(event)
    })
    this.#active = { client, unsubscribe }
  }

  #deliver(event: T): void {
    for (const { handle } of this.#handlers) {
      try {
        handle(event)
      } catch (error) {
        logger('hosts').error('a handler of {what} threw: {reason}', {
          what: this.#kind.what,
          reason: messageOf(error),
        })
      }
    }
  }

  #inTurn<R>(work: () => Promise<R>): Promise<R> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }
}
