import { isAtpError, logger, messageOf, type AtpError, type CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { InputObserver, ObserverChoice } from '../input/api.ts'
import { GuestClock, startEvdevObserver, type EvdevObserver } from '../verify/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { LazySession } from './lazy-session.ts'
import type { Sessions } from './sessions.ts'
import type { VerifierAgents } from './verifier-agents.ts'

/** What is observed together: devices that share channels. */
type Kind = 'keyboard' | 'pointer'

const AGENT_DEVICES = { keyboard: 'keyboard', pointer: 'mouse' } as const
/** How long `auto` waits for an agent where the guest's evdev cannot be had. */
const AUTO_AGENT_MS = 3000
/** What shows that a guest's evdev cannot be streamed, now and later. */
const NO_EVDEV: readonly string[] = ['ATP_VERIFY_NO_CHANNEL', 'ATP_VERIFY_NO_DEVICE', 'ATP_VERIFY_GUEST']

/**
 * Observers of the guest's input devices, started by the first input that wants to be verified. They and the
 * guest's clock are valid for one life of the guest.
 */
export class Observation {
  readonly #sessions: Sessions
  readonly #observers = new Map<Kind, { device: InputPathName['device']; observer: LazySession<EvdevObserver> }>()
  readonly #agents: VerifierAgents
  /** What `auto` has found out of this life of the guest: its agent observes, or why nobody does. */
  readonly #auto = new Map<string, 'agent' | AtpError>()
  #clock: GuestClock | undefined

  constructor(sessions: Sessions, agents: VerifierAgents) {
    this.#sessions = sessions
    this.#agents = agents
  }

  /** @throws the reason why this guest cannot be observed, or not as it was asked for. */
  async observe(
    kind: Kind,
    path: InputPathName,
    { observe = 'auto', ...options }: CallOptions & { observe?: ObserverChoice },
  ): Promise<InputObserver> {
    const device = AGENT_DEVICES[kind]
    if (observe === 'agent') return this.#agents.observer('kernel', device, options)
    if (observe === 'browser') return this.#agents.observer('browser', device, options)
    return observe === 'evdev' ? this.#evdev(kind, path, options) : this.#whatIsPossible(kind, path, options)
  }

  /** The guest's evdev; only where that is not possible, now and later, an agent of its kernel. */
  async #whatIsPossible(kind: Kind, path: InputPathName, options: CallOptions): Promise<InputObserver> {
    const key = `${kind} ${path.device}`
    const known = this.#auto.get(key)
    if (isAtpError(known)) throw known
    if (known) return this.#agents.observer('kernel', AGENT_DEVICES[kind], options)
    try {
      return await this.#evdev(kind, path, options)
    } catch (error) {
      if (!isAtpError(error) || !NO_EVDEV.includes(error.code)) throw error
      this.#auto.set(key, await this.#agentInstead(kind, error, options))
      return this.#whatIsPossible(kind, path, options)
    }
  }

  async #agentInstead(kind: Kind, why: AtpError, options: CallOptions): Promise<'agent' | AtpError> {
    try {
      await this.#agents.observer('kernel', AGENT_DEVICES[kind], { timeoutMs: AUTO_AGENT_MS, ...options })
      return 'agent'
    } catch (error) {
      if (options.signal?.aborted) throw error
      logger('desktop').debug('no agent observes instead: {reason}', { reason: messageOf(error) })
      return why
    }
  }

  async #evdev(kind: Kind, { device }: InputPathName, options: CallOptions): Promise<InputObserver> {
    const known = this.#observers.get(kind)
    if (known && (kind === 'pointer' || known.device === device)) return known.observer.get(options)
    // Keyboards share one channel: the observer of one must have let go of it before that of another starts.
    const observer = this.#lazy(kind, device)
    this.#observers.set(kind, { device, observer })
    await known?.observer.drop(undefined)
    return observer.get(options)
  }

  /** Stops every observer, in the guest too. */
  async stop(): Promise<void> {
    const observers = this.#forget()
    const results = await Promise.allSettled([
      ...observers.map((observer) => observer.drop(undefined)),
      this.#agents.close(),
    ])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** The guest is gone or starts anew: only our own ends are closed. Input under way becomes unverified. */
  abandon(reason: Error): void {
    for (const observer of this.#forget()) void observer.drop(reason)
    void this.#agents.close(reason)
  }

  #forget(): LazySession<EvdevObserver>[] {
    const observers = [...this.#observers.values()].map(({ observer }) => observer)
    this.#observers.clear()
    this.#auto.clear()
    this.#clock?.close()
    this.#clock = undefined
    return observers
  }

  #lazy(what: Kind, device: InputPathName['device']): LazySession<EvdevObserver> {
    const { target } = this.#sessions
    const streams: ByteStream[] = []
    return new LazySession({
      what: `the observer of the ${what} of ${target.name}`,
      open: async () => {
        streams.length = 0
        const channels = (await this.#sessions.ports()).map(({ name }) => name)
        const guest = {
          shell: async (line: string, bounds?: CallOptions) => (await this.#sessions.qga(bounds)).shell(line, bounds),
          openChannel: async (name: string, bounds?: CallOptions) => {
            const stream = await target.openChannel(name, bounds)
            streams.push(stream)
            return stream
          },
          clock: this.#guestClock(),
        }
        return startEvdevObserver(guest, { what, device, channels })
      },
      // With a reason the guest is gone, and with it the programs that `close` would stop.
      close: (observer, reason) => {
        if (!(reason instanceof Error)) return observer.close()
        for (const stream of streams) stream.destroy(reason)
      },
      alive: (observer) => observer.closed === undefined,
    })
  }

  #guestClock(): GuestClock {
    this.#clock ??= new GuestClock(async (options) => (await this.#sessions.qga(options)).getTime(options))
    return this.#clock
  }
}
