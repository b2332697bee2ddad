import { type CallOptions, isAtpError, pollUntil } from '../core/index.ts'
import type { DesktopPoolVO, DomainVO, VdiClient } from '../vdi/index.ts'
import type { PoolRemoval } from './api.ts'
import { timeLeft } from './time-left.ts'
import { powerOff, seeGone, untilGone } from './until-gone.ts'

const TIMEOUT_MS = 60_000
/** How long a platform may take to show what it has accepted. */
const APPEAR_MS = 5000

/**
 * Destroys a pool with its VMs, whatever they do, and sees that they are gone. Does nothing where there is no such
 * pool, so that it may be called again.
 *
 * @returns whether there was something to destroy
 * @throws `ATP_PROVISION_LEFT` when the hypervisors still have a VM, `ATP_PROVISION_TIMEOUT`; the platform's last
 * refusal, and all else its client throws
 */
export async function destroyPool(removal: PoolRemoval): Promise<boolean> {
  const { client, locator, signal, timeoutMs = TIMEOUT_MS } = removal
  const left = timeLeft(timeoutMs, signal)
  const seen = new Map<string, DomainVO>()
  const first = await whenThere(removal.mayAppear, left, (options) => find(client, removal.pool, options))
  if (!first) return false
  const { id, name } = first
  const what = `desk pool ${name}`
  let vms: DomainVO[] = []
  await untilGone({
    what,
    context: { pool: id, name },
    left,
    timeoutMs,
    signal,
    busy: () => vms.some(({ status }) => client.assumptions.busyStatuses.includes(status)),
    async round() {
      const pool = await find(client, { id }, left())
      vms = await vmsOf(client, id, pool !== undefined, seen, left())
      if (!pool && vms.length === 0) return true
      await powerOff(client, vms, left)
      if (pool) await client.deskPools.delete(id, left())
      else await client.domains.delete(idsOf(vms), left())
      return false
    },
  })
  if (locator) await seeGone(what, (bounds) => locator.remaining([...seen.values()], bounds), left())
  return true
}

/** What `look` finds now or, where it may still appear, some seconds later. */
export async function whenThere<T>(
  mayAppear: boolean | undefined,
  left: ReturnType<typeof timeLeft>,
  look: (options: CallOptions) => Promise<T | undefined>,
): Promise<T | undefined> {
  const now = await look(left())
  if (now || !mayAppear) return now
  const bounds = { ...left(), timeoutMs: Math.min(APPEAR_MS, left().timeoutMs) }
  try {
    return await pollUntil('what was asked for to appear', bounds, (signal) => look({ signal }))
  } catch (error) {
    if (isAtpError(error, 'ATP_TIMEOUT') && error.cause === undefined) return undefined
    throw error
  }
}

async function find(
  client: VdiClient,
  pool: PoolRemoval['pool'],
  options: CallOptions,
): Promise<DesktopPoolVO | undefined> {
  if ('name' in pool) return client.deskPools.find(pool.name, options)
  return (await client.deskPools.listAll({}, options)).find(({ id }) => id === pool.id)
}

/** VMs of the pool, also those that a deletion of the pool left. Adds them to `seen`. */
async function vmsOf(
  client: VdiClient,
  poolId: string,
  exists: boolean,
  seen: Map<string, DomainVO>,
  options: CallOptions,
): Promise<DomainVO[]> {
  const vms = exists
    ? await client.deskPools.domains(poolId, options)
    : (await client.domains.listAll({}, options)).filter((vm) => vm.desktopPoolId === poolId || seen.has(vm.id))
  for (const vm of vms) seen.set(vm.id, vm)
  return vms
}

function idsOf(vms: readonly DomainVO[]): string[] {
  return vms.map(({ id }) => id)
}
