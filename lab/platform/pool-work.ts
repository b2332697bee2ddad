import { messageOf } from '../../framework/core/index.ts'
import type { OpenEvent } from './event-log.ts'
import { likeTemplate } from './operations/domain-changes.ts'
import { refuse, Refusal, STAND_IN_CODE } from './refusal.ts'
import { POOL_STATUS, VM_STATUS, type PoolRow, type VmRow } from './rows.ts'
import type { PlatformState } from './state.ts'

const MOST_NAMES = 10_000

/** Ids of a comma list. */
export function templateIds(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '')
}

function nameOf(state: PlatformState, prefix: string, index: number): string {
  const { vmNames } = state.behaviour
  if (vmNames === 'plain') return `${prefix}${index}`
  return `${prefix}-${vmNames === 'padded' ? String(index).padStart(3, '0') : index}`
}

/** Makes `count` more VMs of a pool. Never rejects: the event tells the outcome, and VMs that were made stay. */
export async function growPool(
  state: PlatformState,
  pool: PoolRow,
  count: number,
  operation: string,
  event: OpenEvent,
): Promise<void> {
  const window = state.clock.wait(state.behaviour.busyMs, state.machines.signal)
  window.catch(() => {})
  try {
    const fewer = state.faults.hit('fewer', operation)
    const failure = state.faults.hit('fail', operation)
    if (failure) throw new Refusal(STAND_IN_CODE.fault, failure.reason)
    const taken = new Set<number>()
    const wanted = Math.max(0, count - (fewer?.count ?? 0))
    const outcomes = await Promise.allSettled(Array.from({ length: wanted }, () => growByOne(state, pool, taken)))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
    await window
    if (fewer?.told === undefined) event.succeed()
    else event.fail(fewer.told)
  } catch (error) {
    event.fail(messageOf(error))
  }
}

/** Takes the next number that is free here and on the host. */
async function growByOne(state: PlatformState, pool: PoolRow, taken: Set<number>): Promise<VmRow> {
  const template = state.template(pool.curModelId ?? '')
  const prefix = pool.domainPrefix ?? pool.name
  for (let index = 1; index <= MOST_NAMES; index += 1) {
    // It may have been deleted while a taken name was found out.
    state.pool(pool.id)
    const name = nameOf(state, prefix, index)
    if (taken.has(index) || state.vms.all().some((row) => row.name === name && row.isModel === 0)) continue
    taken.add(index)
    try {
      const like = { ...likeTemplate(template, name), cloneType: '1' as const, desktopPoolId: pool.id }
      return await state.machines.make(like)
    } catch (error) {
      if (!(error instanceof Refusal && error.status === STAND_IN_CODE.nameTaken)) throw error
    }
  }
  throw refuse('full', `no name is left for a VM "${nameOf(state, prefix, 1)}"`)
}

/** The VMs that go when a pool shrinks: off, of nobody, the newest first. @throws Refusal when there are too few. */
export function shrinkPool(state: PlatformState, pool: PoolRow, count: number): VmRow[] {
  const free = state.poolVms(pool.id).filter((row) => row.status === VM_STATUS.off && row.userId === undefined)
  if (free.length < count) {
    throw refuse('wrongState', `only ${free.length} VMs of desk pool "${pool.name}" are off and without a user`)
  }
  return free.toReversed().slice(0, count)
}

/** Makes the VMs of a pool anew from another template, under their ids and names. Never rejects. */
export async function switchTemplate(
  state: PlatformState,
  pool: PoolRow,
  template: VmRow,
  event: OpenEvent,
): Promise<void> {
  state.pools.change(pool.id, { status: POOL_STATUS.switching })
  try {
    const rows = state.poolVms(pool.id)
    const { profile, memory, cpu, cores, sockets, threads, osType } = template
    const outcomes = await Promise.allSettled(
      rows.map((row) =>
        state.machines.doNow('deskPool.switchModel', row, VM_STATUS.off, async (signal) => {
          for (const snapshot of state.snapshots.all()) {
            if (snapshot.domainId === row.id) state.snapshots.delete(snapshot.id)
          }
          const like = { profile, memory, cpu, cores, sockets, threads, osType, motherId: template.id }
          await state.machines.remake(row, like, { signal })
        }),
      ),
    )
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
    const models = new Set([...templateIds(pool.modelId), template.id])
    state.pools.change(pool.id, { curModelId: template.id, modelId: [...models].join(',') })
    event.succeed()
  } catch (error) {
    event.fail(messageOf(error))
  } finally {
    state.pools.change(pool.id, { status: POOL_STATUS.idle })
  }
}
