import type { CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { InputObserver } from '../input/api.ts'
import { GuestClock, startEvdevObserver, type EvdevObserver } from '../verify/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { LazySession } from './lazy-session.ts'
import type { Sessions } from './sessions.ts'

/** What is observed together: devices that share channels. */
type Kind = 'keyboard' | 'pointer'

/**
 * Observers of the guest's input devices, started by the first input that wants to be verified. They and the
 * guest's clock are valid for one life of the guest.
 */
export class Observation {
  readonly #sessions: Sessions
  readonly #observers = new Map<Kind, { device: InputPathName['device']; observer: LazySession<EvdevObserver> }>()
  #clock: GuestClock | undefined

  constructor(sessions: Sessions) {
    this.#sessions = sessions
  }

  /** @throws the reason why this guest cannot be observed. */
  async observe(kind: Kind, { device }: InputPathName, options: CallOptions): Promise<InputObserver> {
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
    const results = await Promise.allSettled(observers.map((observer) => observer.drop(undefined)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** The guest is gone or starts anew: only our own ends are closed. Input under way becomes unverified. */
  abandon(reason: Error): void {
    for (const observer of this.#forget()) void observer.drop(reason)
  }

  #forget(): LazySession<EvdevObserver>[] {
    const observers = [...this.#observers.values()].map(({ observer }) => observer)
    this.#observers.clear()
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
