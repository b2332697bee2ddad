import { type CallOptions, isAtpError } from '../core/index.ts'
import type { VdiAssumptions } from './assumptions.ts'
import type { Caller } from './caller.ts'
import { type EventVO, events as operations } from './operations/events.ts'

/**
 * What an event says. Its `isSuccess` is written both ways in the platform's documents, so `denied`, a failure
 * without a reason, counts only where the resource is not as expected either.
 */
export type EventVerdict = 'unfinished' | 'succeeded' | 'denied' | 'failed'

/** Reads an event. */
export function eventVerdict(
  { errorReason, isSuccess }: Pick<EventVO, 'errorReason' | 'isSuccess'>,
  { eventSuccessValue }: Pick<VdiAssumptions, 'eventSuccessValue'>,
): EventVerdict {
  if (errorReason) return 'failed'
  if (isSuccess === undefined || isSuccess === null) return 'unfinished'
  return isSuccess === eventSuccessValue ? 'succeeded' : 'denied'
}

/** Follows events until each has a verdict. */
export class EventWatch {
  readonly #caller: Caller
  readonly #known: Map<string, { verdict: EventVerdict; event?: EventVO }>

  constructor(caller: Caller, eventIds: readonly string[]) {
    this.#caller = caller
    this.#known = new Map(eventIds.map((id) => [id, { verdict: 'unfinished' }]))
  }

  /** Asks for the events that had no verdict yet. */
  async refresh(bounds: CallOptions): Promise<void> {
    const open = [...this.#known].filter(([, { verdict }]) => verdict === 'unfinished')
    await Promise.all(
      open.map(async ([id]) => {
        const event = await this.#read(id, bounds)
        if (event) this.#known.set(id, { verdict: eventVerdict(event, this.#caller.assumptions), event })
      }),
    )
  }

  /** Events with this verdict, of one VM or of all. */
  with(verdict: EventVerdict, domainId?: string): EventVO[] {
    return [...this.#known.values()].flatMap((one) =>
      one.verdict === verdict && one.event && (domainId === undefined || one.event.domainId === domainId)
        ? [one.event]
        : [],
    )
  }

  /** Whether every event of the VM, or of all, has a verdict; false without any event. */
  finished(domainId?: string): boolean {
    const own = [...this.#known.values()].filter(({ event }) => domainId === undefined || event?.domainId === domainId)
    return own.length > 0 && own.every(({ verdict }) => verdict !== 'unfinished')
  }

  async #read(id: string, bounds: CallOptions): Promise<EventVO | undefined> {
    try {
      return await this.#caller.call(operations.get, { path: { id } }, bounds)
    } catch (error) {
      const { missingEventIsUnfinished, expiredTokenCodes } = this.#caller.assumptions
      if (!missingEventIsUnfinished || !isAtpError(error, 'ATP_VDI_REFUSED')) throw error
      // Who may not ask does not learn whether there is an event; nor does one whose login is refused.
      const { code, operation } = error.context
      if (operation !== operations.get.name || expiredTokenCodes.includes(code as number)) throw error
      return undefined
    }
  }
}
