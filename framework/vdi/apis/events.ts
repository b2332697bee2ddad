import { type CallOptions, remoteError } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { type EventVerdict, eventVerdict, EventWatch } from '../event-watch.ts'
import { events, type EventVO } from '../operations/events.ts'
import { allPages } from '../pages.ts'
import { until, type WaitOptions } from '../until.ts'

const TIMEOUT_MS = 120_000

/** Events: what became of operations. */
export class EventsApi {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Events, page by page as they are needed. */
  list(
    filter: { domainName?: string; ip?: string; operateType?: string } = {},
    options?: CallOptions,
  ): AsyncGenerator<EventVO, void, undefined> {
    return allPages(this.#caller.assumptions.pageRows, (page) =>
      this.#caller.call(events.list, { query: { ...filter, ...page } }, options),
    )
  }

  /** One event. */
  get(id: string, options?: CallOptions): Promise<EventVO> {
    return this.#caller.call(events.get, { path: { id } }, options)
  }

  /**
   * Waits until an event has a verdict. Its word alone is a weak one (see `eventSuccessValue`): where there is a thing
   * to ask for, wait for that.
   *
   * @param what what is waited for, for errors: `snapshot a to be taken`
   * @throws `ATP_VDI_STATE` with the platform's reason, `ATP_VDI_TIMEOUT`
   */
  async waitFor(
    id: string,
    what: string = `event ${id} to succeed`,
    { timeoutMs = TIMEOUT_MS, ...bounds }: WaitOptions = {},
  ): Promise<void> {
    const watch = new EventWatch(this.#caller, [id])
    await until(
      this.#caller,
      what,
      { ...bounds, timeoutMs },
      () => `event ${id} is unfinished`,
      async (signal) => {
        await watch.refresh({ signal })
        return watch.finished() || undefined
      },
    )
    const [failed] = [...watch.with('failed'), ...watch.with('denied')]
    if (!failed) return
    const reason = failed.errorReason || 'its event says that it failed, without a reason'
    throw remoteError('ATP_VDI_STATE', `waited for ${what}, but ${reason}`, { context: { events: [id] } })
  }

  /** What an event says about its operation; see `eventSuccessValue` of the assumptions. */
  verdict(event: EventVO): EventVerdict {
    return eventVerdict(event, this.#caller.assumptions)
  }
}
