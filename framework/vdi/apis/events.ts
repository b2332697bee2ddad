import type { CallOptions } from '../../core/index.ts'
import type { Caller } from '../caller.ts'
import { type EventVerdict, eventVerdict } from '../event-watch.ts'
import { events, type EventVO } from '../operations/events.ts'
import { allPages } from '../pages.ts'

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

  /** What an event says about its operation; see `eventSuccessValue` of the assumptions. */
  verdict(event: EventVO): EventVerdict {
    return eventVerdict(event, this.#caller.assumptions)
  }
}
