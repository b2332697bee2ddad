import { remoteError } from '../core/index.ts'
import type { Caller } from './caller.ts'
import { EventWatch } from './event-watch.ts'
import { deskPools, type DesktopPoolVO } from './operations/desk-pools.ts'
import type { DomainVO } from './operations/domains.ts'
import { POOL_STATUS, vmStatusText } from './statuses.ts'
import { STEADY_GROWTH, until, type WaitOptions } from './until.ts'

const PER_DESKTOP_MS = 60_000
/** Rounds in which a pool may be short although its event is over: the two need not be written at once. */
const SHORT_ROUNDS = 3

/** How to wait for a desk pool. */
export interface WaitForPoolOptions extends WaitOptions {
  /** Milliseconds until the wait gives up. Default 60000 for each desktop. */
  timeoutMs?: number
  /** Events of the operation, which give reasons of failures. */
  events?: readonly string[]
}

/** A pool whose desktops exist. */
export interface ReadyPool {
  pool: DesktopPoolVO
  domains: DomainVO[]
}

/** Finds a pool as it is now; undefined as long as there is none. */
export type FindPool = (signal: AbortSignal) => Promise<DesktopPoolVO | undefined>

/**
 * Waits until a pool has exactly `amount` desktops and none of them is busy.
 *
 * @param name the pool, for errors
 * @throws `ATP_VDI_STATE` with the platform's reason when an event tells of a failure, or when the events are over
 * and the pool has another number of desktops; `ATP_VDI_TIMEOUT` with what there is
 */
export async function waitForPool(
  caller: Caller,
  name: string,
  find: FindPool,
  amount: number,
  options: WaitForPoolOptions = {},
): Promise<ReadyPool> {
  const { events = [], timeoutMs = PER_DESKTOP_MS * Math.max(1, amount), ...bounds } = options
  const watch = new EventWatch(caller, events)
  const what = `desk pool ${name} to have ${amount} desktops`
  let pool: DesktopPoolVO | undefined
  let desktops: DomainVO[] = []
  let shortRounds = 0
  const { busyStatuses } = caller.assumptions

  const round = async (signal: AbortSignal): Promise<ReadyPool | undefined> => {
    await watch.refresh({ signal })
    throwFailure(watch, what)
    pool ??= await find(signal)
    if (!pool) return undefined
    desktops = await caller.call(deskPools.domains, { path: { id: pool.id } }, { signal })
    if (desktops.some(({ status }) => busyStatuses.includes(status))) return undefined
    if (desktops.length === amount) return { pool, domains: desktops }
    if (watch.finished() && ++shortRounds >= SHORT_ROUNDS) {
      throw remoteError('ATP_VDI_STATE', `waited for ${what}, but the platform made ${desktops.length}`, {
        context: { pool: pool.id, amount, delivered: desktops.length },
      })
    }
    return undefined
  }
  const seen = () =>
    pool
      ? `it has ${desktops.length}: ${desktops.map((vm) => `${vm.name} ${vmStatusText(vm.status, caller.assumptions)}`).join(', ')}`
      : 'there is no such pool'
  return until(caller, what, { ...bounds, timeoutMs }, seen, round, STEADY_GROWTH)
}

/**
 * Waits until a pool uses a template, after its template was switched.
 *
 * @throws `ATP_VDI_STATE` with the platform's reason when an event tells of a failure, `ATP_VDI_TIMEOUT`
 */
export async function waitForModel(
  caller: Caller,
  find: FindPool,
  modelId: string,
  { events = [], timeoutMs = PER_DESKTOP_MS, ...bounds }: WaitForPoolOptions = {},
): Promise<DesktopPoolVO> {
  const watch = new EventWatch(caller, events)
  const what = `the desk pool to use template ${modelId}`
  let last: DesktopPoolVO | undefined
  return until(
    caller,
    what,
    { ...bounds, timeoutMs },
    () => (last ? `it uses ${last.curModelId}, status ${last.status}` : 'there is no such pool'),
    async (signal) => {
      await watch.refresh({ signal })
      throwFailure(watch, what)
      last = await find(signal)
      return last?.curModelId === modelId && last.status !== POOL_STATUS.switching ? last : undefined
    },
  )
}

/** @throws `ATP_VDI_STATE` if an event gives a reason of a failure */
export function throwFailure(watch: EventWatch, what: string): void {
  const failed = watch.with('failed')
  if (failed.length === 0) return
  const reasons = failed.map(({ domainName, errorReason }) => `  ${domainName ? `${domainName}: ` : ''}${errorReason}`)
  throw remoteError('ATP_VDI_STATE', `waited for ${what}, but\n${reasons.join('\n')}`, {
    context: { events: failed.map(({ id }) => id), failed: failed.map(({ errorReason }) => errorReason) },
  })
}
