import { configError, remoteError } from '../core/index.ts'
import type { Caller } from './caller.ts'
import { EventWatch } from './event-watch.ts'
import { deskPools } from './operations/desk-pools.ts'
import { domains, type DomainVO } from './operations/domains.ts'
import type { VmFailure } from './outcome.ts'
import { type VmState, vmStatus, vmStatusText } from './statuses.ts'
import { STEADY_GROWTH, until, type WaitOptions } from './until.ts'

const TIMEOUT_MS = 120_000
/** Rounds in which a VM may have left busy for another status before its event tells why. */
const UNTOLD_ROUNDS = 3
/** How often events are asked for while all VMs of a pool are busy: each event is a call of its own. */
const EVENTS_EVERY_MS = 2000

/** Waits until something holds for all VMs: see `DomainsApi.waitUntil`. */
export async function waitUntil(
  caller: Caller,
  ids: readonly string[],
  how: string,
  holds: (vm: DomainVO) => boolean,
  { timeoutMs = TIMEOUT_MS, ...bounds }: WaitOptions = {},
): Promise<DomainVO[]> {
  if (ids.length === 0) throw configError('ATP_VDI_REQUEST', 'a wait for no VM')
  let others: DomainVO[] = []
  const what = `VM${ids.length === 1 ? '' : 's'} ${ids.join(', ')} to be ${how}`
  const seen = () =>
    `not so ${others.length === 1 ? 'is' : 'are'} ${others.map(({ name }) => name).join(', ') || 'all'}`
  return until(caller, what, { ...bounds, timeoutMs }, seen, async (signal) => {
    const vms = await Promise.all(ids.map((id) => caller.call(domains.get, { path: { id } }, { signal })))
    others = vms.filter((vm) => !holds(vm))
    return others.length === 0 ? vms : undefined
  })
}

/** Waits until none of the VMs is listed: see `DomainsApi.waitUntilGone`. */
export async function waitUntilGone(
  caller: Caller,
  ids: readonly string[],
  list: (signal: AbortSignal) => Promise<DomainVO[]>,
  { timeoutMs = TIMEOUT_MS, ...bounds }: WaitOptions = {},
): Promise<void> {
  let left: DomainVO[] = []
  const seen = () => `${left.map(({ name }) => name).join(', ') || 'nobody knows what'} is left`
  await until(caller, `VMs ${ids.join(', ')} to be gone`, { ...bounds, timeoutMs }, seen, async (signal) => {
    left = (await list(signal)).filter(({ id }) => ids.includes(id))
    return left.length === 0 || undefined
  })
}

/** How to wait for VMs. */
export interface WaitForStatusOptions extends WaitOptions {
  /** Milliseconds until the wait gives up. Default 120000. */
  timeoutMs?: number
  /** Events of the operation, which give reasons of failures. */
  events?: readonly string[]
  /**
   * A VM counts only after it was seen busy, or its event has a verdict: for operations that end in the status they
   * begin in, such as a reboot. Default false.
   */
  afterChange?: boolean
  /** Desk pool that all the VMs are of: one call then asks for all of them. */
  poolId?: string
}

/**
 * Waits until all VMs have a status, by asking for the VMs themselves.
 *
 * @returns the VMs, in the order of `ids`
 * @throws `ATP_VDI_STATE` with the platform's reason as soon as an event tells of a failure, or a VM leaves busy for
 * another status; `ATP_VDI_TIMEOUT` with what each VM is; `ATP_VDI_REQUEST` without any VM
 */
export async function waitForStatus(
  caller: Caller,
  ids: readonly string[],
  state: VmState | number,
  { events = [], afterChange = false, poolId, timeoutMs = TIMEOUT_MS, ...bounds }: WaitForStatusOptions = {},
): Promise<DomainVO[]> {
  // An empty pool is not one whose desktops all run.
  if (ids.length === 0) throw configError('ATP_VDI_REQUEST', 'a wait for the status of no VM')
  const { assumptions } = caller
  const wanted = typeof state === 'number' ? state : vmStatus(state, assumptions)
  const text = (status: number) => vmStatusText(status, assumptions)
  const watch = new EventWatch(caller, events)
  const last = new Map<string, DomainVO>()
  const wasBusy = new Set<string>()
  const untoldRounds = new Map<string, number>()
  const pending = new Set(ids)
  const nameOf = (id: string) => last.get(id)?.name ?? id
  const what = `${pending.size === 1 ? 'VM' : 'VMs'} ${[...pending].join(', ')} to be ${text(wanted)}`

  const failureOf = (id: string): VmFailure | undefined => {
    const { status } = last.get(id) as DomainVO
    const [failed] = watch.with('failed', id)
    if (failed) return failure(id, `${failed.errorReason}`)
    if (status === wanted || assumptions.busyStatuses.includes(status)) return undefined
    if (wasBusy.has(id)) {
      const rounds = (untoldRounds.get(id) ?? 0) + 1
      untoldRounds.set(id, rounds)
      if (events.length > 0 && !watch.finished(id) && rounds < UNTOLD_ROUNDS) return undefined
      return failure(id, `it is ${text(status)} after it was busy`)
    }
    return watch.with('denied', id).length > 0
      ? failure(id, `its event says that it failed, without a reason; it is ${text(status)}`)
      : undefined
  }
  const failure = (domainId: string, reason: string): VmFailure => ({ domainId, domainName: nameOf(domainId), reason })

  let eventsAtMs = performance.now()
  const round = async (signal: AbortSignal): Promise<true | undefined> => {
    const allBusy = [...pending].every((id) => assumptions.busyStatuses.includes(last.get(id)?.status as number))
    if (poolId === undefined || !allBusy || performance.now() - eventsAtMs >= EVENTS_EVERY_MS) {
      await watch.refresh({ signal })
      eventsAtMs = performance.now()
    }
    const read = poolId === undefined ? [] : await caller.call(deskPools.domains, { path: { id: poolId } }, { signal })
    for (const vm of read) last.set(vm.id, vm)
    const unread = [...pending].filter((id) => !read.some((vm) => vm.id === id))
    await Promise.all(
      unread.map(async (id) => void last.set(id, await caller.call(domains.get, { path: { id } }, { signal }))),
    )
    const failed = [...pending].flatMap((id) => failureOf(id) ?? [])
    // Failures of events that name no VM are nobody's, hence everybody's.
    for (const { domainId, errorReason } of watch.with('failed'))
      if (!domainId || !last.has(domainId)) failed.push({ domainId: domainId ?? undefined, reason: `${errorReason}` })
    if (failed.length > 0) {
      const list = failed.map(
        ({ domainName, domainId, reason }) => `  ${domainName ?? domainId ?? 'an event'}: ${reason}`,
      )
      throw remoteError('ATP_VDI_STATE', `waited for ${what}, but\n${list.join('\n')}`, { context: { failed, wanted } })
    }
    for (const id of pending) {
      const { status } = last.get(id) as DomainVO
      if (assumptions.busyStatuses.includes(status)) wasBusy.add(id)
      else if (status === wanted && (!afterChange || wasBusy.has(id) || watch.finished(id))) pending.delete(id)
    }
    return pending.size === 0 ? true : undefined
  }
  const seen = () =>
    [...pending].map((id) => `${nameOf(id)} is ${last.has(id) ? text((last.get(id) as DomainVO).status) : 'unseen'}`)

  const growth = poolId === undefined ? undefined : STEADY_GROWTH
  await until(caller, what, { ...bounds, timeoutMs }, () => seen().join(', '), round, growth)
  return ids.map((id) => last.get(id) as DomainVO)
}
