import { type CallOptions, isAtpError, pollUntil, remoteError, sleep, timeoutError } from '../core/index.ts'
import { type DesktopPoolVO, type DomainVO, type VdiClient, VM_STATUS } from '../vdi/index.ts'
import type { PoolRemoval } from './api.ts'
import { timeLeft } from './time-left.ts'

const TIMEOUT_MS = 60_000
/** How long a platform may take to show a pool that it has accepted. */
const APPEAR_MS = 5000
/** Refusals in a row that are believed: VMs under way heal by themselves, rights do not. */
const REFUSALS = 5
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2000

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
  let pool = await firstLook(removal, left)
  if (!pool) return false
  const { id, name } = pool
  let refusals = 0
  let last: unknown
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      pool = await find(client, { id }, left())
      const vms = await vmsOf(client, id, pool !== undefined, seen, left())
      if (!pool && vms.length === 0) break
      await removeOnce(client, pool, vms, left)
      refusals = 0
    } catch (error) {
      if (signal?.aborted || !mayHeal(error) || (!isRetryable(error) && ++refusals === REFUSALS)) throw error
      last = error
    }
    if (left().timeoutMs <= pauseMs) {
      throw timeoutError('ATP_PROVISION_TIMEOUT', `desk pool ${name} was not gone within ${timeoutMs} ms`, {
        context: { pool: id, name, timeoutMs },
        cause: last,
      })
    }
    await sleep(pauseMs, signal)
  }
  if (locator) await seeGone(name, (bounds) => locator.remaining([...seen.values()], bounds), left())
  return true
}

/** The pool now, or when it has appeared. */
async function firstLook(
  { client, pool, mayAppear }: PoolRemoval,
  left: () => CallOptions,
): Promise<DesktopPoolVO | undefined> {
  const now = await find(client, pool, left())
  if (now || !mayAppear) return now
  const bounds = { ...left(), timeoutMs: Math.min(APPEAR_MS, left().timeoutMs as number) }
  try {
    return await pollUntil('a desk pool to appear', bounds, (signal) => find(client, pool, { signal }))
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

async function removeOnce(
  client: VdiClient,
  pool: DesktopPoolVO | undefined,
  vms: readonly DomainVO[],
  left: () => CallOptions,
): Promise<void> {
  const on = vms.filter(({ status }) => status !== VM_STATUS.off).map(({ id }) => id)
  if (on.length > 0) {
    const { events } = await client.domains.close(on, { ...left(), force: true })
    await client.domains.waitForStatus(on, 'off', { ...left(), events })
  }
  if (pool) await client.deskPools.delete(pool.id, left())
  else if (vms.length > 0)
    await client.domains.delete(
      vms.map(({ id }) => id),
      left(),
    )
}

async function seeGone(
  name: string,
  remaining: (options: CallOptions) => Promise<string[]>,
  bounds: CallOptions,
): Promise<void> {
  let domains: string[] = []
  try {
    await pollUntil(`the VMs of desk pool ${name} to be gone`, bounds, async (signal) => {
      domains = await remaining({ signal })
      return domains.length === 0 || undefined
    })
  } catch (error) {
    if (!isAtpError(error, 'ATP_TIMEOUT') || domains.length === 0) throw error
    throw remoteError(
      'ATP_PROVISION_LEFT',
      `the platform deleted desk pool ${name}, but its hypervisors still have ${domains.join(', ')}`,
      { context: { name, domains }, cause: error, remedy: 'remove them with "virsh destroy" and "virsh undefine"' },
    )
  }
}

/** A VM in the middle of something, or a lost connection. */
function mayHeal(error: unknown): boolean {
  if (isRetryable(error)) return true
  if (!isAtpError(error)) return false
  if (error.code === 'ATP_VDI_REFUSED') return error.context['operation'] !== 'session.login'
  return error.code === 'ATP_VDI_STATE' || error.code === 'ATP_VDI_PARTIAL'
}

function isRetryable(error: unknown): boolean {
  return isAtpError(error) && error.retryable
}
