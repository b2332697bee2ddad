import { randomBytes } from 'node:crypto'
import { configError, isAtpError, messageOf } from '../core/index.ts'
import type { DomainVO } from '../vdi/index.ts'
import type { LocatedVm, PoolRequest, ProvisionedPool } from './api.ts'
import { destroyPool } from './destroy-pool.ts'
import { chosenTemplate } from './template.ts'
import { timeLeft } from './time-left.ts'

const BASE_MS = 120_000
const PER_DESKTOP_MS = 60_000
const BY_NAME = new Intl.Collator('en', { numeric: true })

/** A name for a pool that nobody else has: `atp-<run>-<six digits>`. */
export function newPoolName(run: string): string {
  return `atp-${run}-${randomBytes(3).toString('hex')}`
}

/**
 * Makes a pool on the platform, starts its VMs all at once, and finds them on their hypervisors. Whatever fails, all
 * that was made is removed before this rejects, with the first error; what could not be removed is added to its
 * message and to `context.cleanUp`.
 *
 * @throws `ATP_PROVISION_REQUEST`, `ATP_PROVISION_TEMPLATE`, `ATP_PROVISION_POOL_EXISTS` before anything is made; what
 * the client and the locator throw
 */
export async function createPool(request: PoolRequest): Promise<ProvisionedPool> {
  const { client, locator, count, name, signal } = request
  if (!Number.isInteger(count) || count < 1)
    throw configError('ATP_PROVISION_REQUEST', `desk pool "${name}": ${count} is no number of desktops`)
  const { timeoutMs = BASE_MS + PER_DESKTOP_MS * count } = request
  const left = timeLeft(timeoutMs, signal)
  const template = await chosenTemplate(client, request.template, left())
  if (await client.deskPools.find(name, left())) {
    throw configError('ATP_PROVISION_POOL_EXISTS', `the platform has a desk pool "${name}" already`, {
      remedy: 'choose another name, or remove that pool',
    })
  }
  let locating = false
  try {
    const order = { name, type: 0, amount: count, modelId: template.id, domainPrefix: name } as const
    const { pool, eventId } = await client.deskPools.create(order, left())
    const ready = await client.deskPools.waitForPool(name, count, { ...left(), events: [eventId] })
    await client.deskPools.enable(pool.id, left())
    const running = await started(request, pool.id, ready.domains, left)
    locating = true
    const vms = await locator.locateAll(running, left())
    return { id: pool.id, name, template: { id: template.id, name: template.name }, vms: vms.toSorted(byName) }
  } catch (error) {
    if (!wasRefused(error)) await cleanUp(error, request, !locating)
    throw error
  }
}

async function started(
  { client }: PoolRequest,
  poolId: string,
  vms: readonly DomainVO[],
  left: ReturnType<typeof timeLeft>,
): Promise<DomainVO[]> {
  const ids = vms.map(({ id }) => id)
  const { events } = await client.domains.start(ids, left())
  return client.domains.waitForStatus(ids, 'running', { ...left(), events, poolId })
}

/** Nothing was made. */
function wasRefused(error: unknown): boolean {
  if (!isAtpError(error, 'ATP_VDI_REFUSED') && !isAtpError(error, 'ATP_VDI_REQUEST')) return false
  return error.context['operation'] === 'deskPools.create'
}

/** Never rejects: what fails is told by `error`. */
async function cleanUp(error: unknown, { client, locator, name }: PoolRequest, verified: boolean): Promise<void> {
  try {
    // Hosts that cannot be asked for the VMs cannot be asked whether they are gone.
    await destroyPool({ client, pool: { name }, mayAppear: true, ...(verified ? { locator } : {}) })
  } catch (second) {
    addLeft(error, name, second)
  }
}

/** Adds to the error that ended the work why the pool could not be removed after it. */
export function addLeft(error: unknown, name: string, reason: unknown): void {
  if (!(error instanceof Error)) return
  error.message += `\n  desk pool "${name}" could not be removed: ${messageOf(reason).replaceAll('\n', '\n  ')}`
  if (isAtpError(error)) error.context['cleanUp'] = messageOf(reason)
}

function byName(a: LocatedVm, b: LocatedVm): number {
  return BY_NAME.compare(a.vm.name, b.vm.name)
}
